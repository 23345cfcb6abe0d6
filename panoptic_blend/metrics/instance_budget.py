"""Error budget of instances: the AP50 that each cause of error costs.

The *gain* of a cause is the AP50 that is won by repairing it alone: the dAP of TIDE (Bolya et al., ECCV 2020, section
2.3). Gains do not add up, since two causes that are repaired together bring more or less than each of them alone. The
*share* of a cause is its Shapley value (Shapley, A value for n-person games, 1953): what its repair brings on average
over all orders in which the six causes can be repaired one after the other. Once all are repaired AP50 is 1, so the
shares add up to 1 - AP50.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from panoptic_blend.metrics.instance_columns import Bools
from panoptic_blend.metrics.instance_errors import CAUSES, NOTHING, Diagnosis, InstanceCause
from panoptic_blend.metrics.instance_matching import places_by_id
from panoptic_blend.metrics.precision_recall import sampled
from panoptic_blend.metrics.sparse import Floats, Integers
from panoptic_blend.structures import Category

_MISSED = CAUSES.index(InstanceCause.MISSED)


@dataclass(frozen=True)
class InstanceBudget:
    """The budget of a class, or the mean over the classes that have an instance; NaN for a class without any."""

    ap50: float
    counts: dict[InstanceCause, int]
    """The number of errors."""
    gains: dict[InstanceCause, float]
    """AP50 that is won by repairing the cause alone."""
    shares: dict[InstanceCause, float]
    """The part of 1 - AP50 that is due to the cause."""
    false_positives: float
    """AP50 that is won by leaving out all false detections."""
    false_negatives: float
    """AP50 that is won by leaving out all instances that are not found."""


@dataclass(frozen=True)
class InstanceErrorBudget:
    """The budget over all classes, and that of every thing class by its id."""

    all: InstanceBudget
    per_class: dict[int, InstanceBudget]


def instance_budget(diagnosis: Diagnosis, categories: Sequence[Category]) -> InstanceErrorBudget:
    """Compute the budget of boxes or of masks; ``categories`` are the thing classes.

    A detection of a wrong class is repaired by giving it the class of the instance, one in a wrong place by giving it
    the place of the instance. If an instance has several detections then, that with the highest score is kept, and the
    others are left out. Other false detections are left out, and so are missed instances. If no instance of a class is
    left, its AP50 is 0 if false detections are left, and else 1.
    """
    places = places_by_id(diagnosis.columns.images)[diagnosis.columns.image]
    per_class = {category.id: _of_class(_Detections(diagnosis, places, category.id)) for category in categories}
    every = list(per_class.values())
    known = [budget for budget in every if not math.isnan(budget.ap50)]
    return InstanceErrorBudget(
        InstanceBudget(
            ap50=_mean([budget.ap50 for budget in known]),
            counts={cause: sum(budget.counts[cause] for budget in every) for cause in CAUSES},
            gains={cause: _mean([budget.gains[cause] for budget in known]) for cause in CAUSES},
            shares={cause: _mean([budget.shares[cause] for budget in known]) for cause in CAUSES},
            false_positives=_mean([budget.false_positives for budget in known]),
            false_negatives=_mean([budget.false_negatives for budget in known]),
        ),
        per_class,
    )


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else math.nan


def _of_class(found: _Detections) -> InstanceBudget:
    # Bit c of a set of causes says whether cause c is in it.
    sets = [[c for c in range(len(CAUSES)) if number >> c & 1] for number in range(2 ** len(CAUSES))]
    values = np.array([found.ap50_without(causes) for causes in sets])
    gains = [float(values[1 << c] - values[0]) for c in range(len(CAUSES))]
    return InstanceBudget(
        ap50=float(values[0]),
        counts=dict(zip(CAUSES, found.counts.tolist(), strict=True)),
        gains=dict(zip(CAUSES, gains, strict=True)),
        shares=dict(zip(CAUSES, _shapley(values), strict=True)),
        false_positives=found.ap50_without_false() - float(values[0]),
        false_negatives=found.ap50_without_missed() - float(values[0]),
    )


def _shapley(values: Floats) -> list[float]:
    """The share of each of n causes, from the AP50 (2^n,) of all sets of repaired causes."""
    n = len(CAUSES)
    numbers = np.arange(len(values))
    sizes = (numbers >> np.arange(n)[:, None] & 1).sum(axis=0)
    # the share of the orders in which a cause comes right after the other causes of a set
    weights = np.array([math.factorial(k) * math.factorial(n - k - 1) / math.factorial(n) for k in range(n)])
    shares = []
    for c in range(n):
        without = numbers[numbers >> c & 1 == 0]
        shares.append(float(weights[sizes[without]] @ (values[without | 1 << c] - values[without])))
    return shares


class _Detections:
    """The n detections that are of a class, or become so once their class is repaired, by descending score.

    Of equal scores, COCO ranks that in the image with the lower of the ``places`` (D,) higher.
    """

    def __init__(self, diagnosis: Diagnosis, places: Integers, category: int) -> None:
        columns, cause = diagnosis.columns, diagnosis.cause
        of_class = (columns.truth_category == category) & ~columns.truth_is_crowd
        own = (columns.category == category) & ~diagnosis.is_ignored
        instance = np.where(diagnosis.match != NOTHING, diagnosis.match, diagnosis.target)
        may_find = np.append(of_class, False)[instance]
        rows = np.flatnonzero(own | may_find)
        rows = rows[np.lexsort((rows, places[rows], -columns.scores[rows]))]
        self._scores, self._cause, self._instance = columns.scores[rows], cause[rows], instance[rows]
        self._own, self._may_find = own[rows], may_find[rows]
        self._total = int(of_class.sum())
        self.counts: Integers = np.bincount(cause[own & (cause != NOTHING)], minlength=len(CAUSES))
        self.counts[_MISSED] = (diagnosis.truth_cause[of_class] == _MISSED).sum()

    def ap50_without(self, causes: Sequence[int]) -> float:
        """AP50 once these causes are repaired."""
        is_repaired = np.isin(self._cause, causes)
        finders = np.flatnonzero(self._may_find & (is_repaired | (self._cause == NOTHING)))
        _, best = np.unique(self._instance[finders], return_index=True)
        is_true = np.zeros(len(self._cause), np.bool_)
        is_true[finders[best]] = True
        is_false = self._own & (self._cause != NOTHING) & ~is_repaired
        return self._ap50(is_true, is_false, self._total - int(_MISSED in causes and self.counts[_MISSED]))

    def ap50_without_false(self) -> float:
        """AP50 without any false detection."""
        return self._ap50(self._cause == NOTHING, np.zeros_like(self._own), self._total)

    def ap50_without_missed(self) -> float:
        """AP50 if the instances that are found were all that there are."""
        is_true = self._cause == NOTHING
        return self._ap50(is_true, self._own & ~is_true, int(is_true.sum()))

    def _ap50(self, is_true: Bools, is_false: Bools, total: int) -> float:
        if not self._total:
            return math.nan
        if not total:
            return float(not is_false.any())
        precision, _ = sampled(is_true[None], is_false[None], total, self._scores)
        return float(precision.mean())
