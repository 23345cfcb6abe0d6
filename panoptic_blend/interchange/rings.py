"""Outline masks by polygons: along the edges of pixels, as COCO fills them, or through their centers, as LabelMe does.

With a tolerance of 0 a polygon encloses exactly the pixels of its mask. Otherwise it is simplified (Douglas and
Peucker, The Canadian Cartographer 10, 1973), so that no part of the outline moves by more than the tolerance; a ring
that would lose half of its area, as small ones do, is kept as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from panoptic_blend.structures import Cutout

Ring = npt.NDArray[np.float64]
"""The corners (n, 2) of a closed polygon: x and y in pixels of the picture."""


@dataclass(frozen=True, eq=False)
class Part:
    """A connected part of a mask, whose pixels touch at sides or corners: its outer ring, and those of its holes."""

    outer: Ring
    holes: Sequence[Ring]


def edge_rings(cutout: Cutout, tolerance: float) -> list[Part]:
    """The parts of a mask, by rings along the edges of pixels; all rings together enclose it by the even-odd rule."""
    double = cutout.mask.view(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    # of the two pixels that stand for one, the first is at its left or upper edge, the second at the other
    return _parts(double, lambda corners: (corners + 1) // 2, cutout, tolerance)


def center_rings(cutout: Cutout, tolerance: float) -> list[Part]:
    """The parts of a mask, by rings through the centers of the outermost pixels, or of those around a hole.

    The pixels in which the points of an outer ring lie, those on the lines between them and those within are the mask
    with its holes filled.
    """
    return _parts(cutout.mask.view(np.uint8), lambda corners: corners + 0.5, cutout, tolerance)


def joined(parts: Sequence[Part]) -> Ring:
    """One polygon for all rings, joined by lines that it follows twice, once in each direction.

    By the even-odd rule it encloses the same pixels.
    """
    first, *others = (ring for part in parts for ring in (part.outer, *part.holes))
    for ring in others:
        distances, nearest = cKDTree(first).query(ring)
        there = int(distances.argmin())
        here = int(nearest[there])
        detour = np.concatenate([ring[there:], ring[: there + 1]])
        first = np.concatenate([first[: here + 1], detour, first[here:]])
    return first


def _parts(
    pixels: npt.NDArray[np.uint8],
    to_corners: Callable[[npt.NDArray[np.int64]], npt.NDArray[Any]],
    cutout: Cutout,
    tolerance: float,
) -> list[Part]:
    """The parts of a mask whose contours in ``pixels`` lie where ``to_corners`` says."""
    contours, hierarchy = cv2.findContours(pixels, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return []
    parents = hierarchy[0, :, 3]
    place = np.array([cutout.left, cutout.top])
    rings = [_ring(to_corners(contour[:, 0].astype(np.int64)), tolerance) + place for contour in contours]
    holes: dict[int, list[Ring]] = {}
    for ring, parent in zip(rings, parents.tolist(), strict=True):
        holes.setdefault(parent, []).append(ring)
    return [Part(ring, holes.get(i, [])) for i, ring in enumerate(rings) if parents[i] < 0]


def _ring(corners: npt.NDArray[Any], tolerance: float) -> Ring:
    """A closed polygon without corners in the middle of a side, simplified if that keeps most of its area."""
    steps = corners - np.roll(corners, 1, axis=0)
    corners = corners[steps.any(axis=1)] if steps.any() else corners[:1]
    before, after = corners - np.roll(corners, 1, axis=0), np.roll(corners, -1, axis=0) - corners
    turns = before[:, 0] * after[:, 1] - before[:, 1] * after[:, 0]
    returns = (before * after).sum(axis=1) < 0
    exact: Ring = corners[(turns != 0) | returns].astype(np.float64) if len(corners) > 2 else corners.astype(np.float64)
    if not tolerance or len(exact) < 4:
        return exact
    simple: Ring = cv2.approxPolyDP(exact.astype(np.float32)[:, None], tolerance, True)[:, 0].astype(np.float64)
    return simple if len(simple) > 2 and 2 * _area(simple) > _area(exact) else exact


def _area(ring: Ring) -> float:
    x, y = ring.T
    return abs(float(x @ np.roll(y, -1) - y @ np.roll(x, -1))) / 2
