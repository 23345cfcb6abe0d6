"""Precision and recall of instances, from which COCO's twelve figures are means."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from panoptic_blend.metrics.instance_columns import Bools
from panoptic_blend.metrics.instance_matching import AREAS, IOU_THRESHOLDS, InstanceTallies, bit_rows
from panoptic_blend.metrics.instance_report import InstanceFigures
from panoptic_blend.metrics.sparse import Floats

RECALLS: Floats = np.linspace(0, 1, 101)
"""The recalls at which COCO samples the precision."""

DETECTION_LIMITS = (1, 10, 100)
"""Numbers of detections of one class in one image that the average recalls allow."""

AT_50, AT_75 = 0, 5
"""Positions of 0.50 and 0.75 in ``IOU_THRESHOLDS``."""


@dataclass(frozen=True, eq=False)
class Curve:
    """Precision over recall of one class, or the mean of all classes that have an instance, at T ``IOU_THRESHOLDS``.

    The precision at a recall is the highest one at that recall or above, and 0 for recalls that are not reached.
    """

    recalls: Floats
    """``RECALLS`` (101,)."""
    precision: Floats
    """Precision (T, 101); NaN without an instance in the truth."""
    scores: Floats
    """Scores (T, 101) down to which detections are needed for these recalls, and 0 for those that are not reached."""


@dataclass(frozen=True, eq=False)
class PrecisionRecall:
    """Precision and recall for T ``IOU_THRESHOLDS``, K classes and A ranges of ``AREAS``.

    Values are NaN for a class without an instance that counts. They are those that ``COCOeval.accumulate`` of
    pycocotools stores, which has -1 there.
    """

    precision: Floats
    """Precision (A, T, 101, K) at ``RECALLS``."""
    scores: Floats
    """Scores (A, T, 101, K) of the detections at which these recalls are reached."""
    recall: Floats
    """The highest recall (A, M, T, K) with at most M ``DETECTION_LIMITS`` detections of a class in an image."""

    def figures(self, position: int | None = None) -> InstanceFigures:
        """The twelve figures of the class at ``position``, or by default the means over classes."""
        chosen = slice(None) if position is None else slice(position, position + 1)
        precision, recall = self.precision[..., chosen], self.recall[..., chosen]
        every = precision[0]
        return InstanceFigures(
            _mean(every),
            _mean(every[AT_50]),
            _mean(every[AT_75]),
            *(_mean(precision[area]) for area in range(1, len(AREAS))),
            *(_mean(recall[0, limit]) for limit in range(len(DETECTION_LIMITS))),
            *(_mean(recall[area, -1]) for area in range(1, len(AREAS))),
        )

    def curve(self, position: int | None = None) -> Curve:
        """The curve of the class at ``position`` for all areas, or by default the mean over classes."""
        if position is not None:
            return Curve(RECALLS, self.precision[0, ..., position], self.scores[0, ..., position])
        known = ~np.isnan(self.precision[0, 0, 0])
        if not known.any():
            nothing = np.full(self.precision.shape[1:3], np.nan)
            return Curve(RECALLS, nothing, nothing)
        return Curve(RECALLS, self.precision[0][..., known].mean(axis=-1), self.scores[0][..., known].mean(axis=-1))


def precision_recall(tallies: InstanceTallies) -> PrecisionRecall:
    """Accumulate the matches of all images, class by class."""
    classes, areas, thresholds = len(tallies.categories), len(AREAS), len(IOU_THRESHOLDS)
    precision, scores = np.full((2, areas, thresholds, len(RECALLS), classes), np.nan)
    recall = np.full((areas, len(DETECTION_LIMITS), thresholds, classes), np.nan)
    for k, (start, stop) in enumerate(zip(tallies.starts[:-1], tallies.starts[1:], strict=True)):
        own = slice(start, stop)
        total = tallies.truth_counts[:, tallies.truth_class == k].sum(axis=1)
        for area in np.flatnonzero(total):
            ignored = bit_rows(tallies.ignored[area, own])
            matched = bit_rows(tallies.matched[area, own])
            true, false = matched & ~ignored, ~matched & ~ignored
            for m, limit in enumerate(DETECTION_LIMITS):
                recall[area, m, :, k] = true[:, tallies.rank[own] < limit].sum(axis=1) / total[area]
            found = sampled(true, false, int(total[area]), tallies.scores[own])
            precision[area, ..., k], scores[area, ..., k] = found
    return PrecisionRecall(precision, scores, recall)


def sampled(true: Bools, false: Bools, total: int, scores: Floats) -> tuple[Floats, Floats]:
    """Precision and scores (T, 101) at ``RECALLS`` for n detections that are ``true`` or ``false`` (T, n)."""
    if not len(scores):
        nothing = np.zeros((len(true), len(RECALLS)))
        return nothing, nothing
    found = np.cumsum(true, axis=1, dtype=np.int32)
    precision = found / (np.cumsum(false, axis=1, dtype=np.int32) + found + np.spacing(1))
    highest = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    needed = np.searchsorted(np.arange(total + 1) / total, RECALLS)
    places = np.stack([np.searchsorted(row, needed) for row in found])
    is_reached, places = places < len(scores), np.minimum(places, len(scores) - 1)
    return np.where(is_reached, np.take_along_axis(highest, places, axis=1), 0), np.where(is_reached, scores[places], 0)


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if known.size else math.nan
