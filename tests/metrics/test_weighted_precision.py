"""Figures of weighted images equal those of a set that holds each image as often as its weight says."""

from __future__ import annotations

from dataclasses import astuple, replace

import numpy as np
import pytest
from instance_sets import CATEGORIES, Images, random_set

from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.instance_report import KINDS
from panoptic_blend.metrics.weighted_precision import WeightedPrecision


def evaluated(images: Images, times: list[int]) -> AveragePrecision:
    """All images, each as often as ``times`` says, in the order of their ids."""
    metric = AveragePrecision(CATEGORIES)
    for (image, pair), number in zip(sorted(images.items()), times, strict=True):
        for copy in range(number):
            metric.update(*pair, image=100 * image + copy)
    return metric


def test_an_image_of_weight_two_counts_as_two_images() -> None:
    generator = np.random.default_rng(2)
    images = {  # without equal scores: copies of an image would take turns
        image: (truth, replace(found, scores=found.scores + 0.01 * generator.random(len(found))))
        for image, (truth, found) in random_set(3).items()
    }
    weights = np.stack([np.ones(12, dtype=np.int64), *generator.multinomial(12, [1 / 12] * 12, 2), np.eye(12)[0] == 2])
    tallies = evaluated(images, [1] * 12).tallies()
    for kind in KINDS:
        precision = WeightedPrecision(tallies[kind])
        for row, times in zip(precision.estimate(weights.astype(np.float64)), weights.tolist(), strict=True):
            report = evaluated(images, times).compute()
            per_class = [getattr(report.per_class[category.id], kind).ap for category in CATEGORIES]
            expected = [*astuple(getattr(report, kind)), *per_class]
            assert row.tolist() == pytest.approx(expected, abs=1e-12, nan_ok=True)
        counts = [tallies[kind].truth_image[counts] for counts in tallies[kind].truth_counts]
        every, *sizes = [len(set(images.tolist())) for images in counts]
        assert precision.occurrences()[:12].tolist() == [every] * 3 + sizes + [every] * 3 + sizes
