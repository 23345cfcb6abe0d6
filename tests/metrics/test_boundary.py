"""Boundaries compared with a slow, simple reference, and Boundary PQ by hand."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.metrics.boundary import boundary_width
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.overlaps import compare
from panoptic_blend.structures import Category, PanopticMap, Segment

CAT, SKY = 17, 187
CATEGORIES = [Category(CAT, "cat", is_thing=True), Category(SKY, "sky", is_thing=False)]


def panoptic(ids: np.ndarray, count: int) -> PanopticMap:
    segments = [Segment(i, (CAT, SKY)[i % 2], i % 2 == 0, None, 0, None) for i in range(1, count + 1)]
    return PanopticMap(ids.astype(np.int32), segments)


def slow_boundary(ids: np.ndarray, id: int) -> set[tuple[int, int]]:
    """Pixels of a segment with a pixel of another segment, or the edge of the image, within the boundary width."""
    (height, width), reach = ids.shape, boundary_width(ids.shape)
    found = set()
    for y, x in np.argwhere(ids == id).tolist():
        near = [(y + j, x + i) for j in range(-reach, reach + 1) for i in range(-reach, reach + 1)]
        if any(not (0 <= j < height and 0 <= i < width) or ids[j, i] != id for j, i in near):
            found.add((y, x))
    return found


def test_width_is_2_percent_of_the_diagonal() -> None:
    assert [boundary_width(shape) for shape in ((480, 640), (3, 4), (30, 40), (90, 120))] == [16, 1, 1, 3]


@settings(max_examples=25)
@given(st.integers(0, 2**32), st.sampled_from([(9, 13), (1, 7), (70, 71), (0, 5)]), st.sampled_from([3, 254, 255, 300]))
def test_agrees_with_the_slow_reference(seed: int, shape: tuple[int, int], count: int) -> None:
    generator = np.random.default_rng(seed)
    side = 7 if shape[0] < 20 else 30
    maps = []
    for _ in range(2):
        coarse = generator.integers(0, 4, (shape[0] // side + 1, shape[1] // side + 1)).repeat(side, 0).repeat(side, 1)
        numbers = np.array([0, 1, 2, count])
        maps.append(numbers[coarse[: shape[0], : shape[1]]])
    first, second = (panoptic(ids, count) for ids in maps)
    compared = compare(first, second, boundary=True).boundary
    assert compared
    table = compared.dense()
    assert table.shape == (count + 2, count + 1) and table.sum() == maps[0].size
    for t in {1, 2, count}:
        boundary = slow_boundary(maps[0], t)
        assert table[t].sum() == len(boundary)
        for p in {1, 2, count}:
            assert table[t, p] == len(boundary & slow_boundary(maps[1], p))
    for p in {1, 2, count}:
        boundary = slow_boundary(maps[1], p)
        assert table[:, p].sum() == len(boundary)
        assert table[0, p] == sum(maps[0][y, x] == 0 for y, x in boundary)


def test_the_smaller_iou_counts() -> None:
    # boundaries are 1 pixel wide; a 6 x 6 cat in the middle of a sky of 12 x 12, and the cat moved by one column
    truth, moved = np.ones((12, 12)), np.ones((12, 12))
    truth[3:9, 3:9] = 2
    moved[3:9, 4:10] = 2
    details = PanopticDetails(CATEGORIES, boundary=True)
    details.update(1, panoptic(truth, 2), panoptic(moved, 2))
    plain, narrow = details.compute(), details.compute(boundary=True)
    assert plain.per_class[CAT]["iou_sum"] == 30 / 42
    # boundary of a cat: 20 pixels; shared: top and bottom, 5 each; none at the sides
    assert narrow.per_class[CAT] == {"pq": 0, "sq": 0, "rq": 0, "iou_sum": 0, "tp": 0, "fp": 1, "fn": 1}
    # boundary of the sky: 44 at the edge, 28 around the cat; of these 28, the rows of 8 at the
    # top and bottom share 7 each, because they move by one column; none is shared at the sides
    assert narrow.per_class[SKY]["iou_sum"] == float(Fraction(44 + 14, 2 * 72 - 58))
    assert narrow.per_class[SKY]["iou_sum"] < plain.per_class[SKY]["iou_sum"] == pytest.approx(102 / 114)


def test_void_is_excluded_from_the_boundary_of_a_prediction() -> None:
    truth, prediction = np.zeros((6, 9)), np.zeros((6, 9))
    truth[:, :5], prediction[:, :] = 2, 2
    details = PanopticDetails(CATEGORIES, boundary=True)
    details.update(1, panoptic(truth, 2), panoptic(prediction, 2))
    # boundary of the truth: 18 of 30 pixels; of the prediction: 26, of which 12 are on void; shared: 14
    assert details.compute(boundary=True).per_class[CAT]["iou_sum"] == 14 / 18
    assert details.compute().per_class[CAT]["iou_sum"] == 1
