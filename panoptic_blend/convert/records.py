"""Values out of the JSON of others, checked where they are taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.formats.json_fields import require_integer
from panoptic_blend.structures import PanopticBlendError

REACH = 10
"""How many picture sizes off a point may lie; shapes cross the border, but one so far off is a mistake."""

Points = npt.NDArray[np.float64]


def size_of(record: Mapping[str, Any], keys: tuple[str, str], where: str) -> tuple[int, int]:
    """Height and width of a picture."""
    height, width = (require_integer(record, key, where) for key in keys)
    if min(height, width) < 1:
        raise PanopticBlendError(f"{where}: a picture of {width} x {height} pixels; correct its size")
    return height, width


def points(values: Any, size: tuple[int, int], where: str) -> Points:
    """Points (n, 2) x, y in pixels, none of them absurdly far from a picture of ``size``."""
    try:
        array = np.array(values, dtype=np.float64)
    except (ValueError, TypeError, OverflowError):
        array = np.full((1, 1), math.nan)
    if array.size == 0:
        return np.zeros((0, 2))
    if array.ndim != 2 or array.shape[1] != 2 or not np.isfinite(array).all():
        raise PanopticBlendError(f"{where}: its points are no pairs of numbers; correct or remove it")
    if np.abs(array).max() > REACH * max(size):
        raise PanopticBlendError(
            f"{where}: a point lies {np.abs(array).max():.0f} pixels off in a picture of {size[1]} x {size[0]}; "
            "correct or remove it"
        )
    return array
