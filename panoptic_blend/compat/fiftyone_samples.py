"""Convert samples of FiftyOne, which need not be installed, to `PanopticMap`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.compat.maps import Mask, Overlaps, from_segments
from panoptic_blend.metrics.map_arrays import read_ids
from panoptic_blend.structures import Category, PanopticBlendError, PanopticMap, Size


def from_fiftyone(
    sample: Any,
    categories: Mapping[int, Category],
    things: str = "ground_truth",
    stuff: str | None = None,
    *,
    mask_targets: Mapping[int, str] | None = None,
    size: Size | None = None,
    overlaps: Overlaps = "error",
    name: str = "prediction",
) -> PanopticMap:
    """Convert a sample of FiftyOne, with its instances and, optionally, its semantic segmentation.

    Args:
        sample: has the fields ``things`` and ``stuff``, and ``metadata`` with height and width.
        categories: the categories of the data set by id; labels are their names.
        things: the field of ``Detections`` with masks; an attribute ``iscrowd`` marks crowds.
        stuff: the field of the ``Segmentation``, of which stuff classes are read where there is no instance.
        mask_targets: names of the values of the segmentation; without it, they are category ids. 0 is void.
        size: (height, width), if the sample has no metadata.
        overlaps: as in `Overlaps`.
        name: the begin of messages.
    """
    metadata = getattr(sample, "metadata", None)
    if size is None and metadata is not None:
        size = metadata.height, metadata.width
    if size is None:
        raise PanopticBlendError(f"{name}: the sample has no metadata; call `compute_metadata`, or give its size")
    ids = {category.name: category.id for category in categories.values()}
    found = from_segments(_instances(sample, things, ids, size, name), categories, size, overlaps=overlaps, name=name)
    if stuff is None:
        return found
    values = read_ids(_field(sample, stuff, "mask", name), f"{name}: {stuff}")
    if values.shape != size:
        raise PanopticBlendError(f"{name}: {stuff} has shape {values.shape}, the picture {size}; give it in that size")
    layers = []
    for value in np.unique(values[values != 0]).tolist():
        category = value if mask_targets is None else ids.get(mask_targets.get(value, ""), -1)
        if category not in categories:
            raise PanopticBlendError(f"{name}: {stuff} has the value {value}, which is no category; give mask_targets")
        region = (values == value) & (found.segment_ids == 0)
        if not categories[category].is_thing and region.any():
            layers.append({"category_id": category, "segmentation": region})
    return from_segments([*_as_records(found), *layers], categories, size, name=name)


def _instances(sample: Any, field: str, ids: Mapping[str, int], size: Size, name: str) -> list[dict[str, Any]]:
    """Records of the detections of a field, with masks of the size of the picture."""
    records = []
    for i, detection in enumerate(_field(sample, field, "detections", name)):
        where = f"{name}: {field}[{i}]"
        if detection.label not in ids:
            raise PanopticBlendError(f"{where}: label {detection.label!r} is not the name of a category; rename it")
        if detection.mask is None:
            raise PanopticBlendError(f"{where}: has no `mask`, which a panoptic map needs; add it")
        mask = _placed(np.asarray(detection.mask), detection.bounding_box, size, where)
        is_crowd = int(bool(getattr(detection, "iscrowd", False)))
        records.append({"category_id": ids[detection.label], "iscrowd": is_crowd, "segmentation": mask})
    return records


def _placed(mask: npt.NDArray[Any], box: Sequence[float], size: Size, where: str) -> Mask:
    """The mask (h, w) of a detection in its relative box, in the picture (H, W)."""
    height, width = size
    if mask.ndim != 2 or not mask.size or len(box) != 4 or not np.isfinite(box).all():
        raise PanopticBlendError(f"{where}: a mask of {mask.shape} in the box {box}; give (h, w) and x, y, w, h")
    left, top = round(box[0] * width), round(box[1] * height)
    columns, rows = max(round(box[2] * width), 1), max(round(box[3] * height), 1)
    if left < 0 or top < 0 or left + columns > width or top + rows > height:
        raise PanopticBlendError(f"{where}: the box {list(box)} leaves the picture; give it in parts of the sides")
    part = (mask != 0).astype(np.uint8)
    if part.shape != (rows, columns):
        part = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_NEAREST)
    placed = np.zeros(size, dtype=np.bool_)
    placed[top : top + rows, left : left + columns] = part != 0
    return placed


def _field(sample: Any, field: str, content: str, name: str) -> Any:
    """The ``content`` of a label of a sample, which has items like a dictionary."""
    try:
        label = sample[field]
    except (KeyError, TypeError, AttributeError):
        raise PanopticBlendError(f"{name}: the sample has no field `{field}`; give the name of one") from None
    found = getattr(label, content, None)
    if found is None:
        raise PanopticBlendError(f"{name}: field `{field}` has no `{content}`; give a field that has it in memory")
    return found


def _as_records(found: PanopticMap) -> list[dict[str, Any]]:
    return [
        {"category_id": s.category, "iscrowd": int(s.is_crowd), "segmentation": found.segment_ids == s.id}
        for s in found.segments
    ]
