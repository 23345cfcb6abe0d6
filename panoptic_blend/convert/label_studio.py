"""Convert Label Studio's JSON to COCO panoptic: polygons, brush masks, rectangles and ellipses of images.

A project is exported as *JSON*: a list of tasks, each with the ``data`` that name its picture, and ``annotations``
whose ``result`` lists regions. Coordinates are in percent of the picture's sides.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeGuard
from urllib.parse import unquote

import numpy as np

from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.orientation import STORED_SIZE, upright_size
from panoptic_blend.convert.outlines import ellipse, numbered, turned, within
from panoptic_blend.convert.painting import LabeledRegion, Labels
from panoptic_blend.convert.picture_folder import PictureFolder
from panoptic_blend.convert.records import is_plausible, points, size_of
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import read_picture
from panoptic_blend.formats.json_fields import Record, are_records, records
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.formats.rle_pack import unpack_mask
from panoptic_blend.formats.xml_files import read_xml
from panoptic_blend.structures import Category, Cutout, PanopticBlendError, Size

BRUSH, POLYGON, RECTANGLE, ELLIPSE = "brushlabels", "polygonlabels", "rectanglelabels", "ellipselabels"
"""Types of regions with an area, which are also the keys of their labels."""

CROWD = "crowd"
"""The meta text of a region that is a crowd."""

LOCAL_FILES = "/data/local-files/?d="
"""How the pictures of a local storage begin."""


@dataclass(frozen=True, eq=False)
class _Region:
    """A region with an area: its label, its record, and the words that name it in messages."""

    label: str
    record: Record
    where: str


def are_tasks(content: object) -> TypeGuard[list[Record]]:
    """Whether the content of a JSON is a list of tasks, which may be empty."""
    return are_records(content) and all(isinstance(task.get("data"), dict) for task in content)


def read_label_studio(
    path: Path,
    pictures: Path,
    stuff: Collection[str] = (),
    *,
    interface: Path | None = None,
    predictions: bool = False,
) -> LabeledSource:
    """Read an export as JSON; labels are things, except those named in ``stuff``, and are numbered from 1.

    Args:
        pictures: the folder of the pictures, in which they are found by the ends of their addresses.
        interface: the XML of the labeling interface, whose order of labels is taken; else they are sorted by name.
        predictions: read the predictions of the tasks instead of their annotations.

    Raises:
        PanopticBlendError: the file is no such export, a region is malformed, or a picture is missing.
    """
    tasks = read_json(path)
    if not are_tasks(tasks):
        raise PanopticBlendError(f"{path}: is no list of tasks with `data`; export the project as JSON (not JSON-MIN)")
    if not tasks:
        raise PanopticBlendError(f"{path}: has no tasks; there is nothing to convert")
    if not pictures.is_dir():
        raise PanopticBlendError(f"{pictures}: no such folder of pictures; check --pictures")
    folder, notes = PictureFolder(pictures), Notes()
    regions_of: dict[str, list[_Region]] = {}
    for i, task in enumerate(tasks):
        where = f"{path.name}: task {task.get('id', i)}"
        name = _picture(task["data"], folder, where)
        if name in regions_of:
            raise PanopticBlendError(f"{where}: is of {name}, as another task is; keep one of them")
        regions_of[name] = list(_regions(task, where, notes, predictions=predictions))
    used = {region.label for regions in regions_of.values() for region in regions}
    names = _names(interface) if interface else sorted(used)
    if interface and (unknown := sorted(used - {*names})):
        raise PanopticBlendError(f"{path.name}: the label {unknown[0]!r} is not in {interface}; add it there")
    if not names:
        kind = "prediction" if predictions else "annotation"
        raise PanopticBlendError(f"{path}: no {kind} has a region with an area; label some pictures and export again")
    categories = numbered(names, stuff, str(path))
    items = [
        Item(number, name, pictures / name, partial(_labels, pictures / name, name, regions, categories))
        for number, (name, regions) in enumerate(regions_of.items(), start=1)
    ]
    return LabeledSource(path, [pictures], categories, items, notes)


def _picture(data: Mapping[str, Any], folder: PictureFolder, where: str) -> str:
    """The path in the folder of the picture that a task names in one of its data."""
    texts = [value for value in data.values() if isinstance(value, str)]
    for text in texts:
        address = "/" + unquote(text.rpartition("?d=")[2].partition("?")[0]).lstrip("/")
        uploaded = re.sub(r"/[0-9a-f]{8}-([^/]+)$", r"/\1", address)  # an upload gets a prefix
        if found := folder.find(address) or folder.find(uploaded):
            return found
    named = texts[0] if texts else "its data"
    raise PanopticBlendError(f"{where}: {named} is not in {folder.folder}; add the picture, or check --pictures")


def _regions(task: Record, where: str, notes: Notes, *, predictions: bool) -> Iterator[_Region]:
    """The regions with an area of the newest annotation or prediction of a task."""
    kind = "predictions" if predictions else "annotations"
    found = [each for each in records(task, kind) if not each.get("was_cancelled")]
    if not found:
        return
    if len(found) > 1:
        notes.add(f"tasks have several {kind}, of which the newest was read", where)
    newest = max(found, key=lambda each: str(each.get("updated_at") or each.get("created_at") or ""))
    for i, record in enumerate(records(newest, "result")):
        own, value = f"{where}: result {record.get('id', i)}", record.get("value")
        labels = value.get(record.get("type")) if isinstance(value, dict) else None
        if record.get("type") not in _SHAPES or not labels:
            notes.add("regions have no area or no label (key points, choices, relations) and were left out", own)
        elif not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
            raise PanopticBlendError(f"{own}: its labels are {labels!r}, not a list of names; correct it")
        else:
            if len(labels) > 1:
                notes.add("regions have several labels, of which the first was read", own)
            yield _Region(labels[0], record, own)


def _names(interface: Path) -> list[str]:
    """The labels of regions with an area, in the order of the interface."""
    root = read_xml(interface)
    groups = [group for group in root.iter() if group.tag.lower() in _SHAPES]
    return list(dict.fromkeys(label.get("value", "") for group in groups for label in group.iter("Label")))


def _labels(picture: Path, name: str, regions: Sequence[_Region], categories: Categories) -> Labels:
    notes = Notes()
    if not regions:
        height, width = read_picture(picture).shape[:2]
        return Labels((height, width), [], notes)
    size = _size(regions, picture, name, notes)
    known = {category.name: category for category in categories}
    return Labels(size, [_labeled(region, known[region.label], size, notes) for region in regions], notes)


def _size(regions: Sequence[_Region], picture: Path, name: str, notes: Notes) -> Size:
    """Height and width of the picture on which all regions were drawn."""
    first = regions[0]
    size = size_of(first.record, ("original_height", "original_width"), first.where)
    for region in regions:
        if size_of(region.record, ("original_height", "original_width"), region.where) != size:
            raise PanopticBlendError(f"{region.where}: has another original size than {first.where}; correct one")
        if region.record.get("image_rotation"):
            raise PanopticBlendError(f"{region.where}: was drawn on a turned picture; turn it back and draw it again")
    if upright_size(picture, size) != size:
        notes.add(f"{STORED_SIZE} the stored picture", name)
    return size


def _labeled(region: _Region, category: Category, size: Size, notes: Notes) -> LabeledRegion:
    cutout = _SHAPES[region.record["type"]](region.record["value"], size, region.where, notes)
    meta = region.record.get("meta")
    texts = meta.get("text") if isinstance(meta, dict) else None
    return LabeledRegion(category, cutout, isinstance(texts, list) and CROWD in texts)


def _polygon(value: Mapping[str, Any], size: Size, where: str, notes: Notes) -> Cutout:
    return within(points(value.get("points"), (100, 100), where) * size[::-1] / 100, size, where, notes)


def _brush(value: Mapping[str, Any], size: Size, where: str, notes: Notes) -> Cutout:
    mask = unpack_mask(value.get("rle") or (), size) if value.get("format") == "rle" else None
    if mask is None:
        raise PanopticBlendError(f"{where}: its `rle` is no mask of {size[1]} x {size[0]} pixels; draw it again")
    return Cutout.from_mask(mask)


def _rectangle(value: Mapping[str, Any], size: Size, where: str, notes: Notes) -> Cutout:
    """A rectangle that is turned about its upper left corner."""
    left, top = _lengths(value, ("x", "y"), size, where)
    width, height = _lengths(value, ("width", "height"), size, where)
    notes.add("boxes were read as filled rectangles", where)
    corners = np.array([[left, top], [left + width, top], [left + width, top + height], [left, top + height]])
    return within(turned(corners, _rotation(value, where), corners[0]), size, where, notes)


def _ellipse(value: Mapping[str, Any], size: Size, where: str, notes: Notes) -> Cutout:
    center = np.array(_lengths(value, ("x", "y"), size, where))
    across, down = _lengths(value, ("radiusX", "radiusY"), size, where)
    return within(turned(ellipse(center, across, down), _rotation(value, where), center), size, where, notes)


def _lengths(value: Mapping[str, Any], keys: tuple[str, str], size: Size, where: str) -> tuple[float, float]:
    """Two lengths in percent, along x and along y, in pixels."""
    across, down = (value.get(key, math.nan) for key in keys)
    if not is_plausible(across) or not is_plausible(down):
        raise PanopticBlendError(f"{where}: `{keys[0]}` and `{keys[1]}` are {across!r} and {down!r}; correct them")
    return across * size[1] / 100, down * size[0] / 100


def _rotation(value: Mapping[str, Any], where: str) -> float:
    degrees = value.get("rotation") or 0
    if not is_plausible(degrees):
        raise PanopticBlendError(f"{where}: `rotation` is {degrees!r}, not a number; correct it")
    return float(degrees)


_SHAPES: Mapping[str, Callable[[Mapping[str, Any], Size, str, Notes], Cutout]] = {
    BRUSH: _brush,
    POLYGON: _polygon,
    RECTANGLE: _rectangle,
    ELLIPSE: _ellipse,
}
