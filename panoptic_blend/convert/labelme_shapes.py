"""Masks of LabelMe's shapes, drawn with OpenCV and close to LabelMe's own export.

A shape covers the pixels in which its points lie and all pixels between them, including the outline, so a rectangle
from (10, 10) to (20, 20) has 11 x 11 pixels. Polygons and circles agree with LabelMe's export to an IoU of about 0.95
at a radius of 8 pixels, 0.976 at 30 and 0.992 at 100; rectangles agree to the pixel.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Callable, Mapping
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.convert.records import CUT_OFF, SLACK, Points, points
from panoptic_blend.formats.coco_shapes import REACH
from panoptic_blend.formats.headers import stored_size
from panoptic_blend.formats.images import decode_picture
from panoptic_blend.structures import Cutout, PanopticBlendError, Size

Mask = npt.NDArray[np.bool_]

EMPTY = Cutout(np.zeros((0, 0), bool), 0, 0)
WITHOUT_AREA = {"line", "linestrip", "point", "points"}


def has_area(shape: Mapping[str, Any], where: str) -> bool:
    """Whether a shape covers pixels; lines and points do not.

    Raises:
        PanopticBlendError: LabelMe has no shape of this type.
    """
    kind = _kind(shape)
    if kind not in WITHOUT_AREA | _MASKS.keys() | {"mask"}:
        known = ", ".join(sorted({*_MASKS, "mask", *WITHOUT_AREA}))
        raise PanopticBlendError(f"{where}: shape_type {kind!r} is unknown; use {known}")
    return kind not in WITHOUT_AREA


def cutout_of(shape: Mapping[str, Any], size: Size, where: str) -> Cutout:
    """The pixels of a shape with an area that lie in a picture of ``size`` (height, width)."""
    corners, kind = points(shape.get("points"), size, where), _kind(shape)
    if kind == "mask":
        return _bitmap(shape.get("mask"), corners, size, where)
    if kind == "circle" and len(corners) != 2:
        raise PanopticBlendError(f"{where}: a circle has {len(corners)} points, not 2; correct or remove it")
    if len(corners) < _fewest(kind):
        return EMPTY
    extent = corners[0] + (math.dist(*corners) + 0.5) * np.array([[-1], [1]]) if kind == "circle" else corners
    left, top = np.clip(np.floor(extent.min(axis=0)), 0, size[::-1]).astype(int).tolist()
    right, bottom = np.clip(np.floor(extent.max(axis=0)) + 1, 0, size[::-1]).astype(int).tolist()
    if left == right or top == bottom:
        return EMPTY
    return Cutout(_MASKS[kind](corners - (left, top), (bottom - top, right - left)), top, left)


def doubt(shape: Mapping[str, Any], size: Size, where: str) -> str | None:
    """What is wrong with a shape that has an area, for a count: too few points, or a part outside of the picture."""
    corners, kind = points(shape.get("points"), size, where), _kind(shape)
    if len(corners) < _fewest(kind):
        return "shapes have too few points to enclose an area and were left out"
    if kind != "circle" and ((corners < -SLACK) | (corners > np.array(size[::-1]) + SLACK)).any():
        return CUT_OFF
    return None


def _fewest(kind: str) -> int:
    return 3 if kind in {"polygon", "oriented_rectangle"} else 2


def _kind(shape: Mapping[str, Any]) -> str:
    return str(shape.get("shape_type") or "polygon")


def _polygon(corners: Points, size: Size) -> Mask:
    mask = np.zeros(size, np.uint8)
    cv2.fillPoly(mask, [np.floor(corners).astype(np.int32)], 1)
    return mask.astype(bool)


def _rectangle(corners: Points, size: Size) -> Mask:
    return np.ones(size, bool) if len(corners) == 2 else _polygon(corners, size)  # some tools write four corners


def _circle(corners: Points, size: Size) -> Mask:
    """A disk half a pixel larger than the one with the first point as its center and the second on its rim."""
    (x, y), radius = corners[0], math.dist(*corners) + 0.5
    rows, columns = np.ogrid[: size[0], : size[1]]
    return (columns + 0.5 - x) ** 2 + (rows + 0.5 - y) ** 2 <= radius**2


_MASKS: Mapping[str, Callable[[Points, Size], Mask]] = {
    "polygon": _polygon,
    "rectangle": _rectangle,
    "oriented_rectangle": _polygon,
    "circle": _circle,
}


def _bitmap(code: Any, corners: Points, size: Size, where: str) -> Cutout:
    """A mask encoded as a picture in base64, with two opposite corners of its box."""
    try:
        data = base64.b64decode(code, validate=True)
    except (TypeError, ValueError):
        data = b""
    if not data or len(corners) != 2:
        raise PanopticBlendError(f"{where}: its `mask` is not a picture with two corner points; draw it again")
    height, width = stored_size(data) or (0, 0)
    if height > REACH * size[0] or width > REACH * size[1]:
        raise PanopticBlendError(
            f"{where}: its `mask` has {width} x {height} pixels, the picture {size[1]} x {size[0]}; draw it again"
        )
    bitmap: Mask = np.any(decode_picture(data, f"{where}: its `mask`"), axis=2)
    left, top = np.floor(corners.min(axis=0)).astype(int).tolist()
    inside = bitmap[max(-top, 0) : max(size[0] - top, 0), max(-left, 0) : max(size[1] - left, 0)]
    return Cutout(inside, max(top, 0), max(left, 0)) if inside.size else EMPTY
