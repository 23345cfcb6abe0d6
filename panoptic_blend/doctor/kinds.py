"""Every kind of problem there is: name, severity, what it means, what to do.

An error makes a run fail or a figure wrong; a warning may be meant. Findings are listed in this order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Severity = Literal["error", "warning"]


@dataclass(frozen=True)
class Kind:
    """One kind of problem, told in a line each."""

    name: str
    severity: Severity
    meaning: str
    remedy: str


@dataclass(frozen=True)
class Finding:
    """One case of a problem; ``text`` says where it is and what was seen."""

    kind: Kind
    text: str


def _error(name: str, meaning: str, remedy: str) -> Kind:
    return Kind(name, "error", meaning, remedy)


def _warning(name: str, meaning: str, remedy: str) -> Kind:
    return Kind(name, "warning", meaning, remedy)


FIX = "--fix does it"

# The files of a split
FOLDER_MISSING = _error("folder-missing", "a part of the split is not there", "fetch or move it to where it is sought")
JSON_UNREADABLE = _error("json-unreadable", "the annotation file cannot be read", "fetch or write it anew")
JSON_STRUCTURE = _error("json-structure", "the annotation file is not COCO panoptic", "give it the lists of the format")
FIELD = _error("field", "a field is missing or of the wrong type", "correct it in the JSON")
NO_IMAGES = _error("no-images", "the split has no images", "a split needs at least one")

# Categories
CATEGORY_DUPLICATE = _error("category-duplicate", "a category id is used twice", "give each class its own id")
CATEGORY_NAME = _warning("category-name", "two categories have one name", "tell them apart or make them one")
ISTHING_MISSING = _error("isthing-missing", "a category has no `isthing`", "say 1 for things and 0 for stuff")
UNLEARNABLE = _error("unlearnable", "no model can be made for these categories", "see the case")
ISTHING_COCO = _warning("isthing-unlike-coco", "COCO has it the other way round", "see that `isthing` is meant so")
CATEGORY_UNUSED = _warning("category-unused", "a category has no segment in this split", "nothing, if that is so")

# Images and annotations
IMAGE_DUPLICATE = _error("image-duplicate", "an image id is used twice", f"keep one ({FIX} where both are equal)")
PICTURE_LISTED_TWICE = _error("picture-listed-twice", "two images name one picture", "keep one of them")
ANNOTATION_DUPLICATE = _error(
    "annotation-duplicate", "an image has two annotations", f"keep one ({FIX} where both are equal)"
)
MAP_LISTED_TWICE = _error("png-listed-twice", "annotations of two images name one PNG", "give each image its own PNG")
NAME_OUTSIDE = _error("name-outside", "a file name leads out of its folder", "use plain relative names")
IMAGE_UNANNOTATED = _error("image-without-annotation", "an image has no annotation", f"annotate or remove it ({FIX})")
ANNOTATION_ORPHAN = _error(
    "annotation-without-image", "an annotation is of no listed image", f"list the image or remove it ({FIX})"
)

# Segments, by the JSON alone
SEGMENT_DUPLICATE = _error(
    "segment-duplicate", "a segment id is used twice in an image", f"keep one ({FIX} where both say the same)"
)
SEGMENT_ID = _error("segment-id", "a segment id is none of 1 to 16777215", f"a PNG cannot hold it; drop it ({FIX})")
CATEGORY_UNKNOWN = _error("category-unknown", "a segment's category is not listed", "list it, or correct the segment")
ISCROWD_MISSING = _warning(
    "iscrowd-missing", "a segment has no `iscrowd`, without which the common evaluator fails", f"say 0 ({FIX})"
)
STUFF_SEVERAL = _warning(
    "stuff-several", "stuff with several segments in one image", "give the region one segment, or is it a thing?"
)
STUFF_CROWD = _warning("stuff-crowd", "`iscrowd` on stuff, which evaluation then ignores", "say 0 if it should count")

# PNGs
MAP_MISSING = _error("png-missing", "a PNG is not there", f"fetch it, or drop the image ({FIX})")
MAP_UNREADABLE = _error("png-unreadable", "a PNG cannot be decoded", f"fetch it again, or drop the image ({FIX})")
MAP_FORMAT = _error(
    "png-format", "not an 8-bit RGB PNG, so it holds no segment ids", "write ids as R + 256 G + 256^2 B"
)
MAP_SIZE = _error("png-size", "a PNG is not of its image's size", "redo the PNG at the picture's size")
MAP_EXTRA = _warning("png-extra", "a PNG belongs to no annotation", "annotate its image, or remove it")
MAP_VOID = _warning("png-void", "a PNG is void everywhere", "nothing is learned from it; drop the image?")
SEGMENT_STRAY = _error(
    "segment-not-in-json",
    "a segment of the PNG is not in the JSON",
    "list it, or make it void (0); its class cannot be guessed",
)
SEGMENT_ABSENT = _error("segment-not-in-png", "a segment of the JSON is not in the PNG", f"drop it ({FIX})")
SEGMENT_EMPTY = _error("segment-empty", "a segment of area 0, in the JSON and in the PNG", f"drop it ({FIX})")
AREA = _error("area", "`area` is not the pixels of the PNG: PQ may pass 100", f"recompute it ({FIX})")
BOX = _error("bbox", "`bbox` is not the tight x, y, width, height of the PNG", f"recompute it ({FIX})")
BOX_ALMOST = _warning(
    "bbox-almost", "`bbox` is off by one pixel or less: last - first lacks a + 1", f"recompute it ({FIX})"
)

# Pictures
PICTURE_MISSING = _error("picture-missing", "a picture is not there", f"fetch it, or drop the image ({FIX})")
PICTURE_UNREADABLE = _error(
    "picture-unreadable", "a picture cannot be decoded", f"fetch it again, or drop the image ({FIX})"
)
PICTURE_SIZE = _error("picture-size", "a picture is not of the size in the JSON", "restore the original")
IMAGE_SIZE = _error("image-size", "picture and PNG agree, the JSON has another size", f"take theirs ({FIX})")
PICTURE_TURNED = _warning(
    "picture-turned", "a camera's orientation tag, which some tools follow", "store the picture upright, without it"
)
PICTURE_EXTRA = _warning("picture-extra", "a picture belongs to no image", "list and annotate it, or remove it")
PICTURE_TWICE = _warning("picture-twice", "one picture under two names", "keep one, or it counts twice")

# instances_<split>.json, where it is there
INSTANCES_UNREADABLE = _error(
    "instances-unreadable", "the instances JSON is not one", "fetch it again, or remove it if nothing reads it"
)
INSTANCES_CATEGORIES = _error(
    "instances-categories", "its classes are not the panoptic JSON's things", "use one list of ids and names"
)
INSTANCES_SIZE = _error("instances-size", "it knows an image by another name or size", "correct one of the two")
INSTANCES_IMAGES = _warning("instances-images", "it lists other images", "use files of one split in both")
INSTANCES_COUNT = _warning(
    "instances-count", "it has another number of instances", "a hidden instance has no segment; more segments are odd"
)
INSTANCES_CROWDS = _warning("instances-crowds", "it has another number of crowds", "see which of the two is right")

# Between splits
SPLITS_CATEGORIES = _error(
    "splits-categories", "two splits know different categories", "use one list of categories in all splits"
)
SPLITS_PICTURES = _error(
    "splits-pictures", "a training picture is in another split too", "take it out of one, or the PQ lies"
)

KINDS: tuple[Kind, ...] = tuple(value for value in globals().values() if isinstance(value, Kind))
