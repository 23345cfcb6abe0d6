"""Overlap table of truth and predicted segments, from which all of panoptic quality follows, and matching.

`compare` counts the table in a single pass over the runs of one image, and `match` derives matched pairs and errors
(Kirillov et al., Panoptic Segmentation, CVPR 2019, section 4). Only pairs that share pixels are stored and looked at,
so that memory grows with the number of segments, not with its square.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from panoptic_blend.metrics.assignment import heaviest_pairs
from panoptic_blend.metrics.boundary import boundary_indices
from panoptic_blend.metrics.sparse import Floats, Integers, SparseTable, sums
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Segment

Booleans = npt.NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class SegmentTable:
    """The n segments of one map: ``ids``, ``categories`` and ``areas`` (n,) int64, ``is_crowd`` (n,) bool.

    ``scores`` (n,) float64 are NaN for segments without a score; None if no segment has one.
    """

    ids: Integers
    categories: Integers
    areas: Integers
    is_crowd: Booleans
    scores: Floats | None = None

    @classmethod
    def from_segments(cls, segments: Sequence[Segment], areas: Integers) -> SegmentTable:
        """Build the table of n segments with the given ``areas`` (n,) in pixels."""
        has_scores = any(segment.score is not None for segment in segments)
        return cls(
            np.array([segment.id for segment in segments], dtype=np.int64),
            np.array([segment.category for segment in segments], dtype=np.int64),
            areas,
            np.array([segment.is_crowd for segment in segments], dtype=np.bool_),
            # as float64, None is NaN
            np.array([segment.score for segment in segments], dtype=np.float64) if has_scores else None,
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """Overlaps of the T truth and P predicted segments of one image.

    ``overlaps`` (T + 1, P + 1) counts the pixels that truth and prediction share: row ``i + 1`` is truth segment ``i``,
    column ``j + 1`` predicted segment ``j``, row and column 0 are void. ``boundary`` (T + 2, P + 1) is as from
    `boundary_indices`, None if boundaries were not compared.
    """

    truth: SegmentTable
    prediction: SegmentTable
    overlaps: SparseTable
    boundary: SparseTable | None = None

    @classmethod
    def from_overlaps(
        cls,
        overlaps: SparseTable,
        truth: Sequence[Segment],
        prediction: Sequence[Segment],
        boundary: SparseTable | None = None,
    ) -> Comparison:
        """Build from the tables and the segments."""
        return cls(
            SegmentTable.from_segments(truth, overlaps.row_sums()[1:]),
            SegmentTable.from_segments(prediction, overlaps.column_sums()[1:]),
            overlaps,
            boundary,
        )

    @property
    def table(self) -> Integers:
        """``overlaps`` as a dense array (T + 1, P + 1); too large for maps of very many segments."""
        return self.overlaps.dense()

    @cached_property
    def matches(self) -> Matches:
        """The matches of PQ, those of `match` without options."""
        return match(self)

    def pairs(self) -> SharedPixels:
        """The pairs of a truth segment and a predicted one that share pixels."""
        entries = self.overlaps.entries
        rows, columns, pixels = entries[(entries[:, 0] > 0) & (entries[:, 1] > 0)].astype(np.int64).T
        return SharedPixels(rows - 1, columns - 1, pixels)


class SharedPixels(NamedTuple):
    """Pairs of segments, row by row: indices in ``truth`` and ``prediction``, and shared ``pixels``, (n,) each."""

    truth: Integers
    prediction: Integers
    pixels: Integers


@dataclass(frozen=True, eq=False)
class Matches:
    """Matched pairs and errors of one image, as int64 indices of the compared segments.

    Pair ``i`` is ``truth[i]`` with ``prediction[i]`` at IoU ``iou[i]`` (float64); ``missed`` are the false
    negatives among the truth, ``spurious`` the false positives among the predictions. ``ignorable`` are the
    predictions that lie mostly on void and crowd, and are ignored unless they match.
    """

    truth: Integers
    prediction: Integers
    iou: Floats
    missed: Integers
    spurious: Integers
    ignorable: Integers


def compare(truth: PanopticMap, prediction: PanopticMap, *, boundary: bool = False) -> Comparison:
    """Count the pixels that every truth segment shares with every predicted one, optionally those of boundaries too.

    A record of area 0 may have no pixels. A record with the id 0 is a segment, and its map then has no void.

    Raises PanopticBlendError if the maps differ in shape, if an id is used twice, or if a map and its records have
    different segments.
    """
    # segments are compact, so that there are far fewer runs than pixels
    truth_runs, prediction_runs = truth.id_runs(), prediction.id_runs()
    if truth_runs.shape != prediction_runs.shape:
        raise PanopticBlendError(
            f"truth has shape {truth_runs.shape} and prediction {prediction_runs.shape}; "
            "give both at the size of the truth (the truth comes first)"
        )
    shared = truth_runs.shared(prediction_runs)
    rows = _indices(shared.own, truth.segments, "truth")
    columns = _indices(shared.other, prediction.segments, "prediction")
    shape = len(truth.segments) + 1, len(prediction.segments) + 1
    table = SparseTable.count(rows, columns, shape, shared.pixels)
    edges = _boundary_table(truth, prediction) if boundary else None
    found = Comparison.from_overlaps(table, truth.segments, prediction.segments, edges)
    _require_pixels(found.truth.areas, truth.segments, "truth")
    _require_pixels(found.prediction.areas, prediction.segments, "prediction")
    return found


def match(comparison: Comparison, *, boundary: bool = False, threshold: int = 50) -> Matches:
    """Match the segments of one image (section 4.1).

    The segments of a pair have the same category and an IoU above 0.5, where the union excludes pixels of the
    prediction on void, and the truth is not a crowd; no segment can be in two such pairs. An unmatched prediction is
    ignored if more than half of it lies on void and on the crowd of its category (section 4.2, void and group labels);
    of several crowds of one category only the last counts, as in COCO's script. Segments without pixels are ignored.

    With ``boundary``, which requires ``compare(..., boundary=True)``, the IoU of a pair is the minimum of this IoU and
    the IoU of the boundaries (Cheng et al., Boundary IoU, CVPR 2021, section 5).

    ``threshold`` is the IoU of a match in whole percent. Below 50, where a segment may be in several pairs, the matches
    are those with the largest sum of IoUs, a maximum-weight bipartite matching.
    """
    truth, prediction, table = comparison.truth, comparison.prediction, comparison.overlaps
    void, area = table.first_row()[1:], prediction.areas
    rows, columns, shared = comparison.pairs()
    is_same = truth.categories[rows] == prediction.categories[columns]
    union = truth.areas[rows] + (area - void)[columns] - shared
    # areas stated in a JSON may be arbitrary
    matched = np.flatnonzero(is_same & ~truth.is_crowd[rows] & (100 * shared > threshold * union) & (union >= 0))
    if threshold < 50:
        weights = shared[matched] / np.maximum(union[matched], 1)
        matched = matched[heaviest_pairs(rows[matched], columns[matched], weights)]
    with np.errstate(divide="ignore"):
        iou = shared[matched] / union[matched]
    paired_truth, paired_prediction = rows[matched], columns[matched]
    if boundary:
        iou = np.minimum(iou, _boundary_iou(comparison, paired_truth, paired_prediction))
        kept = iou > 0.5
        paired_truth, paired_prediction, iou = paired_truth[kept], paired_prediction[kept], iou[kept]

    exists = truth.areas > 0
    last_crowds = {truth.categories[row]: row for row in np.flatnonzero(truth.is_crowd & exists)}
    is_last_crowd = np.zeros(len(exists), dtype=np.bool_)
    is_last_crowd[list(last_crowds.values())] = True
    on_crowd = is_same & is_last_crowd[rows]
    ignored = void + sums(columns[on_crowd], shared[on_crowd], len(area))
    return Matches(
        truth=paired_truth,
        prediction=paired_prediction,
        iou=iou,
        missed=_others(paired_truth, exists & ~truth.is_crowd),
        spurious=_others(paired_prediction, (area > 0) & (2 * ignored <= area)),
        ignorable=np.flatnonzero(2 * ignored > area),
    )


def same_class_ious(comparison: Comparison) -> tuple[Integers, Integers, Floats]:
    """Indices in truth and prediction, and IoU, of the n pairs of one class that share pixels: (n,) each.

    Areas are those of the pixels, whatever a JSON states, and void is excluded from predictions.
    """
    rows, columns, shared = comparison.pairs()
    same = comparison.truth.categories[rows] == comparison.prediction.categories[columns]
    rows, columns, shared, table = rows[same], columns[same], shared[same], comparison.overlaps
    area = (table.column_sums() - table.first_row())[1:]
    return rows, columns, shared / (table.row_sums()[1:][rows] + area[columns] - shared)


def format_ids(ids: Sequence[int] | npt.NDArray[np.integer], limit: int = 5) -> str:
    """Format ids for a message: ``1, 2, 3, 4, 5 and 7 more``."""
    return ", ".join(str(i) for i in ids[:limit]) + (f" and {len(ids) - limit} more" if len(ids) > limit else "")


def _boundary_table(truth: PanopticMap, prediction: PanopticMap) -> SparseTable:
    rows, columns = boundary_indices(truth, prediction)
    return SparseTable.count(rows, columns, (len(truth.segments) + 2, len(prediction.segments) + 1))


def _boundary_iou(comparison: Comparison, truth: Integers, prediction: Integers) -> Floats:
    """(n,): IoU of the boundaries of n pairs of segments, where those of the prediction exclude void."""
    table = comparison.boundary
    assert table is not None, "requires compare(..., boundary=True)"
    shared = table.at(truth + 1, prediction + 1)
    area = (table.column_sums() - table.first_row())[prediction + 1]
    return shared / np.maximum(table.row_sums()[truth + 1] + area - shared, 1)


def _others(taken: Integers, candidates: Booleans) -> Integers:
    remaining = candidates.copy()
    remaining[taken] = False
    return np.flatnonzero(remaining)


def _indices(ids: npt.NDArray[np.integer], segments: Sequence[Segment], name: str) -> npt.NDArray[np.intp]:
    """Row or column of the segment of each id in the table: 0 for void, 1 for the first record."""
    known = [segment.id for segment in segments]
    numbers = {0: 0, **{id: number for number, id in enumerate(known, start=1)}}
    if len(set(known)) < len(known):
        used, times = np.unique(np.array(known, dtype=np.int64), return_counts=True)
        raise PanopticBlendError(
            f"{name}: segment id {format_ids(used[times > 1])} is used twice; give each segment an id of its own"
        )
    listed = ids.tolist()
    if strays := sorted(set(listed) - numbers.keys()):
        raise PanopticBlendError(f"{name}: id {format_ids(strays)} is in the map but has no segment record; add one")
    return np.array([numbers[id] for id in listed], dtype=np.intp)


def _require_pixels(areas: Integers, segments: Sequence[Segment], name: str) -> None:
    absent = [segment.id for segment, area in zip(segments, areas, strict=True) if segment.area > 0 and not area]
    if absent:
        raise PanopticBlendError(
            f"{name}: segment {format_ids(absent)} has a record but no pixel in the map; remove it"
        )
