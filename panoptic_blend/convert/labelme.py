"""Convert a folder of LabelMe files to COCO panoptic: one JSON beside each picture, or with the picture inside."""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from panoptic_blend.convert import labelme_shapes
from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.orientation import STORED_SIZE, upright_size
from panoptic_blend.convert.painting import LabeledRegion, Labels, union
from panoptic_blend.convert.picture_folder import PictureFolder
from panoptic_blend.convert.records import size_of
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import PICTURE_SUFFIXES, decode_picture, read_picture
from panoptic_blend.formats.json_fields import require_records, require_text
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.formats.name_lists import suggestion
from panoptic_blend.formats.names import with_slashes
from panoptic_blend.structures import Category, Cutout, PanopticBlendError

KIND = "a LabelMe JSON"
PNG_BASE64 = "iVBOR"
"""The first characters of every PNG in base64."""
VOID = ("__ignore__", "_background_")
"""Labels that LabelMe's own export treats as void."""

CROWD = "crowd"
"""The flag of a shape that is a crowd: several instances in one outline."""


@dataclass(frozen=True)
class Classes:
    """The meaning of each label: ``stuff``, ``void`` or a thing.

    If ``things`` is empty, all other labels are things; if not, any other label is an error.
    """

    things: Sequence[str] = ()
    stuff: Sequence[str] = ()
    void: Sequence[str] = VOID


@dataclass(frozen=True, eq=False)
class _LabelMeFile:
    """A LabelMe file: its path, its picture (None if embedded), the picture's name in the data set, and its labels."""

    path: Path
    picture: Path | None
    name: str
    labels: Collection[str]


def read_labelme(folder: Path, classes: Classes, pictures: Path | None = None) -> LabeledSource:
    """Read the LabelMe files in a folder and in the folders below it.

    Args:
        pictures: the folder of the pictures, if they are not beside the files. A picture is looked up by its file name,
            first in the subfolder in which its JSON is, then in ``pictures`` itself.

    Raises:
        PanopticBlendError: there are no files, a file is not LabelMe's, a picture is missing, or a label has no class.
    """
    for required in filter(None, (folder, pictures)):
        if not required.is_dir():
            raise PanopticBlendError(f"{required}: no such folder; check the path")
    labeled, gallery = PictureFolder(folder), PictureFolder(pictures or folder)
    paths = [path for path in labeled.listing.paths if path.suffix.lower() == ".json"]
    if not paths:
        raise PanopticBlendError(f"{folder}: has no JSON files; give the folder in which LabelMe saves")
    files = [_scan(path, folder, gallery) for path in paths]
    by_name: dict[str, Path] = {}
    for file in files:
        if file.name in by_name:
            raise PanopticBlendError(
                f"{file.path}: labels {file.name}, and so does {by_name[file.name]}; keep one of the two"
            )
        by_name[file.name] = file.path
    categories = _categories(files, classes, folder)
    items = []
    for number, file in enumerate(files, start=1):
        picture = file.picture or partial(_embedded, file.path)
        items.append(Item(number, file.name, picture, partial(_labels, file, categories, classes)))
    return LabeledSource(
        folder, [folder, *([pictures] if pictures else [])], categories, items, _left_out(files, labeled, gallery)
    )


def _scan(path: Path, folder: Path, gallery: PictureFolder) -> _LabelMeFile:
    """Read the labels of a LabelMe file and find its picture."""
    content = read_json(path)
    shapes = require_records(content, "shapes", str(path), KIND)
    labels = {
        require_text(shape, "label", f"{path}: shapes[{i}]").strip()
        for i, shape in enumerate(shapes)
        if labelme_shapes.has_area(shape, f"{path}: shapes[{i}]")
    }
    image_path = with_slashes(require_text(content, "imagePath", str(path)))
    subfolder, name = path.parent.relative_to(folder).as_posix(), PurePosixPath(image_path).name
    own = [posixpath.join(subfolder, image_path), posixpath.join(subfolder, name)]
    for candidate in own if gallery.folder == folder else [own[1], name]:
        if found := gallery.find(posixpath.normpath(candidate)):
            return _LabelMeFile(path, gallery.folder / found, found, labels)
    if content.get("imageData"):
        suffix = ".png" if str(content["imageData"]).startswith(PNG_BASE64) else ".jpg"
        return _LabelMeFile(path, None, posixpath.normpath(posixpath.join(subfolder, f"{path.stem}{suffix}")), labels)
    raise PanopticBlendError(
        f"{path}: no picture {name} beside it, and none inside; add it, or give the folder of pictures with --pictures"
    )


def _categories(files: Sequence[_LabelMeFile], classes: Classes, folder: Path) -> Categories:
    """Number the classes from 1: things as listed, other things by name, then stuff as listed."""
    found = {label: file.path for file in reversed(files) for label in file.labels if label not in classes.void}
    if not found:
        raise PanopticBlendError(f"{folder}: no shape with an area in any file; label some pictures")
    named = [*classes.things, *classes.stuff]
    if len({*named}) < len(named):
        twice = next(name for name in named if named.count(name) > 1)
        raise PanopticBlendError(f"--things, --stuff: {twice} is named twice; name it once")
    missing = [name for name in classes.stuff if name not in found and not classes.things]
    if missing:
        raise PanopticBlendError(
            f"{folder}: --stuff {missing[0]}: no shape has this label; {suggestion(missing[0], sorted(found))}"
        )
    others = sorted(found.keys() - {*named})
    if others and classes.things:
        raise PanopticBlendError(
            f"{found[others[0]]}: label {others[0]!r} is in neither --things nor --stuff; add it there or to --void"
        )
    things = [*classes.things, *others]
    return Categories(
        Category(number, name, number <= len(things)) for number, name in enumerate([*things, *classes.stuff], start=1)
    )


def _labels(file: _LabelMeFile, categories: Categories, classes: Classes) -> Labels:
    content = read_json(file.path)
    notes = Notes()
    size = _size(file, content, notes)
    known = {category.name: category for category in categories}
    parts: dict[Hashable, list[Cutout]] = {}
    meanings: dict[Hashable, tuple[Category | None, bool]] = {}
    for i, shape in enumerate(require_records(content, "shapes", str(file.path), KIND)):
        where = f"{file.path}: shapes[{i}]"
        if not labelme_shapes.has_area(shape, where):
            notes.add("shapes are lines or points, which have no area, and were left out", where)
            continue
        label, flags, group = require_text(shape, "label", where).strip(), _flags(shape, where), shape.get("group_id")
        if flags - {CROWD}:
            notes.add(f"shapes have flags other than `{CROWD}`, which were ignored", where)
        category = None if label in classes.void else known[label]
        is_joined = group is not None and category is not None and category.is_thing
        key = (label, str(group)) if is_joined else i
        if remark := labelme_shapes.doubt(shape, size, where):
            notes.add(remark, f"{file.name}: shapes[{i}]")
        parts.setdefault(key, []).append(labelme_shapes.cutout_of(shape, size, where))
        meanings[key] = category, CROWD in flags or meanings.get(key, (None, False))[1]
    regions = [LabeledRegion(meanings[key][0], union(cutouts), meanings[key][1]) for key, cutouts in parts.items()]
    return Labels(size, regions, notes)


def _flags(shape: Mapping[str, Any], where: str) -> set[str]:
    """The names of the flags that are true."""
    flags = shape.get("flags") or {}
    if not isinstance(flags, dict):
        raise PanopticBlendError(f"{where}: `flags` is {flags!r}, not an object of true and false; correct it")
    return {name for name, is_set in flags.items() if is_set}


def _size(file: _LabelMeFile, content: Mapping[str, Any], notes: Notes) -> tuple[int, int]:
    """Height and width of the decoded picture, after checking them against the file's, if it has them.

    The picture is turned by its orientation tag, as LabelMe does before it is labeled, unless the file's size is the
    one without the tag.
    """
    keys = "imageHeight", "imageWidth"
    stated = None if None in map(content.get, keys) else size_of(content, keys, str(file.path))
    if file.picture is not None and stated is not None:
        if upright_size(file.picture, stated) != stated:
            remedy = "if they were drawn on the upright one, swap imageHeight and imageWidth"
            notes.add(f"{STORED_SIZE} the stored picture; {remedy}", file.name)
        return stated
    if file.picture is not None:
        picture = read_picture(file.picture)
    else:
        picture = decode_picture(_embedded(file.path), f"{file.path}: its `imageData`", stated)
    return picture.shape[0], picture.shape[1]


def _embedded(path: Path) -> bytes:
    """The picture file inside a LabelMe file."""
    try:
        return base64.b64decode(read_json(path)["imageData"], validate=True)
    except (TypeError, ValueError):
        raise PanopticBlendError(f"{path}: its `imageData` is not base64; save it again in LabelMe") from None


def _left_out(files: Sequence[_LabelMeFile], labeled: PictureFolder, gallery: PictureFolder) -> Notes:
    """Count pictures without a LabelMe file, files of other formats, and what other programs left in the folders."""
    notes, used = Notes(), {file.picture for file in files}
    for path in gallery.listing.paths:
        if path.suffix.lower() in PICTURE_SUFFIXES and path not in used:
            notes.add("pictures without a LabelMe file were left out", path.name)
        elif path not in used and path.suffix.lower() != ".json":
            notes.add("files of other formats were left out", path.name)
    passed_over = labeled.listing.passed_over
    if gallery.folder != labeled.folder:
        passed_over = passed_over + gallery.listing.passed_over
    for kind, count in passed_over.items():
        notes.add(f"{kind} were passed over", count=count)
    return notes
