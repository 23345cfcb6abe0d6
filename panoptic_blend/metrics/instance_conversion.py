"""Panoptic maps and the network's detections as instances with COCO's boxes and run lengths."""

from __future__ import annotations

from collections.abc import Container, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as rle

from panoptic_blend.instances import FoundInstances, TrueInstances, mask_areas
from panoptic_blend.metrics.sparse import Integers
from panoptic_blend.structures import Cutout, PanopticMap, Size, as_array

if TYPE_CHECKING:
    from panoptic_blend.structures import Detections, Output


def true_instances(truth: PanopticMap, things: Container[int]) -> TrueInstances:
    """The segments of a map (H, W) whose categories are in ``things``, with measured areas and tight boxes.

    Segments without pixels are left out.
    """
    height, width = truth.segment_ids.shape
    ids = np.asfortranarray(truth.segment_ids)
    known = [segment for segment in truth.segments if segment.category in things]
    masks = [rle.encode(np.asfortranarray(ids == segment.id, dtype=np.uint8)) for segment in known]
    areas = mask_areas(masks)
    seen = np.flatnonzero(areas).tolist()
    return TrueInstances(
        size=(height, width),
        category_ids=np.array([known[row].category for row in seen], dtype=np.int64),
        boxes=np.array([rle.toBbox(masks[row]) for row in seen], dtype=np.float64).reshape(-1, 4),
        masks=[masks[row]["counts"] for row in seen],
        areas=areas[seen],
        is_crowd=np.array([known[row].is_crowd for row in seen], dtype=np.bool_),
    )


def found_instances(detections: Detections) -> FoundInstances:
    """Detections with masks (D, H, W), whose labels are category ids of the data set."""
    _, height, width = detections.masks.shape
    masks = [encode(mask) for mask in detections.masks.cpu().numpy()]
    return _found(detections, (height, width), detections.labels.cpu().numpy().astype(np.int64), masks)


def output_instances(output: Output[Any], thing_ids: Sequence[int]) -> FoundInstances:
    """All detections of the network, whose labels are positions in ``thing_ids``, also those that are not painted."""
    height, width = output.semantic.shape
    masks = encode_cutouts(output.cutouts, (height, width))
    return _found(output, (height, width), np.array(thing_ids, dtype=np.int64)[as_array(output.labels)], masks)


def _found(
    detections: Detections | Output[Any], size: Size, category_ids: Integers, masks: Sequence[bytes]
) -> FoundInstances:
    boxes, scores = (as_array(values).astype(np.float64) for values in (detections.boxes, detections.scores))
    boxes = boxes.reshape(-1, 4)
    corners = np.concatenate([boxes[:, :2], boxes[:, 2:] - boxes[:, :2]], axis=1)
    return FoundInstances(size, category_ids, scores, corners, masks)


def encode_cutouts(cutouts: Sequence[Cutout], size: Size) -> list[bytes]:
    """The compressed run lengths of cropped masks in an image of ``size`` (height, width)."""
    canvas, masks = np.zeros(size, dtype=np.uint8, order="F"), []
    for cutout in cutouts:
        canvas[cutout.window] = cutout.mask
        masks.append(encode(canvas))
        canvas[cutout.window] = 0
    return masks


def encode(mask: npt.NDArray[np.bool_ | np.uint8]) -> bytes:
    """The compressed run lengths of a mask (H, W), as in results for COCO."""
    counts: bytes = rle.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    return counts
