"""Values out of the JSON of others, checked where they are taken."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.files import inside
from panoptic_blend.formats.columns import whole_number
from panoptic_blend.structures import PanopticBlendError

REACH = 10
"""How many picture sizes off a point may lie; shapes cross the border, but one so far off is a mistake."""

Points = npt.NDArray[np.float64]


def records(content: Any, key: str, where: str, kind: str) -> list[dict[str, Any]]:
    """The list of records ``key``, or an error that says this is not ``kind``."""
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise PanopticBlendError(f"{where}: no list of records `{key}`; this is not {kind}")
    return value


def size_of(record: Mapping[str, Any], keys: tuple[str, str], where: str) -> tuple[int, int]:
    """Height and width of a picture."""
    height, width = (whole_number(record, key, where) for key in keys)
    if min(height, width) < 1:
        raise PanopticBlendError(f"{where}: a picture of {width} x {height} pixels; correct its size")
    return height, width


def text(record: Mapping[str, Any], key: str, where: str) -> str:
    """A text with something in it."""
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise PanopticBlendError(f"{where}: `{key}` is {value!r}, not a name; correct it")
    return value


def file_name(record: Mapping[str, Any], key: str, where: str) -> str:
    """A name that does not lead out of the folder it stands for."""
    value = text(record, key, where)
    try:
        inside(Path(), value)
    except PanopticBlendError as error:
        raise PanopticBlendError(f"{where}: {error}") from None
    return value


def decoded(data: bytes, flags: int) -> npt.NDArray[Any] | None:
    """The pixels of a picture file as OpenCV gives them; None if it is none."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags) if data else None
    except cv2.error:  # a header that claims too many pixels
        return None


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
