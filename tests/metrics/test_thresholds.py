"""PQ at other thresholds, and the assignment that it needs below 0.5."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.metrics.assignment import heaviest_pairs
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.overlaps import compare, match
from panoptic_blend.metrics.thresholds import THRESHOLDS, mean_quality, quality_at
from panoptic_blend.structures import Category, PanopticMap, Segment

CAT, SKY = 17, 187
CATEGORIES = [Category(CAT, "cat", is_thing=True), Category(SKY, "sky", is_thing=False)]


def panoptic(row: list[int], *kinds: int) -> PanopticMap:
    segments = [Segment(i, kind, kind == CAT, None, 0, None) for i, kind in enumerate(kinds, 1)]
    return PanopticMap(np.array([row], dtype=np.int32), segments)


# Cat A has 5 pixels, cat B 4. Prediction a takes 2 of A, b takes 3 of A and 1 of B, and 3 of B are void in c's place.
TRUTH = panoptic([1, 1, 1, 1, 1, 2, 2, 2, 2], CAT, CAT)
PREDICTION = panoptic([1, 1, 2, 2, 2, 2, 0, 0, 0], CAT, CAT)
# IoU: A-a 2/5, A-b 3/6, B-b 1/7


def test_below_one_half_the_assignment_with_the_largest_sum_of_iou_is_taken() -> None:
    comparison = compare(TRUTH, PREDICTION)
    at_ten, at_twenty = match(comparison, threshold=10), match(comparison, threshold=20)
    # A-a and B-b together have 2/5 + 1/7 > 1/2, so that A does not go to its best prediction
    assert [at_ten.truth.tolist(), at_ten.prediction.tolist()] == [[0, 1], [0, 1]]
    assert at_ten.iou == pytest.approx([2 / 5, 1 / 7]) and at_ten.missed.size == at_ten.spurious.size == 0
    assert [at_twenty.truth.tolist(), at_twenty.prediction.tolist()] == [[0], [1]]
    assert [at_twenty.missed.tolist(), at_twenty.spurious.tolist()] == [[1], [0]]
    assert match(comparison).truth.size == 0, "exactly one half is no match"


def test_the_curve_falls_and_holds_pq_at_one_half() -> None:
    details = PanopticDetails(CATEGORIES)
    details.update(1, TRUTH, PREDICTION)
    # IoU 4/5 and 5/6 of sky with 4 and 6 pixels
    details.update(2, panoptic([1, 1, 1, 1, 1, 2], SKY, CAT), panoptic([1, 1, 1, 1, 2, 2], SKY, CAT))
    curve = quality_at(details)
    assert tuple(curve) == THRESHOLDS and curve[50] == details.compute()
    sky = [curve[percent].per_class[SKY]["pq"] for percent in (5, 75, 80, 95)]
    assert sky == pytest.approx([4 / 5, 4 / 5, 0, 0]), "an IoU of 0.8 is not above 0.8"
    cat = [curve[percent].per_class[CAT] for percent in (10, 20, 45, 50)]
    # the cat of image 2 has IoU 1/2
    assert [c["tp"] for c in cat] == [3, 2, 2, 0]
    assert [c["pq"] for c in cat] == pytest.approx([(2 / 5 + 1 / 7 + 1 / 2) / 3, 1 / 3, 1 / 3, 0])
    assert mean_quality(curve, "Stuff") == pytest.approx(6 / 10 * 4 / 5)
    assert np.isnan(mean_quality(quality_at(PanopticDetails(CATEGORIES)), "All"))


def test_a_match_that_lies_mostly_on_void_is_ignored_above_its_iou() -> None:
    details = PanopticDetails(CATEGORIES)
    # IoU 3/4 without the 5 pixels of the prediction on void, which are more than half of its 8
    details.update(1, panoptic([1, 1, 1, 1, 0, 0, 0, 0, 0], CAT), panoptic([1, 1, 1, 0, 1, 1, 1, 1, 1], CAT))
    found = {percent: report.per_class[CAT] for percent, report in quality_at(details, (70, 75)).items()}
    assert [(q["tp"], q["fp"], q["fn"]) for q in found.values()] == [(1, 0, 0), (0, 0, 1)]


def best_sum(table: np.ndarray) -> float:
    """The largest sum of an assignment, by trying all."""
    size = max(table.shape)
    square = np.zeros((size, size))
    square[: table.shape[0], : table.shape[1]] = table
    return max(sum(square[i, j] for i, j in enumerate(order)) for order in permutations(range(size)))


@given(st.lists(st.lists(st.integers(0, 9), min_size=4, max_size=4), min_size=1, max_size=4))
def test_the_assignment_is_the_best_of_all(rows: list[list[int]]) -> None:
    table = np.array(rows) / 10
    at_row, at_column = np.nonzero(table)
    found = heaviest_pairs(at_row, at_column, table[at_row, at_column])
    assert len(set(at_row[found])) == len(set(at_column[found])) == len(found)
    assert table[at_row[found], at_column[found]].sum() == pytest.approx(best_sum(table))


def test_many_segments_in_chains_need_no_square_of_memory() -> None:
    size = 100_000  # rows 2k and 2k + 1 share column 2k: a dense table would have 80 GB
    rows, columns = np.arange(size), np.arange(size) // 2 * 2
    found = heaviest_pairs(rows[:2000], columns[:2000], np.where(rows[:2000] % 2, 0.4, 0.3))
    assert found.tolist() == list(range(1, 2000, 2))
    assert heaviest_pairs(rows, rows, np.ones(size)).size == size
