"""Many result sets for one truth: a ranking, and which of them differ."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from panoptic_blend.metrics.details import Tallies
from panoptic_blend.metrics.resampling import Interval, difference, intervals


@dataclass(frozen=True)
class RankedPair:
    """PQ of the result set ``better`` minus PQ of ``worse``, which are indices, with its interval.

    ``p`` is the p-value of no difference, ``adjusted`` that after the correction of Holm over all pairs; NaN where the
    classes occur in too few images.
    """

    better: int
    worse: int
    difference: Interval
    p: float
    adjusted: float


@dataclass(frozen=True)
class Ranking:
    """Result sets by PQ over all classes: ``order`` has their indices, the best first.

    ``qualities`` are their intervals of PQ in the order of the input, ``pairs`` all pairs in the order of the ranks.
    """

    order: list[int]
    qualities: list[Interval]
    pairs: list[RankedPair]


def rank(sets: Sequence[Tallies], *, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> Ranking:
    """Rank result sets for the same images, and test all paired differences on the same resamples.

    Raises PanopticBlendError if the images, the categories or the truth of an image differ.
    """
    options = {"resamples": resamples, "seed": seed}
    qualities = [intervals(tallies, level=level, **options).groups["All"] for tallies in sets]
    order = sorted(range(len(sets)), key=lambda i: (math.isnan(qualities[i].value), -qualities[i].value, i))
    found = [
        (better, worse, *difference(sets[worse], sets[better], level=level, **options))
        for better, worse in combinations(order, 2)
    ]
    adjusted = holm([p for *_, p in found])
    pairs = [RankedPair(*pair, corrected) for pair, corrected in zip(found, adjusted, strict=True)]
    return Ranking(order, qualities, pairs)


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust p-values for their number (Holm, A simple sequentially rejective multiple test procedure, 1979).

    The i-th smallest of m, from 1, is multiplied by m - i + 1; none becomes smaller than one before it, or larger than
    1. NaN, no test, stays NaN and is not counted.
    """
    order = sorted((i for i, p in enumerate(p_values) if not math.isnan(p)), key=lambda i: p_values[i])
    adjusted, largest = [math.nan] * len(p_values), 0.0
    for place, index in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - place) * p_values[index]))
        adjusted[index] = largest
    return adjusted
