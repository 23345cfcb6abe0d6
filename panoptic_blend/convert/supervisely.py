"""Convert a project of Supervisely to COCO panoptic: ``meta.json``, and data sets with ``img`` and ``ann`` folders.

Bitmaps, polygons and rectangles have an area; other figures are left out and counted. Points of polygons are pixels,
which belong to them.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.orientation import STORED_SIZE, upright_size
from panoptic_blend.convert.outlines import numbered
from panoptic_blend.convert.painting import LabeledRegion, Labels
from panoptic_blend.convert.records import CUT_OFF, points, size_of
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import PICTURE_SUFFIXES, decode_mask
from panoptic_blend.formats.json_fields import require_records, require_text
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.listing import list_files
from panoptic_blend.structures import Cutout, PanopticBlendError, Size

META = "meta.json"
"""The file in which a project lists its classes."""
_MOST_BYTES = 2**26
"""Unpacked bytes of a bitmap; a PNG of a mask is far smaller."""


def read_supervisely(root: Path, stuff: Collection[str] = ()) -> LabeledSource:
    """Read all data sets of a project; classes are things, except those named in ``stuff``, and numbered from 1.

    Raises:
        PanopticBlendError: the folder is no such project, a figure is malformed, or a picture is missing.
    """
    meta = root / META
    listed = require_records(read_json(meta), "classes", str(meta), "the meta.json of a project of Supervisely")
    names = [require_text(each, "title", f"{meta}: classes[{i}]") for i, each in enumerate(listed)]
    categories = numbered(names, stuff, str(meta))
    notes, items = Notes(), list[Item]()
    for path in list_files(root, recursive=True).paths:
        if path.parent.name != "img" or path.suffix.lower() not in PICTURE_SUFFIXES:
            continue
        annotation = path.parent.parent / "ann" / f"{path.name}.json"
        if not annotation.is_file():
            notes.add("pictures have no annotation and were left out", path.name)
            continue
        place = path.relative_to(root)
        name = (place.parent.parent / place.name).as_posix()
        items.append(Item(len(items) + 1, name, path, partial(_labels, path, annotation, categories)))
    if not items:
        raise PanopticBlendError(f"{root}: no picture in img/ has its annotation in ann/; give the folder of a project")
    return LabeledSource(root, [root], categories, items, notes)


def _labels(picture: Path, path: Path, categories: Categories) -> Labels:
    content, notes = read_json(path), Notes()
    stated = content.get("size") if isinstance(content, dict) else None
    size = size_of(stated if isinstance(stated, dict) else {}, ("height", "width"), f"{path}: `size`")
    if upright_size(picture, size) != size:
        notes.add(f"{STORED_SIZE} the stored picture", picture.name)
    known = {category.name: category for category in categories}
    regions = []
    for i, figure in enumerate(require_records(content, "objects", str(path), "an annotation of Supervisely")):
        where, kind = f"{path}: objects[{i}]", figure.get("geometryType")
        title = require_text(figure, "classTitle", where)
        if title not in known:
            raise PanopticBlendError(f"{where}: the class {title!r} is not in meta.json; add it there")
        if kind not in {"bitmap", "polygon", "rectangle"}:
            notes.add("figures have no area (lines, points, graphs) and were left out", where)
            continue
        cutout = _bitmap(figure, size, where, notes) if kind == "bitmap" else _outlined(figure, size, where)
        regions.append(LabeledRegion(known[title], cutout))
    return Labels(size, regions, notes)


def _outlined(figure: Mapping[str, Any], size: Size, where: str) -> Cutout:
    """The pixels of a polygon with its outline, and without its holes with theirs; or of a rectangle."""
    shape = figure.get("points")
    exterior, interior = (shape.get("exterior"), shape.get("interior")) if isinstance(shape, dict) else (None, None)
    rings = [points(ring, size, where) for ring in (exterior, *(interior if isinstance(interior, list) else ()))]
    outer = rings[0]
    if figure["geometryType"] == "rectangle" and len(outer) == 2:
        (left, top), (right, bottom) = outer
        outer = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    if len(outer) < 3:
        raise PanopticBlendError(f"{where}: its outline has {len(outer)} points; correct or remove it")
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.floor(outer).astype(np.int32)], 1)
    for ring in rings[1:]:
        cv2.fillPoly(mask, [np.floor(ring).astype(np.int32)], 0)
    return Cutout.from_mask(mask.astype(bool))


def _bitmap(figure: Mapping[str, Any], size: Size, where: str, notes: Notes) -> Cutout:
    """A PNG that is packed by zlib and written in base64, with the pixel of its upper left corner."""
    bitmap = figure.get("bitmap")
    code, origin = (bitmap.get("data"), bitmap.get("origin")) if isinstance(bitmap, dict) else (None, None)
    corner = points([origin], size, where)
    try:
        png = zlib.decompressobj().decompress(base64.b64decode(code or "", validate=True), _MOST_BYTES)
    except (TypeError, ValueError, zlib.error):
        png = b""
    if not png or len(corner) != 1:
        raise PanopticBlendError(f"{where}: its `bitmap` is no packed PNG with an `origin`; draw it again")
    mask = decode_mask(png, f"{where}: its `bitmap`")
    left, top = np.floor(corner[0]).astype(int).tolist()
    inside = mask[max(-top, 0) : max(size[0] - top, 0), max(-left, 0) : max(size[1] - left, 0)]
    if inside.shape != mask.shape:
        notes.add(CUT_OFF, where)
    return Cutout(inside, max(top, 0), max(left, 0)) if inside.size else Cutout(np.zeros((0, 0), bool), 0, 0)
