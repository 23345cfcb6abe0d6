"""Bootstrap intervals of COCO's twelve figures over images, and paired comparisons on the same resamples.

A resample draws as many images as there are, with replacement; its figures are computed over the classes that occur in
it. The intervals are normal intervals: the figure of all images, plus and minus the standard deviation of the resamples
times 1.96 for 95% (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). They are about other sets
of as many images. AP of few images is too high on average, because it takes the highest precision at a recall or above,
and AP of resamples is too high once more, which percentiles take for a result: ``python -m evaluation.ap_coverage``
compares methods. Intervals of PQ (`resampling`) are studentized, which needs a standard error of each resample; that of
AP would take a resampling of its own.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from panoptic_blend.metrics.instance_matching import InstanceTallies
from panoptic_blend.metrics.instance_report import TWELVE
from panoptic_blend.metrics.resampling import ENOUGH_IMAGES, Interval, different_truth, draws, require_same_images
from panoptic_blend.metrics.sparse import Floats
from panoptic_blend.metrics.weighted_precision import WeightedPrecision


@dataclass(frozen=True)
class InstanceIntervals:
    """Normal intervals of the figures of ``TWELVE``, and of AP of every class with an instance in the truth.

    ``too_rare`` are the ids of classes with instances in fewer than ``ENOUGH_IMAGES`` images. Their intervals span all
    that AP can be, and they make the intervals of means over classes unreliable.
    """

    figures: dict[str, Interval]
    per_class: dict[int, Interval]
    too_rare: list[int]


@dataclass(frozen=True)
class InstanceComparison(InstanceIntervals):
    """The figures of the second result set minus those of the first, with intervals.

    ``better`` is the fraction of resamples, by figure, in which the second is higher; ties count half.
    """

    better: dict[str, float]


def instance_intervals(
    tallies: InstanceTallies, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> InstanceIntervals:
    """Compute normal intervals; the interval of a figure is over the resamples in which it has a value."""
    everything, drawn = _figures([tallies], resamples, seed)
    return InstanceIntervals(**_intervals(tallies, everything[0], drawn[0], level, lowest=0))


def compare_instances(
    first: InstanceTallies, second: InstanceTallies, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> InstanceComparison:
    """Compare two result sets for the same images, both by boxes or both by masks, on the same resamples.

    Raises PanopticBlendError if the images, the categories or the truth of an image differ.
    """
    _require_same_truth(first, second)
    everything, drawn = _figures([first, second], resamples, seed)
    difference, differences = everything[1] - everything[0], drawn[1] - drawn[0]
    wins = np.sign(np.nan_to_num(differences[:, : len(TWELVE)])).sum(axis=0) / max(len(differences), 1)
    return InstanceComparison(
        **_intervals(first, difference, differences, level, lowest=-1),
        better=dict(zip(TWELVE, ((1 + wins) / 2).tolist(), strict=True)),
    )


def _figures(sets: list[InstanceTallies], resamples: int, seed: int) -> tuple[list[Floats], list[Floats]]:
    """Figures (12 + K,) of each result set over all images, and (R, 12 + K) of its resamples."""
    weighted, size = [WeightedPrecision(tallies) for tallies in sets], len(sets[0].images)
    everything = [precision.estimate(np.ones((1, size)))[0] for precision in weighted]
    parts = [[precision.estimate(weights) for precision in weighted] for weights in draws(size, resamples, seed)]
    nothing = [figures[None][:0] for figures in everything]
    return everything, [np.concatenate(part) for part in zip(nothing, *parts, strict=True)]


def _intervals(
    tallies: InstanceTallies, everything: Floats, drawn: Floats, level: float, lowest: float
) -> dict[str, Any]:
    """The fields of `InstanceIntervals`; intervals lie within ``lowest`` to 1."""
    occurrences, found = WeightedPrecision(tallies).occurrences().tolist(), []
    for value, column, images in zip(everything.tolist(), drawn.T, occurrences, strict=True):
        known = column[~np.isnan(column)]
        if math.isnan(value):
            found.append(Interval(math.nan, math.nan, math.nan))
        elif images < ENOUGH_IMAGES or not len(known):
            found.append(Interval(value, lowest, 1.0))
        else:
            spread = NormalDist().inv_cdf((1 + level) / 2) * float(known.std())
            found.append(Interval(value, max(value - spread, lowest), min(value + spread, 1.0)))
    classes = list(zip(tallies.categories, found[len(TWELVE) :], occurrences[len(TWELVE) :], strict=True))
    return {
        "figures": dict(zip(TWELVE, found, strict=False)),
        "per_class": {category.id: interval for category, interval, images in classes if images},
        "too_rare": [category.id for category, _, images in classes if 0 < images < ENOUGH_IMAGES],
    }


def _require_same_truth(first: InstanceTallies, second: InstanceTallies) -> None:
    require_same_images(first, second)
    counts = [_truth_counts(tallies) for tallies in (first, second)]
    if counts[0] != counts[1]:
        differing = next(iter((counts[0] - counts[1]) + (counts[1] - counts[0])))
        raise different_truth(first.images[differing[0]])


def _truth_counts(tallies: InstanceTallies) -> Counter[tuple[Any, ...]]:
    """How many true instances of each image and class count in which ranges of areas."""
    columns = tallies.truth_image, tallies.truth_class, *tallies.truth_counts
    return Counter(zip(*(column.tolist() for column in columns), strict=True))
