"""The pixels within one outline, rasterized as COCO does it."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from panoptic_blend.convert.coco_masks import cutout_of, exceeds
from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.records import CUT_OFF
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_shapes import MalformedShapeError, read_shape
from panoptic_blend.formats.name_lists import suggestion
from panoptic_blend.structures import Category, Cutout, PanopticBlendError, Size

_CORNERS = 64
"""Corners of the polygon that stands for an ellipse."""

Corners = npt.NDArray[np.float64]


def within(corners: Corners, size: Size, where: str, notes: Notes) -> Cutout:
    """The pixels of a picture of ``size`` (height, width) within the polygon of ``corners`` (n, 2), x and y in pixels.

    Raises:
        PanopticBlendError: there are fewer than three corners, or one is far outside of the picture or no number.
    """
    try:
        shape = read_shape({"segmentation": [corners.ravel().tolist()]}, size)
    except MalformedShapeError as error:
        raise PanopticBlendError(f"{where} has {error.detail}; correct or remove it") from None
    if exceeds(shape, size):
        notes.add(CUT_OFF, where)
    return cutout_of(shape, size)


def ellipse(center: Corners, across: float, down: float) -> Corners:
    """The corners (64, 2) of the polygon that stands for an ellipse with two radii."""
    angles = np.linspace(0, 2 * np.pi, _CORNERS, endpoint=False)
    corners: Corners = center + np.column_stack([across * np.cos(angles), down * np.sin(angles)])
    return corners


def turned(corners: Corners, degrees: float, pivot: Corners) -> Corners:
    """Corners turned clockwise about a point."""
    angle = math.radians(degrees)
    turn = np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
    result: Corners = (corners - pivot) @ turn + pivot
    return result


def numbered(names: Iterable[str], stuff: Iterable[str], where: str) -> Categories:
    """Categories with the ids 1, 2, ... in the order of their names; things but for those in ``stuff``.

    Raises:
        PanopticBlendError: a name of ``stuff`` is not among them.
    """
    known, stuff = list(names), set(stuff)
    for name in sorted(stuff - {*known}):
        raise PanopticBlendError(f"{where}: --stuff {name}: no class has this name; {suggestion(name, known)}")
    return Categories(Category(number, name, name not in stuff) for number, name in enumerate(known, start=1))
