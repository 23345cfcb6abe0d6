"""Pixels by class, by hand."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from panoptic_blend.metrics.class_pixels import ClassPixels
from panoptic_blend.metrics.overlaps import compare
from panoptic_blend.structures import Category, PanopticMap, Segment

CATEGORIES = [Category(7, "cat", is_thing=True), Category(9, "sky", is_thing=False)]


def panoptic(row: list[int], *categories: int) -> PanopticMap:
    segments = [Segment(id, category, category == 7, None, 0, None) for id, category in enumerate(categories, 1)]
    return PanopticMap(np.array([row], np.int32), segments)


def test_pixels_are_counted_by_class_and_merged(refused: Callable[..., str]) -> None:
    first, second = ClassPixels(CATEGORIES), ClassPixels(CATEGORIES)
    first.update(compare(panoptic([1, 1, 2, 3, 0], 7, 7, 9), panoptic([1, 0, 1, 1, 1], 9)))
    second.update(compare(panoptic([1, 1], 7), panoptic([1, 1], 7)))
    first.merge(second)
    assert first.compute().tolist() == [[0, 0, 1], [1, 2, 2], [0, 0, 1]]
    assert "different categories" in refused(first.merge, ClassPixels(CATEGORIES[:1]))
    first.reset()
    assert not first.compute().any()
