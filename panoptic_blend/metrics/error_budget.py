"""Error budget: the points of PQ lost to each cause, and the PQ if that cause alone were repaired.

With ``w = TP + FP / 2 + FN / 2`` a class loses ``1 - PQ = (sum over pairs of (1 - IoU) + FP / 2 + FN / 2) / w``: each
false positive and negative costs ``1 / 2w``, each matched pair ``(1 - IoU) / w``. The loss of a group is the mean over
the classes that occur, like its PQ (Kirillov et al., Panoptic Segmentation, CVPR 2019, section 4.2).
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field

from panoptic_blend.metrics.causes import Cause
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.panoptic_quality import GROUPS, PanopticQuality
from panoptic_blend.structures import Category


@dataclass(frozen=True)
class Budget:
    """Budget of a class or group: its PQ, and the PQ ``lost`` to each cause, which sums up to ``1 - pq``."""

    pq: float
    lost: dict[Cause, float]
    repaired: dict[Cause, float]
    """PQ if the cause alone were repaired; these gains do not add up."""


@dataclass(frozen=True)
class ErrorBudget:
    """Budgets of ``"All"``, ``"Things"`` and ``"Stuff"``, and of every category id that occurs."""

    groups: dict[str, Budget]
    per_class: dict[int, Budget]


@dataclass
class _Errors:
    """Errors of one class and cause: counts, and the IoUs that the false negatives would have after the repair."""

    fp: int = 0
    fn: int = 0
    repaired_ious: list[float] = field(default_factory=list)


def error_budget(details: PanopticDetails) -> ErrorBudget:
    """Compute the error budget of all images; the figures of a group of which no class occurs are NaN."""
    errors: defaultdict[tuple[int, Cause], _Errors] = defaultdict(_Errors)
    ious: defaultdict[int, list[float]] = defaultdict(list)
    for _, comparison, diagnosis in details.diagnoses():
        truth, prediction = comparison.truth.categories.tolist(), comparison.prediction.categories.tolist()
        for row, iou in zip(diagnosis.matches.truth, diagnosis.matches.iou.tolist(), strict=True):
            ious[truth[row]].append(iou)
        for row, cause in diagnosis.truth.items():
            missed = errors[truth[row], cause]
            missed.fn += 1
            missed.repaired_ious.append(diagnosis.repaired_iou[row])
        for column, cause in diagnosis.prediction.items():
            errors[prediction[column], cause].fp += 1
    return _BudgetBuilder(details.categories, errors, ious).build()


class _BudgetBuilder:
    """Computes budgets from the errors and the IoUs of matched pairs of every class."""

    def __init__(
        self,
        categories: Mapping[int, Category],
        errors: Mapping[tuple[int, Cause], _Errors],
        ious: Mapping[int, list[float]],
    ) -> None:
        self._categories, self._errors, self._ious = categories, errors, ious
        self._report = self._quality(None).compute()
        self._repaired = {cause: self._quality(cause).compute() for cause in Cause}

    def build(self) -> ErrorBudget:
        per_class = {
            category: Budget(quality["pq"], self._lost(category), self._repaired_class(category))
            for category, quality in self._report.per_class.items()
            if quality["tp"] + quality["fp"] + quality["fn"]
        }
        kinds = dict(zip(GROUPS, ((True, False), (True,), (False,)), strict=True))
        groups = {}
        for group, kind in kinds.items():
            members = [budget for id, budget in per_class.items() if self._categories[id].is_thing in kind]
            lost = {cause: _mean([b.lost[cause] for b in members]) for cause in Cause}
            repaired = {cause: report[group]["pq"] for cause, report in self._repaired.items()}
            groups[group] = Budget(self._report[group]["pq"], lost, repaired)
        return ErrorBudget(groups, per_class)

    def _lost(self, category: int) -> dict[Cause, float]:
        quality = self._report.per_class[category]
        weight = quality["tp"] + quality["fp"] / 2 + quality["fn"] / 2
        lost = dict.fromkeys(Cause, 0.0)
        for cause in Cause:
            if errors := self._errors.get((category, cause)):
                lost[cause] = (errors.fp + errors.fn) / 2 / weight
        lost[Cause.INEXACT] = math.fsum(1 - iou for iou in self._ious.get(category, ())) / weight
        return lost

    def _repaired_class(self, category: int) -> dict[Cause, float]:
        return {cause: report.per_class[category]["pq"] for cause, report in self._repaired.items()}

    def _quality(self, repaired: Cause | None) -> PanopticQuality:
        """The metric over all images, with one cause ``repaired``: its FN become matches, its FP are removed."""
        quality = PanopticQuality(tuple(self._categories.values()))
        for category, ious in self._ious.items():
            quality.tally(((category, 1.0 if repaired is Cause.INEXACT else iou) for iou in ious), (), ())
        for (category, cause), errors in self._errors.items():
            if cause is repaired:
                quality.tally(((category, iou) for iou in errors.repaired_ious), (), ())
            else:
                quality.tally((), [category] * errors.fn, [category] * errors.fp)
        return quality


def _mean(figures: list[float]) -> float:
    return math.fsum(figures) / len(figures) if figures else math.nan
