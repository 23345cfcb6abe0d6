"""Every kind of problem that a check can find: its name, severity, meaning and remedy.

An error makes a run fail or a figure wrong; a warning may be intended. A report lists errors before warnings, each
in the order of this file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Kind:
    """One kind of problem; its meaning and its remedy take one line each."""

    name: str
    severity: Severity
    meaning: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """One case of a problem; ``text`` says where it is and what was found there."""

    kind: Kind
    text: str


_registered: list[Kind] = []


def _register(severity: Severity, name: str, meaning: str, remedy: str) -> Kind:
    kind = Kind(name, severity, meaning, remedy)
    _registered.append(kind)
    return kind


def _error(name: str, meaning: str, remedy: str) -> Kind:
    return _register("error", name, meaning, remedy)


def _warning(name: str, meaning: str, remedy: str) -> Kind:
    return _register("warning", name, meaning, remedy)


# The files of a split
FOLDER_MISSING = _error("folder-missing", "a folder or zip of the split does not exist", "fetch it, or move it there")
JSON_UNREADABLE = _error("json-unreadable", "the annotation file cannot be read", "fetch or write it again")
JSON_STRUCTURE = _error(
    "json-structure", "the annotation file is not COCO panoptic", "add the lists that the format requires"
)
FIELD = _error("field", "a field is missing or of the wrong type", "correct it in the JSON")
NO_IMAGES = _error("no-images", "the split has no images", "add at least one")

# Categories
CATEGORY_DUPLICATE = _error("category-duplicate", "a category id is used twice", "give each category its own id")
CATEGORY_NAME = _warning("category-name", "two categories have the same name", "rename one, or merge the two")
ISTHING_MISSING = _error(
    "isthing-missing",
    "a category has no `isthing`",
    "set it to 1 for a thing, 0 for stuff (--fix OUT.json --things NAMES does: these are things, all others stuff)",
)
UNLEARNABLE = _error(
    "unlearnable",
    "no model can be built for these categories",
    "change them as the case says (--fix OUT.json --things NAMES makes these things and all others stuff)",
)
ISTHING_COCO = _warning(
    "isthing-unlike-coco", "`isthing` is the opposite of COCO's for this name", "check that this is intended"
)
CATEGORY_COLOR = _warning(
    "category-color",
    "`color` of a category is unreadable, so drawings choose one",
    "write three whole numbers from 0 to 255, or a text like #69db90",
)
_CROWD_REMEDY = "if each is one object, set `iscrowd` to 0 (--fix OUT.json --crowds instances does)"
ONLY_CROWDS = _warning(
    "only-crowds", "all segments of a thing are crowds, so it is neither learned nor scored", _CROWD_REMEDY
)
NO_INSTANCES = _error(
    "no-instances", "all segments of all things are crowds, so no thing is learned or scored", _CROWD_REMEDY
)
CATEGORY_UNUSED = _warning(
    "category-unused", "a category has no segment in this split", "nothing, if no image of the split shows it"
)

# Images and annotations
IMAGE_DUPLICATE = _error(
    "image-duplicate", "an image id is used twice", "keep one record (--fix does, if both are equal)"
)
PICTURE_LISTED_TWICE = _error("picture-listed-twice", "two images name the same picture", "keep one of the images")
ANNOTATION_DUPLICATE = _error(
    "annotation-duplicate", "an image has two annotations", "keep one (--fix does, if both are equal)"
)
MAP_LISTED_TWICE = _error(
    "png-listed-twice", "annotations of two images name the same PNG", "give each image its own PNG"
)
NAME_OUTSIDE = _error(
    "name-outside", "a file name leads out of its folder or has control characters", "use plain relative names"
)
IMAGE_UNANNOTATED = _error(
    "image-without-annotation", "an image has no annotation", "annotate the image, or remove it (--fix does)"
)
ANNOTATION_ORPHAN = _error(
    "annotation-without-image",
    "an annotation is for an image that is not listed",
    "list the image, or remove the annotation (--fix does)",
)

# Segments, by the JSON alone
SEGMENT_DUPLICATE = _error(
    "segment-duplicate",
    "a segment id is used twice in an image",
    "keep one (--fix does, if `category_id` and `iscrowd` are equal)",
)
SEGMENT_ID = _error(
    "segment-id", "a segment id is not in 1 to 16777215, so a PNG cannot hold it", "remove the segment (--fix does)"
)
CATEGORY_UNKNOWN = _error(
    "category-unknown", "a segment's category is not listed", "list the category, or correct the segment"
)
ISCROWD_MISSING = _warning(
    "iscrowd-missing", "a segment has no `iscrowd`, which the official evaluation needs", "set it to 0 (--fix does)"
)
STUFF_SEVERAL = _warning(
    "stuff-several", "several segments of one stuff category in an image", "merge them, or make the category a thing"
)
STUFF_CROWD = _warning(
    "stuff-crowd", "`iscrowd` is set on stuff, which evaluation then ignores", "set it to 0 if the segment should count"
)

MANY_THINGS = _warning(
    "many-things",
    "an image has more things than a model predicts with default options",
    "train with model.fcos.detections_per_image (for Mask R-CNN model.mask_rcnn.detections_per_image) as large",
)

# PNGs
MAP_MISSING = _error("png-missing", "a PNG does not exist", "fetch it, or remove its image (--fix does)")
MAP_UNREADABLE = _error("png-unreadable", "a PNG cannot be decoded", "fetch it again, or remove its image (--fix does)")
MAP_FORMAT = _error(
    "png-format", "a file is not an 8-bit RGB PNG, so it holds no segment ids", "write ids as R + 256 G + 256^2 B"
)
MAP_SIZE = _error("png-size", "a PNG does not have the size of its image", "write it again in the picture's size")
MAP_EXTRA = _warning("png-extra", "a PNG belongs to no annotation", "annotate its image, or remove the PNG")
MAP_VOID = _warning(
    "png-void", "a PNG is void everywhere, so it teaches a model nothing", "annotate the image, or remove it"
)
VOID_SHARE = _warning(
    "much-void",
    "most pixels of the split are void, where a model learns no stuff and no figure counts",
    "if they are known to be background, make them a stuff class (data convert does with --rest background)",
)
SEGMENT_UNLISTED = _error(
    "segment-not-in-json",
    "a segment of the PNG is not in the JSON",
    "list it with its category, or make its pixels void (0)",
)
SEGMENT_ABSENT = _error(
    "segment-not-in-png", "a segment of the JSON has no pixels in the PNG", "remove it (--fix does)"
)
SEGMENT_EMPTY = _error(
    "segment-empty", "a segment has area 0, both in the JSON and in the PNG", "remove it (--fix does)"
)
AREA = _error(
    "area", "`area` is not the number of pixels in the PNG, so PQ may exceed 100", "recompute it (--fix does)"
)
BOX = _error(
    "bbox", "`bbox` is not the segment's tight box [x, y, width, height] in the PNG", "recompute it (--fix does)"
)
BOX_ALMOST = _warning(
    "bbox-almost", "`bbox` is off by at most one pixel: width is last - first + 1", "recompute it (--fix does)"
)

# Pictures
PICTURE_MISSING = _error("picture-missing", "a picture does not exist", "fetch it, or remove its image (--fix does)")
PICTURE_UNREADABLE = _error(
    "picture-unreadable", "a picture cannot be decoded", "fetch it again, or remove its image (--fix does)"
)
PICTURE_DAMAGED = _error(
    "picture-damaged",
    "a JPEG is damaged inside, so a part of the picture is not what was photographed",
    "fetch it again, or remove its image from the JSON",
)
PICTURE_SIZE = _error("picture-size", "a picture does not have the size in the JSON", "restore the original picture")
IMAGE_SIZE = _error(
    "image-size", "the JSON has another size than picture and PNG", "use the size of the files (--fix does)"
)
PICTURE_TURNED = _warning(
    "picture-turned",
    "a picture has an orientation tag, which some tools follow and some ignore",
    "remove the tag; if the annotation follows it, first rotate the picture accordingly",
)
PICTURE_EXTRA = _warning("picture-extra", "a picture belongs to no image", "list and annotate it, or remove it")
PICTURE_TWICE = _warning("picture-twice", "one picture has two names, so it counts twice", "keep one of the two")

# instances_<split>.json, if it exists
INSTANCES_UNREADABLE = _error(
    "instances-unreadable",
    "the instances JSON cannot be read as COCO instances",
    "fetch it again, or remove it if you do not use it",
)
INSTANCES_CATEGORIES = _error(
    "instances-categories",
    "the instances JSON has other categories than the things of the panoptic JSON",
    "use the same ids and names in both",
)
INSTANCES_SIZE = _error(
    "instances-size", "the instances JSON has another name or size for an image", "correct one of the two files"
)
INSTANCES_IMAGES = _warning(
    "instances-images", "the instances JSON lists other images", "use files of the same split and version"
)
INSTANCES_COUNT = _warning(
    "instances-count",
    "the instances JSON has another number of instances",
    "nothing for fewer segments, as an instance may be hidden; check the image if there are more",
)
INSTANCES_CROWDS = _warning(
    "instances-crowds", "the instances JSON has another number of crowds", "check which of the two files is right"
)

# Between splits
SPLITS_CATEGORIES = _error(
    "splits-categories", "two splits have different categories", "use one list of categories in all splits"
)
SPLITS_PICTURES = _error(
    "splits-pictures", "a training picture is in another split too", "remove it from one split, or PQ is inflated"
)

KINDS: tuple[Kind, ...] = tuple(_registered)
