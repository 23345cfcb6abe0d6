"""PQ, SQ and RQ at other IoU thresholds of a match than 0.5, as a curve."""

from __future__ import annotations

import numpy as np

from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.overlaps import Comparison, Matches, match
from panoptic_blend.metrics.panoptic_quality import PanopticQuality, PanopticReport

THRESHOLDS = tuple(range(5, 100, 5))
"""IoU thresholds in percent."""

STRICTER = tuple(percent for percent in THRESHOLDS if percent >= 50)
"""The thresholds from that of PQ on."""


def quality_at(details: PanopticDetails, thresholds: tuple[int, ...] = THRESHOLDS) -> dict[int, PanopticReport]:
    """PQ, SQ and RQ of all images at each of ``thresholds``, which are whole percent from 0 to 99.

    Matches above 0.5 are those of PQ with a large enough IoU; below, they are those of `overlaps.match`, which assigns.
    The predictions that are ignored are the same at all thresholds, unless they match.
    """
    qualities = {percent: PanopticQuality(tuple(details.categories.values())) for percent in thresholds}
    for _, comparison in details.comparisons():
        truth, prediction = comparison.truth.categories, comparison.prediction.categories
        for percent, quality in qualities.items():
            matches = _matches_above(percent, comparison)
            pairs = zip(truth[matches.truth].tolist(), matches.iou.tolist(), strict=True)
            quality.tally(pairs, truth[matches.missed].tolist(), prediction[matches.spurious].tolist())
    return {percent: quality.compute() for percent, quality in qualities.items()}


def _matches_above(percent: int, comparison: Comparison) -> Matches:
    """The matches at a threshold of ``percent``.

    They are those of `match` at this threshold, which takes several times as long for all thresholds.
    """
    if percent < 50:
        return match(comparison, threshold=percent)
    found = comparison.matches
    kept = found.iou > percent / 100
    lost = found.prediction[~kept]
    return Matches(
        truth=found.truth[kept],
        prediction=found.prediction[kept],
        iou=found.iou[kept],
        missed=np.concatenate([found.missed, found.truth[~kept]]),
        spurious=np.concatenate([found.spurious, lost[~np.isin(lost, found.ignorable)]]),
        ignorable=found.ignorable,
    )


def mean_quality(curve: dict[int, PanopticReport], group: str) -> float:
    """The mean PQ of a group over the thresholds from 0.5 on, as AP has it; NaN if no class occurs."""
    return float(np.mean([report[group]["pq"] for percent, report in curve.items() if percent >= 50]))
