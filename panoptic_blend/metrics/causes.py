"""Assign one cause to each false negative and each false positive of an image.

The causes follow from the overlaps of the segments alone, not from the network or fusion that made the map.
docs/evaluation.md defines them in words; they are tried in the order of `Cause`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np

from panoptic_blend.metrics.overlaps import Booleans, Comparison, Floats, Integers, Matches, match

POOR_IOU = 0.3
"""A pair of the same class with an IoU from this to 0.5 is a poor outline; below, it is not regarded as a pair."""


class Cause(StrEnum):
    """Causes of lost quality, of false negatives (FN), of false positives (FP), or of both."""

    WRONG_CLASS = "wrong class"  # both: the IoU with a segment of another class is above 0.5
    DUPLICATE = "duplicate"  # FP: more than half lies in a truth segment that another prediction matches
    SPLIT = "split"  # both: several predictions of the class lie in one truth segment; their union would match it
    MERGED = "merged"  # both: a prediction of the class covers several truth segments, or one besides its match
    POOR_OUTLINE = "poor outline"  # both: right class, IoU from 0.3 to 0.5
    SWALLOWED = "swallowed"  # FN: mostly covered by one segment of another class; FP: the visible rest of it
    MISSED = "missed"  # FN: everything else
    BACKGROUND = "background"  # FP: everything else
    INEXACT = "inexact outline"  # matched pairs: 1 - IoU


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """The causes of all errors of one image.

    ``truth`` and ``prediction`` map the index of each false negative and each false positive to its cause.
    ``repaired_iou`` maps the index of a false negative to the IoU it would have if its cause were repaired. ``iou``
    (T, P) is the IoU of all pairs of segments, of any class.
    """

    matches: Matches
    truth: dict[int, Cause]
    prediction: dict[int, Cause]
    repaired_iou: dict[int, float]
    iou: Floats


def diagnose(comparison: Comparison, things: frozenset[int]) -> Diagnosis:
    """Assign one cause to each error of an image; ``things`` are the category ids of the thing classes."""
    found = _Overlaps(comparison, things)
    truth = {int(index): found.cause_of_missed(index) for index in found.matches.missed}
    prediction = {int(index): found.cause_of_spurious(index) for index in found.matches.spurious}
    repaired_iou = {index: found.repaired_iou(index, cause) for index, cause in truth.items()}
    return Diagnosis(found.matches, truth, prediction, repaired_iou, found.iou)


class _Overlaps:
    """Overlaps of the segments of one image as (T, P) arrays, if not stated otherwise; predictions exclude void."""

    def __init__(self, comparison: Comparison, things: frozenset[int]) -> None:
        self.matches = match(comparison)
        truth, prediction, table = comparison.truth, comparison.prediction, comparison.table
        self.shared = table[1:, 1:]
        self.truth_area, self.area = table[1:].sum(axis=1), self.shared.sum(axis=0)
        self.union = self.truth_area[:, None] + self.area - self.shared
        self.iou: Floats = self.shared / np.maximum(self.union, 1)
        self.same: Booleans = truth.categories[:, None] == prediction.categories
        self.most_of_truth = 2 * self.shared > self.truth_area[:, None]
        self.most_of_prediction = 2 * self.shared > self.area
        num_truth, num_predictions = self.shared.shape
        self.is_missed, self.is_found = (_mask(x, num_truth) for x in (self.matches.missed, self.matches.truth))
        self.is_matched = _mask(self.matches.prediction, num_predictions)
        unmatched = self.same & self.is_missed[:, None] & ~self.is_matched
        self.wrong = ~self.same & ~truth.is_crowd[:, None] & (2 * self.shared > self.union)
        self.pieces = unmatched & self.most_of_prediction
        self.parts = unmatched & self.most_of_truth
        self.poor = unmatched & (self.iou >= POOR_IOU)
        is_thing = np.isin(truth.categories, list(things))[:, None], np.isin(prediction.categories, list(things))
        self.covered = ~self.same & self.most_of_truth & (~is_thing[0] | is_thing[1])

    @cached_property
    def joined_iou(self) -> Floats:
        """(T,): IoU of a truth segment with the union of its pieces, 0 for fewer than two pieces."""
        return _joined(self.shared, self.truth_area, self.area, self.pieces)

    @cached_property
    def merging(self) -> Booleans:
        """(P,): whether a prediction would match the union of its parts, of which there are at least two."""
        return _joined(self.shared.T, self.area, self.truth_area, self.parts.T) > 0.5

    @cached_property
    def absorbed(self) -> Booleans:
        """Missed truth segments that lie mostly in a prediction of their class that is merging or matches another."""
        return (
            self.same & self.is_missed[:, None] & self.most_of_truth & ((self.parts & self.merging) | self.is_matched)
        )

    def cause_of_missed(self, row: int) -> Cause:
        if self.wrong[row].any():
            return Cause.WRONG_CLASS
        if self.joined_iou[row] > 0.5:
            return Cause.SPLIT
        if self.absorbed[row].any():
            return Cause.MERGED
        if self.poor[row].any():
            return Cause.POOR_OUTLINE
        return Cause.SWALLOWED if self.covered[row].any() else Cause.MISSED

    def cause_of_spurious(self, column: int) -> Cause:
        inside = self.same[:, column] & self.most_of_prediction[:, column]
        if self.wrong[:, column].any():
            return Cause.WRONG_CLASS
        if (inside & self.is_found).any():
            return Cause.DUPLICATE
        if (self.pieces[:, column] & (self.joined_iou > 0.5)).any():
            return Cause.SPLIT
        if self.merging[column]:
            return Cause.MERGED
        if self.poor[:, column].any():
            return Cause.POOR_OUTLINE
        remainders = inside & self.is_missed & self.covered.any(axis=1)
        return Cause.SWALLOWED if remainders.any() else Cause.BACKGROUND

    def repaired_iou(self, row: int, cause: Cause) -> float:
        """IoU after the repair: a corrected class, joined pieces, a merged prediction cut at the truth, else 1."""
        if cause is Cause.WRONG_CLASS:
            return float(self.iou[row][self.wrong[row]].max())
        if cause is Cause.SPLIT:
            return float(self.joined_iou[row])
        if cause is Cause.MERGED:
            return float(self.shared[row][self.absorbed[row]].max() / self.truth_area[row])
        return 1.0


def _joined(shared: Integers, area: Integers, other_area: Integers, pieces: Booleans) -> Floats:
    """(n,): IoU of the segment of each row with the union of its ``pieces`` (n, m), 0 for fewer than two pieces."""
    covered = (shared * pieces).sum(axis=1)
    union = area + (other_area * pieces).sum(axis=1) - covered
    return np.where(pieces.sum(axis=1) >= 2, covered / np.maximum(union, 1), 0.0)


def _mask(indices: Integers, size: int) -> Booleans:
    mask = np.zeros(size, dtype=np.bool_)
    mask[indices] = True
    return mask
