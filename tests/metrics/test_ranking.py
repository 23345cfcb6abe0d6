"""Rankings of many result sets: Holm's correction by hand, and p-values that agree with the intervals."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from panoptic_blend.metrics.details import Tallies
from panoptic_blend.metrics.ranking import holm, rank
from panoptic_blend.metrics.resampling import compare_results, difference
from panoptic_blend.structures import Category

CATEGORIES = (Category(1, "cat", is_thing=True), Category(2, "sky", is_thing=False))


def tallies(found: float, seed: int, images: int = 30) -> Tallies:
    """Two segments in each image, each found with probability ``found``, at IoU 0.8 to 0.9."""
    generator = np.random.default_rng(seed)
    tp = (generator.random((images, 2)) < found).astype(float)
    iou = tp * (0.8 + generator.random((images, 2)) / 10)
    return Tallies(tuple(range(images)), CATEGORIES, iou, tp, np.zeros_like(tp), 1 - tp)


def test_holm_by_hand() -> None:
    # sorted: 0.01 * 4, 0.02 * 3, 0.03 * 2 (not below the one before), 0.5
    assert holm([0.03, 0.01, 0.5, 0.02]) == pytest.approx([0.06, 0.04, 0.5, 0.06])
    assert holm([0.6, 0.4]) == pytest.approx([0.8, 0.8])
    assert holm([]) == []
    with_none = holm([0.02, math.nan, 0.01])
    assert with_none[::2] == pytest.approx([0.02, 0.02]) and math.isnan(with_none[1])


def test_result_sets_are_ranked_and_compared_in_pairs() -> None:
    sets = [tallies(0.5, 1), tallies(0.9, 2), tallies(0.52, 3)]
    found = rank(sets, resamples=400, seed=5)
    assert found.order[0] == 1 and len(found.pairs) == 3
    values = [quality.value for quality in found.qualities]
    for pair in found.pairs:
        expected = compare_results(sets[pair.worse], sets[pair.better], resamples=400, seed=5).groups["All"]
        assert pair.difference == expected and expected.value == pytest.approx(values[pair.better] - values[pair.worse])
        assert pair.adjusted >= pair.p
    first, second, last = found.pairs
    assert max(first.adjusted, second.adjusted) < 0.05 < last.adjusted


def test_a_p_value_is_below_a_level_where_that_interval_excludes_zero() -> None:
    for seed in range(12):
        pair = tallies(0.6, seed), tallies(0.6 + seed / 60, seed + 100)
        interval, p = difference(*pair, resamples=199, level=0.95)
        # 0.005 on either side of 0.05: the data count as one more resample
        if abs(p - 0.05) > 0.015:
            assert (interval.low > 0 or interval.high < 0) == (p < 0.05), (interval, p)


def test_equal_sets_and_too_few_images() -> None:
    same = rank([tallies(0.5, 1), tallies(0.5, 1)], resamples=50)
    assert [(pair.difference.value, pair.p, pair.adjusted) for pair in same.pairs] == [(0, 1, 1)]
    assert same.order == [0, 1]
    few = rank([tallies(0.5, 1, images=5), tallies(0.9, 2, images=5)], resamples=50)
    assert math.isnan(few.pairs[0].p) and math.isnan(few.pairs[0].adjusted)
    # the smallest p-value of 50 resamples
    best = tallies(1, 1), tallies(0, 2)
    assert rank(best, resamples=50).pairs[0].p == pytest.approx(2 / 51)


def test_other_images_are_refused(refused: Callable[..., str]) -> None:
    sets = [tallies(0.5, 1), tallies(0.5, 2), tallies(0.5, 3, images=29)]
    assert "is in one result set only" in refused(rank, sets)
