"""Why a segment was lost: one cause for each false negative and each false positive of an image.

The causes follow from the overlap table alone; what a network or a fusion did to make the map, it cannot know.
docs/evaluation.md defines them in words; the order in which they are tried is that of `Cause`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property

import numpy as np

from panoptic_blend.metrics.overlaps import Booleans, Comparison, Floats, Integers, Matches, match

POOR_IOU = 0.3
"""From here to 0.5 a segment of the right class is poorly outlined; below, it explains nothing."""


class Cause(StrEnum):
    """Causes of lost quality; those of false negatives (FN), of false positives (FP), or of both."""

    WRONG_CLASS = "wrong class"  # both: the IoU with a segment of another class is above 0.5
    DUPLICATE = "duplicate"  # FP: most of it lies in a truth segment that another prediction matches
    SPLIT = "split"  # both: several predictions of the class lie in one truth; joined, they would match
    MERGED = "merged"  # both: one prediction of the class covers several truths, or one beside its own
    POOR_OUTLINE = "poor outline"  # both: right class, IoU from 0.3 to 0.5
    SWALLOWED = "swallowed"  # FN: most of it lies under one segment of another class; FP: what is left of such a one
    MISSED = "missed"  # FN: everything else
    BACKGROUND = "background"  # FP: everything else
    INEXACT = "inexact outline"  # matched pairs: what their IoU lacks to 1


@dataclass(frozen=True, eq=False)
class Diagnosis:
    """Causes of one image.

    ``truth`` and ``prediction``: index of each false negative and false positive -> cause. ``mended``: index of a
    false negative -> IoU it would have if its cause were mended. ``iou`` (T, P) of all segments, of any class.
    """

    matches: Matches
    truth: dict[int, Cause]
    prediction: dict[int, Cause]
    mended: dict[int, float]
    iou: Floats


def diagnose(comparison: Comparison, things: frozenset[int]) -> Diagnosis:
    """Give each mistake of an image one cause; ``things`` are the category ids of things."""
    found = _Evidence(comparison, things)
    truth = {int(index): found.cause_of_missed(index) for index in found.matches.missed}
    prediction = {int(index): found.cause_of_spurious(index) for index in found.matches.spurious}
    mended = {index: found.mended_iou(index, cause) for index, cause in truth.items()}
    return Diagnosis(found.matches, truth, prediction, mended, found.iou)


class _Evidence:
    """Who covers whom in one image; arrays are (T, P) unless said otherwise. Void has left the predictions."""

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
        count = self.shared.shape
        self.is_missed, self.is_found = _mask(self.matches.missed, count[0]), _mask(self.matches.truth, count[0])
        self.is_matched = _mask(self.matches.prediction, count[1])
        loose = self.same & self.is_missed[:, None] & ~self.is_matched
        self.wrong = ~self.same & ~truth.is_crowd[:, None] & (2 * self.shared > self.union)
        self.pieces = loose & self.most_of_prediction
        self.parts = loose & self.most_of_truth
        self.poor = loose & (self.iou >= POOR_IOU)
        is_thing = np.isin(truth.categories, list(things))[:, None], np.isin(prediction.categories, list(things))
        self.covered = ~self.same & self.most_of_truth & (~is_thing[0] | is_thing[1])

    @cached_property
    def joined_iou(self) -> Floats:
        """(T,): IoU of a truth with the union of its pieces, 0 where it has fewer than two."""
        return _joined(self.shared, self.truth_area, self.area, self.pieces)

    @cached_property
    def merging(self) -> Booleans:
        """(P,): whether the union of its parts, two at least, would match a prediction."""
        return _joined(self.shared.T, self.area, self.truth_area, self.parts.T) > 0.5

    @cached_property
    def absorbed(self) -> Booleans:
        """Missed truths most of which lies in a prediction of their class that merges several or matches another."""
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
        rests = inside & self.is_missed & self.covered.any(axis=1)
        return Cause.SWALLOWED if rests.any() else Cause.BACKGROUND

    def mended_iou(self, row: int, cause: Cause) -> float:
        """A wrong class is corrected, pieces are joined, what is merged is cut at the truth; else it is perfect."""
        if cause is Cause.WRONG_CLASS:
            return float(self.iou[row][self.wrong[row]].max())
        if cause is Cause.SPLIT:
            return float(self.joined_iou[row])
        if cause is Cause.MERGED:
            return float(self.shared[row][self.absorbed[row]].max() / self.truth_area[row])
        return 1.0


def _joined(shared: Integers, area: Integers, other_area: Integers, pieces: Booleans) -> Floats:
    """(n,): IoU of each row's segment with the union of its ``pieces`` (n, m), 0 where it has fewer than two."""
    covered = (shared * pieces).sum(axis=1)
    union = area + (other_area * pieces).sum(axis=1) - covered
    return np.where(pieces.sum(axis=1) >= 2, covered / np.maximum(union, 1), 0.0)


def _mask(indices: Integers, size: int) -> Booleans:
    mask = np.zeros(size, dtype=np.bool_)
    mask[indices] = True
    return mask
