"""Masks of COCO instances, rasterized by pycocotools as COCO itself does, and compared with ``bbox`` and ``area``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from pycocotools import mask as coco

from panoptic_blend.convert.records import SLACK, is_plausible
from panoptic_blend.formats.coco_shapes import RunLengths, Shape, compressed
from panoptic_blend.structures import Cutout, Size


def cutout_of(shape: Shape, size: Size) -> Cutout:
    """The pixels of a shape in a picture of ``size`` (height, width), which is also the size of an RLE."""
    rle = {"size": list(size), "counts": compressed(shape, size)}
    left, top, width, height = coco.toBbox(rle).astype(int).tolist()
    return Cutout(coco.decode(rle)[top : top + height, left : left + width].astype(bool), top, left)


def exceeds(shape: Shape, size: Size) -> bool:
    """Whether a shape does not fit into a picture of ``size`` (height, width) and loses a part of its pixels."""
    if isinstance(shape, RunLengths):
        return shape.size != size
    corners = np.concatenate(shape.parts)
    return bool((corners < -SLACK).any() or (corners > np.array(size[::-1]) + SLACK).any())


def contradicts(cutout: Cutout, annotation: Mapping[str, Any]) -> bool:
    """Whether a mask differs grossly from the ``bbox`` or the ``area`` of its annotation; missing ones fit all masks.

    A side of the box may be off by a quarter of its length, and the area by a factor of two. Some tools give the area
    of the box instead, which fits as well.
    """
    height, width = cutout.mask.shape
    box, area = _positive(annotation.get("bbox")), _positive([annotation.get("area")])
    if box is not None and (
        _are_apart(cutout.left, width, box[0], box[2]) or _are_apart(cutout.top, height, box[1], box[3])
    ):
        return True
    found, slack = int(np.count_nonzero(cutout.mask)), SLACK * (height + width)
    return area is not None and not (
        area[0] / 2 - slack <= found <= 2 * area[0] + slack or abs(area[0] - height * width) <= slack
    )


def _are_apart(start: float, length: float, other_start: float, other_length: float) -> bool:
    """Whether two intervals differ at one end by more than a quarter of the longer one."""
    limit = SLACK + max(length, other_length) / 4
    return abs(start - other_start) > limit or abs(start + length - other_start - other_length) > limit


def _positive(values: Any) -> list[float] | None:
    """A list of finite numbers, of which the last is above 0; None for every other value."""
    if not isinstance(values, list) or not values or not all(map(is_plausible, values)):
        return None
    return values if values[-1] > 0 and len(values) in (1, 4) else None
