"""Convert maps that other tools hold as separate masks, or as numbers of class and instance, to `PanopticMap`.

`PanopticQuality.update` and everything that takes maps takes what these functions return. All of them raise
PanopticBlendError, whose message starts with ``name``, for input that cannot be read, for unknown categories, for a
segment without pixels, and for segments that overlap, unless ``overlaps`` is "first".
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from panoptic_blend.formats.coco_shapes import MalformedShapeError, compressed, read_shape
from panoptic_blend.instances import run_lengths
from panoptic_blend.metrics.conversion import LABEL_DIVISOR, CategoryIds, panoptic_map, require_divisor
from panoptic_blend.metrics.map_arrays import read_ids
from panoptic_blend.metrics.map_records import read_segments, require_records
from panoptic_blend.structures import Category, PanopticBlendError, PanopticMap, Segment, Size, whole_number

Overlaps = Literal["error", "first"]
"""What happens where segments overlap: it is an "error", or the "first" of them in the list keeps the pixel."""

Mask = npt.NDArray[np.bool_]


def from_segments(
    records: Sequence[Mapping[str, Any]],
    categories: Mapping[int, Category],
    size: Size | None = None,
    *,
    overlaps: Overlaps = "error",
    name: str = "prediction",
) -> PanopticMap:
    """Convert records with ``category_id``, ``segmentation`` and optionally ``iscrowd``, one for each segment.

    A ``segmentation`` is COCO's run lengths, compressed or not, a list of polygons, or a mask (H, W) of booleans.
    ``size`` (height, width) is that of the picture; it may be left out if a segment is no polygon. The first segment
    has the id 1.
    """
    listed = require_records(records, name)
    size = size or next((found for found in map(_size_of, listed) if found), None)
    if size is None:
        raise PanopticBlendError(f"{name}: nothing says how large the picture is; give its size (height, width)")
    numbered = [
        {"id": number, "category_id": record.get("category_id"), "iscrowd": record.get("iscrowd", 0)}
        for number, record in enumerate(listed, start=1)
    ]
    masks = [_mask(record, size, f"{name}: segment {number}") for number, record in enumerate(listed, start=1)]
    return _painted(read_segments(numbered, categories, name), masks, size, overlaps, name)


def from_supervision(
    detections: Any,
    categories: Mapping[int, Category],
    category_ids: CategoryIds | None = None,
    size: Size | None = None,
    *,
    overlaps: Overlaps = "error",
    name: str = "prediction",
) -> PanopticMap:
    """Convert the ``Detections`` of supervision, which need ``mask`` and ``class_id``.

    ``category_ids`` maps class ids to category ids; without it, they are the same. ``size`` (height, width) is needed
    only where nothing was found. Sort detections that overlap by confidence:
    ``detections[(-detections.confidence).argsort()]``.
    """
    masks: Any = getattr(detections, "mask", None)
    classes: Any = getattr(detections, "class_id", None)
    if not hasattr(detections, "class_id"):
        raise PanopticBlendError(f"{name}: {type(detections).__name__} is no `Detections` of supervision; give these")
    if len(detections) and (masks is None or classes is None):
        missing = "mask" if masks is None else "class_id"
        raise PanopticBlendError(f"{name}: the detections have no `{missing}`, which a panoptic map needs; add it")
    ids = None if category_ids is None else _mapping(category_ids)
    records = []
    for i in range(len(detections)):
        number = int(classes[i])
        if ids is not None and number not in ids:
            raise PanopticBlendError(f"{name}: no category id is given for class {number}; add it to `category_ids`")
        records.append({"category_id": number if ids is None else ids[number], "segmentation": np.asarray(masks[i])})
    return from_segments(records, categories, size, overlaps=overlaps, name=name)


def from_labels(
    labels: Any,
    categories: Mapping[int, Category],
    label_divisor: int = LABEL_DIVISOR,
    *,
    void: Collection[int] = (),
    name: str = "prediction",
) -> PanopticMap:
    """Convert a map (H, W) of category * ``label_divisor`` + instance, as DeepLab has it.

    -1 is void, and so is every category in ``void``, such as 255. Each label is a segment; labels of stuff have the
    instance 0.
    """
    ids, label_divisor = read_ids(labels, name), require_divisor(label_divisor)
    ids = np.where(np.isin(ids // label_divisor, list(void)), -1, ids.astype(np.int64))
    return panoptic_map((ids, None), categories, name, label_divisor).measure()


def from_cityscapes_ids(ids: Any, categories: Mapping[int, Category], *, name: str = "truth") -> PanopticMap:
    """Convert the ids (H, W) of a ``gtFine_instanceIds.png``.

    From 1000 on, an id is category * 1000 + instance. Below, it is the category of stuff, or of a group of things,
    which is a crowd. Categories that are not in ``categories`` are void, as in Cityscapes' own conversion, if these are
    the ones that it evaluates.
    """
    values = read_ids(ids, name).astype(np.int64)
    records = []
    for value in np.unique(values).tolist():
        category = categories.get(value if value < 1000 else value // 1000)
        if category is not None:
            is_group = value < 1000 and category.is_thing
            records.append({"id": value + 1, "category_id": category.id, "iscrowd": int(is_group)})
    known = [record["id"] for record in records]
    return panoptic_map((np.where(np.isin(values + 1, known), values + 1, 0), records), categories, name).measure()


def _size_of(record: Mapping[str, Any]) -> Size | None:
    shape = record.get("segmentation")
    sides = shape.get("size") if isinstance(shape, Mapping) else getattr(shape, "shape", None)
    if not isinstance(sides, list | tuple) or len(sides) != 2:
        return None
    height, width = map(whole_number, sides)
    return None if height is None or width is None else (height, width)


def _mask(record: Mapping[str, Any], size: Size, where: str) -> Mask:
    """The mask (H, W) of a record."""
    shape = record.get("segmentation")
    if hasattr(shape, "shape"):
        mask = np.asarray(shape)
        if mask.dtype != np.bool_ or mask.ndim != 2:
            raise PanopticBlendError(f"{where}: a mask of {mask.dtype} {mask.shape}; give booleans (height, width)")
    else:
        if isinstance(shape, Mapping) and isinstance(shape.get("counts"), bytes):  # as pycocotools encodes it
            shape = {**shape, "counts": shape["counts"].decode("ascii", "replace")}
        if isinstance(shape, Mapping):
            shape = {**shape, "size": list(shape.get("size") or [])}
        try:
            found = read_shape({"segmentation": shape}, size)
        except MalformedShapeError as error:
            raise PanopticBlendError(f"{where}: {error.detail}; give COCO's run lengths or polygons") from None
        own = getattr(found, "size", size)
        mask = coco.decode(run_lengths(own, [compressed(found, own)])[0]).astype(np.bool_)
    if mask.shape != size:
        raise PanopticBlendError(f"{where}: a mask of {mask.shape} in a picture of {size}; give all in one size")
    return mask


def _painted(
    segments: Sequence[Segment], masks: Sequence[Mask], size: Size, overlaps: Overlaps, name: str
) -> PanopticMap:
    ids = np.zeros(size, dtype=np.int32)
    for segment, mask in zip(segments, masks, strict=True):
        if not mask.any():
            raise PanopticBlendError(f"{name}: segment {segment.id} has no pixel in the picture; remove it")
        shared = mask & (ids != 0)
        if overlaps == "error" and shared.any():
            other = int(ids[shared][0])
            raise PanopticBlendError(
                f"{name}: segments {other} and {segment.id} share {np.count_nonzero(shared & (ids == other))} pixels, "
                'and a pixel has one segment; give the best segment first, and overlaps="first"'
            )
        ids[mask & ~shared] = segment.id
    measured = PanopticMap.measured(ids, segments)
    seen = [segment for segment in measured.segments if segment.area]  # some are hidden by others
    return measured.with_segments(seen)


def _mapping(ids: CategoryIds) -> Mapping[int, int]:
    return ids if isinstance(ids, Mapping) else dict(enumerate(ids))
