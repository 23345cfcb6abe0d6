"""Where the points of PQ went: every lost one has one cause, and mending each cause alone would bring so much.

With ``w = TP + FP / 2 + FN / 2`` a class loses ``1 - PQ = (sum over pairs of (1 - IoU) + FP / 2 + FN / 2) / w``: each
false positive and negative costs ``1 / 2w``, each matched pair ``(1 - IoU) / w``. A group loses the mean over the
classes that occur, as its PQ is one (Kirillov et al., Panoptic Segmentation, CVPR 2019, section 4.2).
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
    """PQ of a class or group; ``lost`` of each cause, which sum up to ``1 - pq``; PQ with it alone ``mended``."""

    pq: float
    lost: dict[Cause, float]
    mended: dict[Cause, float]


@dataclass(frozen=True)
class ErrorBudget:
    """Budgets of ``"All"``, ``"Things"`` and ``"Stuff"``, and of every category id that occurs."""

    groups: dict[str, Budget]
    per_class: dict[int, Budget]


@dataclass
class _Account:
    """What one class lost to one cause: false positives and negatives, and the IoUs of these if they were mended."""

    fp: int = 0
    fn: int = 0
    mended: list[float] = field(default_factory=list)


def error_budget(details: PanopticDetails) -> ErrorBudget:
    """Give every point of PQ that all images lost to its cause; where no class occurs, nothing is lost."""
    accounts: defaultdict[tuple[int, Cause], _Account] = defaultdict(_Account)
    ious: defaultdict[int, list[float]] = defaultdict(list)
    for _, comparison, diagnosis in details.diagnoses():
        truth, prediction = comparison.truth.categories.tolist(), comparison.prediction.categories.tolist()
        for row, iou in zip(diagnosis.matches.truth, diagnosis.matches.iou.tolist(), strict=True):
            ious[truth[row]].append(iou)
        for row, cause in diagnosis.truth.items():
            account = accounts[truth[row], cause]
            account.fn += 1
            account.mended.append(diagnosis.mended[row])
        for column, cause in diagnosis.prediction.items():
            accounts[prediction[column], cause].fp += 1
    return _Books(details.categories, accounts, ious).closed()


class _Books:
    """All accounts, and the figures that follow from them."""

    def __init__(
        self,
        categories: Mapping[int, Category],
        accounts: Mapping[tuple[int, Cause], _Account],
        ious: Mapping[int, list[float]],
    ) -> None:
        self._categories, self._accounts, self._ious = categories, accounts, ious
        self._report = self._quality(None).compute()
        self._mended = {cause: self._quality(cause).compute() for cause in Cause}

    def closed(self) -> ErrorBudget:
        per_class = {
            category: Budget(quality["pq"], self._lost(category), self._mended_class(category))
            for category, quality in self._report.per_class.items()
            if quality["tp"] + quality["fp"] + quality["fn"]
        }
        kinds = dict(zip(GROUPS, ((True, False), (True,), (False,)), strict=True))
        groups = {}
        for group, kind in kinds.items():
            members = [budget for id, budget in per_class.items() if self._categories[id].is_thing in kind]
            lost = {cause: math.fsum(b.lost[cause] for b in members) / max(len(members), 1) for cause in Cause}
            mended = {cause: report[group]["pq"] for cause, report in self._mended.items()}
            groups[group] = Budget(self._report[group]["pq"], lost, mended)
        return ErrorBudget(groups, per_class)

    def _lost(self, category: int) -> dict[Cause, float]:
        quality = self._report.per_class[category]
        weight = quality["tp"] + quality["fp"] / 2 + quality["fn"] / 2
        lost = dict.fromkeys(Cause, 0.0)
        for cause in Cause:
            if account := self._accounts.get((category, cause)):
                lost[cause] = (account.fp + account.fn) / 2 / weight
        lost[Cause.INEXACT] = math.fsum(1 - iou for iou in self._ious.get(category, ())) / weight
        return lost

    def _mended_class(self, category: int) -> dict[Cause, float]:
        return {cause: report.per_class[category]["pq"] for cause, report in self._mended.items()}

    def _quality(self, mended: Cause | None) -> PanopticQuality:
        """The metric over all images as they are, or with one cause mended: its FN are found, its FP are gone."""
        quality = PanopticQuality(tuple(self._categories.values()))
        for category, ious in self._ious.items():
            quality.tally(((category, 1.0 if mended is Cause.INEXACT else iou) for iou in ious), (), ())
        for (category, cause), account in self._accounts.items():
            if cause is mended:
                quality.tally(((category, iou) for iou in account.mended), (), ())
            else:
                quality.tally((), [category] * account.fn, [category] * account.fp)
        return quality
