"""Intervals and comparisons of AP on sets whose resamples can be worked out by hand."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest

from panoptic_blend.instances import FoundInstances, TrueInstances
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.instance_matching import InstanceTallies
from panoptic_blend.metrics.instance_resampling import compare_instances, instance_intervals
from panoptic_blend.metrics.resampling import Interval
from panoptic_blend.structures import Category, PanopticBlendError

CAT, DOG = 1, 2
CATEGORIES = [Category(CAT, "cat", is_thing=True), Category(DOG, "dog", is_thing=True)]
BOX, ELSEWHERE = [[0.0, 0.0, 4.0, 4.0]], [[8.0, 8.0, 4.0, 4.0]]


def tallies(found: Sequence[bool], category: int = CAT) -> InstanceTallies:
    """An image for each entry, with one cat or dog, which is found with a perfect box or not at all."""
    metric, ids, one = AveragePrecision(CATEGORIES), np.array([category]), np.ones(1)
    for image, is_found in enumerate(found):
        truth = TrueInstances((16, 16), ids, np.array(BOX), [b""], 16 * one, one == 0)
        metric.update(truth, FoundInstances((16, 16), ids, one, np.array(BOX if is_found else ELSEWHERE), None), image)
    return metric.tallies()["box"]


def test_the_interval_of_recall_is_that_of_a_proportion() -> None:
    """The recall of a resample of 100 images, of which 60 are found, is binomial with p = 0.6."""
    found = instance_intervals(tallies([True] * 60 + [False] * 40), resamples=2000)
    interval = found.figures["AR100"]
    assert interval.value == pytest.approx(0.6)
    assert interval.low == pytest.approx(0.5, abs=0.011)  # quantiles of the binomial distribution: 0.50 and 0.69
    assert interval.high == pytest.approx(0.69, abs=0.011)
    assert found.figures["AP_S"] == found.figures["AP"]
    assert math.isnan(found.figures["AP_M"].value)
    assert [*found.per_class] == [CAT]
    assert found.too_rare == []


def test_a_comparison_is_paired_and_too_few_images_are_told() -> None:
    """Where both find the same, the difference is 0 in every resample; the second finds one more in six of seven."""
    first, second = tallies([False, True] * 7), tallies([True] * 14)
    same = compare_instances(first, first, resamples=50)
    assert same.figures["AP"] == Interval(0, 0, 0)
    assert same.better["AP"] == 0.5
    better = compare_instances(first, second, resamples=50)
    assert better.better["AP"] == 1
    assert better.figures["AR1"].value == pytest.approx(0.5)
    assert 0 < better.figures["AR1"].low < 0.5 < better.figures["AR1"].high <= 1
    few = compare_instances(tallies([True] * 5), tallies([False] * 5), resamples=50)
    assert (few.figures["AR1"].low, few.figures["AR1"].high) == (-1, 1)
    assert few.too_rare == [CAT]


def test_result_sets_of_different_truths_are_not_compared() -> None:
    for other, problem in (
        (tallies([True] * 3), "image 3 is in one result set only"),
        (tallies([True] * 4, DOG), "image 0 has a different truth"),
    ):
        with pytest.raises(PanopticBlendError, match=problem):
            compare_instances(tallies([True] * 4), other)


def test_nothing_has_no_interval() -> None:
    found = instance_intervals(AveragePrecision(CATEGORIES).tallies()["box"])
    assert all(math.isnan(interval.value) for interval in found.figures.values())
    assert found.per_class == {}
