"""Sizes and shapes of the things of one image: sides, thickness, and which of them touch or overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import find_objects

from panoptic_blend.data.protocol import Sample
from panoptic_blend.data.regions import Regions

Layers = Sequence[npt.NDArray[np.integer[Any]]]
"""Maps (H, W) of one image; thing g is where one of them is g + 1."""

_REACH = 2
"""Things touch if there is at most one pixel between them: outlines of neighbors are rarely drawn without a gap."""


@dataclass(frozen=True)
class ThingShapes:
    """The things of an image, without crowds, G of them; all sides are in pixels.

    ``thicknesses`` are mean thicknesses (see `thickness`). ``touching`` says which things touch or overlap another one
    of their class, and ``overlapping`` which of them share pixels with any other.
    """

    category_ids: npt.NDArray[np.int64]
    areas: npt.NDArray[np.float64]
    long_sides: npt.NDArray[np.float64]
    short_sides: npt.NDArray[np.float64]
    thicknesses: npt.NDArray[np.float64]
    touching: npt.NDArray[np.bool_]
    overlapping: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.category_ids)


def thing_shapes(sample: Sample) -> ThingShapes:
    """Measure the things of a sample that have pixels."""
    regions = Regions.of_things(sample)
    layers, things = regions.layers, set(regions.instances())
    category_ids = np.array([-1, *(s.category if i in things else -1 for i, s in enumerate(regions.segments))])
    found = [
        (number, np.count_nonzero(mask), max(mask.shape), min(mask.shape), thickness(mask))
        for layer in layers
        for number, window in enumerate(find_objects(layer), start=1)
        if window is not None and category_ids[number] >= 0
        for mask in [layer[window] == number]
    ]
    rows = np.array(sorted(found), dtype=np.float64).reshape(-1, 5)
    numbers = rows[:, 0].astype(np.intp)
    touching, overlapping = _neighbors(layers, category_ids)
    areas, long_sides, short_sides, thicknesses = rows[:, 1:].T
    return ThingShapes(
        category_ids[numbers], areas, long_sides, short_sides, thicknesses, touching[numbers], overlapping[numbers]
    )


def thickness(mask: npt.NDArray[np.bool_]) -> float:
    """Mean thickness in pixels of a mask (h, w), which is cut out to its tight box and has a pixel.

    In a long bar of width w, the mean distance of its points from its edge is w / 4, so this is four times the mean
    distance to the nearest pixel outside, less the half pixel up to that pixel's edge: about w for a bar, and two
    thirds of the side of a square or the diameter of a disc.
    """
    padded = np.pad(mask, 1).astype(np.uint8)
    distances = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return 4 * (float(distances[padded > 0].mean()) - 0.5)


def _neighbors(
    layers: Layers, category_ids: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
    """Which values of the layers touch or overlap another one of their class, and which overlap any other."""
    touching, overlapping = (np.zeros(len(category_ids), dtype=np.bool_) for _ in range(2))
    for one, other in combinations(layers, 2):
        pairs = np.concatenate(_pairs(one, other, category_ids))
        overlapping[pairs] = True
    for one, other in product(layers, layers):
        for step in range(_REACH + 1):
            for a, b in ((one[step:], other[: len(other) - step]), (one[:, step:], other[:, : other.shape[1] - step])):
                first, second = _pairs(a, b, category_ids)
                same = category_ids[first] == category_ids[second]
                touching[first[same]] = touching[second[same]] = True
    return touching, overlapping


def _pairs(
    one: npt.NDArray[np.integer[Any]], other: npt.NDArray[np.integer[Any]], category_ids: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The different things that are at the same place of two maps."""
    differ = one != other
    first, second = one[differ].astype(np.intp), other[differ].astype(np.intp)
    are_things = (category_ids[first] >= 0) & (category_ids[second] >= 0)
    return first[are_things], second[are_things]
