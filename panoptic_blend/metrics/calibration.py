"""Calibration of the scores of predicted segments: how often segments of a score match."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from panoptic_blend.metrics.class_means import group_members
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.overlaps import match
from panoptic_blend.metrics.sparse import Floats

BINS = 10
"""Number of bins of equal width from 0 to 1; the upper end of a bin belongs to it."""


@dataclass(frozen=True)
class ScoreBin:
    """``segments`` many with scores above ``low`` up to ``high``, their mean ``score``, and the share ``matched``."""

    low: float
    high: float
    segments: int
    score: float
    matched: float


@dataclass(frozen=True)
class Calibration:
    """How well scores tell the share of segments that match.

    ``expected_error`` is the mean over ``scored`` segments of the distance between the mean score and the share of
    matches in the bin of each; NaN if no segment has a score, or if the scores of some, ``outside``, are not in 0..1.
    ``unscored`` segments have none.
    """

    expected_error: float
    bins: list[ScoreBin]
    scored: int
    unscored: int
    outside: int


def calibration(details: PanopticDetails) -> dict[str, Calibration]:
    """Calibration of the scores of all, thing and stuff classes (Guo et al., On Calibration of Modern Neural Networks,
    ICML 2017, equation 3, with PQ's matches as what is right).

    Predicted segments count that are true or false positives of PQ, not those that are ignored.
    """
    categories, scores, matched = [np.zeros(0, np.int64)], [np.zeros(0)], [np.zeros(0, np.bool_)]
    for _, comparison in details.comparisons():
        matches, prediction = match(comparison), comparison.prediction
        counted = np.concatenate([matches.prediction, matches.spurious])
        known = np.full(len(prediction.ids), np.nan) if prediction.scores is None else prediction.scores
        categories.append(prediction.categories[counted])
        scores.append(known[counted])
        matched.append(np.arange(len(counted)) < len(matches.prediction))
    kinds, all_scores, all_matched = np.concatenate(categories), np.concatenate(scores), np.concatenate(matched)
    groups = {}
    for group, members in group_members(tuple(details.categories.values())):
        chosen = np.isin(kinds, members)
        groups[group] = _calibration(all_scores[chosen], all_matched[chosen].astype(np.float64))
    return groups


def _calibration(scores: Floats, matched: Floats) -> Calibration:
    known = ~np.isnan(scores)
    unscored, scores, matched = int((~known).sum()), scores[known], matched[known]
    outside = int(((scores < 0) | (scores > 1)).sum())
    bins = list(score_bins(scores, matched)) if scores.size and not outside else []
    return Calibration(expected_error(bins), bins, len(scores), unscored, outside)


def score_bins(scores: Floats, matched: Floats, number: int = BINS) -> Iterator[ScoreBin]:
    """Yield the ``number`` of bins of scores (n,) in 0..1, of which ``matched`` (n,) says with 0 or 1 what is right."""
    places = np.maximum(np.searchsorted(np.arange(number + 1) / number, scores) - 1, 0)
    for place in range(number):
        mine = places == place
        means = [float(values[mine].mean()) if mine.any() else math.nan for values in (scores, matched)]
        yield ScoreBin(place / number, (place + 1) / number, int(mine.sum()), *means)


def expected_error(bins: Sequence[ScoreBin]) -> float:
    """Expected calibration error of bins (Guo et al., equation 3); NaN over nothing."""
    total = sum(each.segments for each in bins)
    distances = [each.segments * abs(each.matched - each.score) for each in bins if each.segments]
    return math.fsum(distances) / total if total else math.nan
