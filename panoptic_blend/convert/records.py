"""Read and check the sizes and points in annotation files."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.formats.coco_shapes import REACH
from panoptic_blend.formats.json_fields import require_integer
from panoptic_blend.structures import PanopticBlendError

SLACK = 2
"""Pixels by which tools round coordinates, or draw beyond the border of a picture."""

CUT_OFF = "shapes reach beyond their picture and were cut off at its border"
"""The remark on shapes with points that lie outside by more than ``SLACK``."""

MAX_SIDE = 10**6
"""Pictures with more pixels on a side are mistakes."""

PLAUSIBLE = 1e12
"""Lengths and areas of more pixels are mistakes."""

Points = npt.NDArray[np.float64]


def size_of(record: Mapping[str, Any], keys: tuple[str, str], where: str) -> tuple[int, int]:
    """Height and width of a picture from the fields ``keys``, both from 1 to ``MAX_SIDE``."""
    height, width = (require_integer(record, key, where) for key in keys)
    if min(height, width) < 1 or max(height, width) > MAX_SIDE:
        raise PanopticBlendError(f"{where}: its size is {width} x {height} pixels; correct it")
    return height, width


def is_plausible(value: object) -> bool:
    """Whether a JSON value is a finite number that can be a length or an area in pixels."""
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < PLAUSIBLE


def points(values: Any, size: tuple[int, int], where: str) -> Points:
    """Points (n, 2) float64 as x, y in pixels, all within a plausible distance of a picture of ``size``."""
    try:
        array = np.array(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        array = np.full((1, 1), math.nan)
    if array.size == 0:
        return np.zeros((0, 2))
    if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all():
        raise PanopticBlendError(f"{where}: its points are not pairs of numbers; correct or remove it")
    farthest = array.flat[np.abs(array).argmax()]
    if abs(farthest) > REACH * max(size):
        raise PanopticBlendError(
            f"{where}: a point has the coordinate {farthest:g} in a picture of {size[1]} x {size[0]}; "
            "correct or remove it"
        )
    return array
