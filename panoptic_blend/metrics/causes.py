"""Assign one cause to each false negative and each false positive of an image.

The causes follow from the overlaps of the segments alone, not from the network or fusion that made the map.
docs/evaluation.md defines them in words; they are tried in the order of `Cause`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from panoptic_blend.metrics.overlaps import Booleans, Comparison, Matches
from panoptic_blend.metrics.sparse import Floats, Integers, contains, sums

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
    ``repaired_iou`` maps the index of a false negative to the IoU it would have if its cause were repaired.
    ``nearest_prediction`` and ``nearest_truth`` map the index of a segment to index and IoU of the segment of the other
    map, of any class, with the largest IoU; segments that overlap no other are not in them.
    """

    matches: Matches
    truth: dict[int, Cause]
    prediction: dict[int, Cause]
    repaired_iou: dict[int, float]
    nearest_prediction: dict[int, tuple[int, float]]
    nearest_truth: dict[int, tuple[int, float]]


def diagnose(comparison: Comparison, things: frozenset[int]) -> Diagnosis:
    """Assign one cause to each error of an image; ``things`` are the category ids of the thing classes."""
    found = _Overlaps(comparison, things)
    missed, spurious = found.matches.missed, found.matches.spurious
    truth = dict(zip(missed.tolist(), _first(found.causes_of_missed(), missed), strict=True))
    return Diagnosis(
        matches=found.matches,
        truth=truth,
        prediction=dict(zip(spurious.tolist(), _first(found.causes_of_spurious(), spurious), strict=True)),
        repaired_iou={index: found.repaired_iou(index, cause) for index, cause in truth.items()},
        nearest_prediction=_nearest(found.rows, found.columns, found.iou),
        nearest_truth=_nearest(found.columns, found.rows, found.iou),
    )


class _Overlaps:
    """The n pairs of segments of one image that share pixels, as (n,) arrays; predictions exclude void."""

    def __init__(self, comparison: Comparison, things: frozenset[int]) -> None:
        self.matches = comparison.matches
        truth, prediction, table = comparison.truth, comparison.prediction, comparison.overlaps
        self.rows, self.columns, self.shared = rows, columns, _ = comparison.pairs()
        self.truth_area, self.area = table.row_sums()[1:], (table.column_sums() - table.first_row())[1:]
        union = self.truth_area[rows] + self.area[columns] - self.shared
        self.iou: Floats = self.shared / union
        self.same: Booleans = truth.categories[rows] == prediction.categories[columns]
        self.most_of_truth = 2 * self.shared > self.truth_area[rows]
        self.most_of_prediction = 2 * self.shared > self.area[columns]
        self.is_missed, self.is_found = (_mask(x, len(truth.ids)) for x in (self.matches.missed, self.matches.truth))
        self.is_matched = _mask(self.matches.prediction, len(prediction.ids))
        unmatched = self.same & self.is_missed[rows] & ~self.is_matched[columns]
        self.wrong = ~self.same & ~truth.is_crowd[rows] & (2 * self.shared > union)
        self.pieces = unmatched & self.most_of_prediction
        self.parts = unmatched & self.most_of_truth
        self.poor = unmatched & (self.iou >= POOR_IOU)
        is_thing = (np.isin(x.categories, list(things)) for x in (truth, prediction))
        truth_is_thing, prediction_is_thing = is_thing
        self.covered = ~self.same & self.most_of_truth & (~truth_is_thing[rows] | prediction_is_thing[columns])
        # (T,): IoU of a truth segment with the union of its pieces
        self.joined_iou = _joined(rows, self.shared, self.truth_area, self.area[columns], self.pieces)
        # (P,): whether a prediction would match the union of its parts
        self.merging = _joined(columns, self.shared, self.area, self.truth_area[rows], self.parts) > 0.5
        # missed truth segments that lie mostly in a prediction of their class that is merging or matches another
        self.absorbed = (
            (self.same & self.is_missed[rows] & self.most_of_truth)
            & ((self.parts & self.merging[columns]) | self.is_matched[columns])
        )  # fmt: skip

    def causes_of_missed(self) -> list[tuple[Cause, Booleans]]:
        """Causes in the order in which they are tried, with the truth segments (T,) that each applies to."""
        return [
            (Cause.WRONG_CLASS, self._in_truth(self.wrong)),
            (Cause.SPLIT, self.joined_iou > 0.5),
            (Cause.MERGED, self._in_truth(self.absorbed)),
            (Cause.POOR_OUTLINE, self._in_truth(self.poor)),
            (Cause.SWALLOWED, self._in_truth(self.covered)),
            (Cause.MISSED, np.ones(len(self.truth_area), dtype=np.bool_)),
        ]

    def causes_of_spurious(self) -> list[tuple[Cause, Booleans]]:
        """Causes in the order in which they are tried, with the predicted segments (P,) that each applies to."""
        inside = self.same & self.most_of_prediction
        is_swallowed = self.is_missed & self._in_truth(self.covered)
        return [
            (Cause.WRONG_CLASS, self._in_prediction(self.wrong)),
            (Cause.DUPLICATE, self._in_prediction(inside & self.is_found[self.rows])),
            (Cause.SPLIT, self._in_prediction(self.pieces & (self.joined_iou > 0.5)[self.rows])),
            (Cause.MERGED, self.merging),
            (Cause.POOR_OUTLINE, self._in_prediction(self.poor)),
            (Cause.SWALLOWED, self._in_prediction(inside & is_swallowed[self.rows])),
            (Cause.BACKGROUND, np.ones(len(self.area), dtype=np.bool_)),
        ]

    def _in_truth(self, pairs: Booleans) -> Booleans:
        return contains(self.rows, pairs, len(self.truth_area))

    def _in_prediction(self, pairs: Booleans) -> Booleans:
        return contains(self.columns, pairs, len(self.area))

    def repaired_iou(self, row: int, cause: Cause) -> float:
        """IoU after the repair: a corrected class, joined pieces, a merged prediction cut at the truth, else 1."""
        own = slice(*np.searchsorted(self.rows, [row, row + 1]))  # pairs are sorted by row
        if cause is Cause.WRONG_CLASS:
            return float(self.iou[own][self.wrong[own]].max())
        if cause is Cause.SPLIT:
            return float(self.joined_iou[row])
        if cause is Cause.MERGED:
            return float(self.shared[own][self.absorbed[own]].max() / self.truth_area[row])
        return 1.0


def _first(causes: list[tuple[Cause, Booleans]], indices: Integers) -> list[Cause]:
    """The first of ``causes`` that applies to each of ``indices`` (m,)."""
    applies = np.stack([applies[indices] for _, applies in causes])
    return [causes[number][0] for number in applies.argmax(axis=0)]


def _nearest(own: Integers, other: Integers, iou: Floats) -> dict[int, tuple[int, float]]:
    """For each of ``own`` (n,), the one of ``other`` with the largest IoU, of several the one with the lowest index."""
    order = np.lexsort((other, -iou, own))
    indices, first = np.unique(own[order], return_index=True)
    best = order[first]
    return dict(zip(indices.tolist(), zip(other[best].tolist(), iou[best].tolist(), strict=True), strict=True))


def _joined(groups: Integers, shared: Integers, area: Integers, other_area: Integers, pieces: Booleans) -> Floats:
    """(m,): IoU of m segments of ``area`` (m,) with the union of their pieces, 0 for fewer than two pieces.

    Of n pairs, ``groups`` (n,) are the segments, ``other_area`` the areas of the others, and ``pieces`` marks pieces.
    """
    groups, size = groups[pieces], len(area)
    covered = sums(groups, shared[pieces], size)
    union = area + sums(groups, other_area[pieces], size) - covered
    return np.where(np.bincount(groups, minlength=size) >= 2, covered / np.maximum(union, 1), 0.0)


def _mask(indices: Integers, size: int) -> Booleans:
    mask = np.zeros(size, dtype=np.bool_)
    mask[indices] = True
    return mask
