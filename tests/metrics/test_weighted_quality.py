"""Statistics of weighted images and their standard errors; `test_resampling` compares them with plain loops."""

from __future__ import annotations

import numpy as np
import pytest

from panoptic_blend.metrics.details import Tallies
from panoptic_blend.metrics.weighted_quality import WeightedQuality
from panoptic_blend.structures import Category

CAT, SKY = Category(1, "cat", is_thing=True), Category(2, "sky", is_thing=False)


def tallies(iou_sum: list[float], tp: list[float], fn: list[float]) -> Tallies:
    """Results for cats alone, without false positives."""
    columns = [
        np.stack([np.array(values, dtype=np.float64), np.zeros(len(tp))], axis=1) for values in (iou_sum, tp, fn)
    ]
    return Tallies(tuple(range(len(tp))), (CAT, SKY), columns[0], columns[1], np.zeros_like(columns[0]), columns[2])


def test_influence_and_error_worked_out_by_hand() -> None:
    quality = WeightedQuality(tallies([0.8, 0.0, 1.0], [1, 0, 1], [0, 2, 0]))
    # PQ is 1.8 / 3 = 0.6; image i moves it by (IoU sum - 0.6 * weight) / 3, where every weight is 1
    expected = np.array([0.2, -0.6, 0.4]) / 3
    found = quality.estimate(np.ones((1, 3)))
    assert found.value[0, [0, 1, 3]] == pytest.approx([0.6] * 3)
    assert np.isnan(found.value[0, [2, 4]]).all() and np.isnan(found.error[0, [2, 4]]).all(), "there is no sky"
    for column in (0, 1, 3):
        assert quality.influence()[:, column] == pytest.approx(expected)
        assert found.error[0, column] == pytest.approx(np.sqrt((expected**2).sum()))
    assert quality.occurrences().tolist() == [3, 3, 0, 3, 0]


def test_weights_count_an_image_several_times() -> None:
    quality = WeightedQuality(tallies([0.8, 0.0, 1.0], [1, 0, 1], [0, 2, 0]))
    thrice = WeightedQuality(tallies([0.8, 0.8, 0.8, 1.0], [1, 1, 1, 1], [0, 0, 0, 0])).estimate(np.ones((1, 4)))
    weighted = quality.estimate(np.array([[3.0, 0, 1]]))
    assert weighted.value[0, :2] == pytest.approx(thrice.value[0, :2])
    assert weighted.error[0, :2] == pytest.approx(thrice.error[0, :2])


def test_a_difference_is_second_minus_first_and_a_result_set_does_not_differ_from_itself() -> None:
    one, two = tallies([0.8, 0.0], [1, 0], [0, 1]), tallies([0.8, 0.6], [1, 1], [0, 0])
    found = WeightedQuality(two, minus=one)
    # 1.4 / 2 minus 0.8 / 1.5; the influences are differences of the two result sets' own
    assert found.estimate(np.ones((1, 2))).value[0, 3] == pytest.approx(0.7 - 0.8 / 1.5)
    own = np.array([0.1, -0.1]) / 2 - np.array([0.8 - 0.8 / 1.5, -0.4 / 1.5]) / 1.5
    assert found.influence()[:, 3] == pytest.approx(own)
    assert found.estimate(np.ones((1, 2))).error[0, 3] == pytest.approx(np.sqrt((own**2).sum()))
    same = WeightedQuality(two, minus=two).estimate(np.array([[2.0, 0], [1, 1]]))
    assert np.nan_to_num(same.value).tolist() == np.zeros((2, 5)).tolist()
    assert np.nan_to_num(same.error) == pytest.approx(np.zeros((2, 5)), abs=1e-7)
