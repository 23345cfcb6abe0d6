"""Overlap table of truth and predicted segments, from which all of panoptic quality follows, and matching.

`overlaps` counts the table in a single pass over the pixels of one image, `compare` stores it with its segments, and
`match` derives matched pairs and errors (Kirillov et al., Panoptic Segmentation, CVPR 2019, section 4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from panoptic_blend.metrics.boundary import boundary_table
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Segment, positions

Integers = npt.NDArray[np.int64]
Booleans = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
Entries = npt.NDArray[np.int32]


@dataclass(frozen=True, eq=False)
class SegmentTable:
    """The n segments of one map: ``ids``, ``categories`` and ``areas`` (n,) int64, ``is_crowd`` (n,) bool."""

    ids: Integers
    categories: Integers
    areas: Integers
    is_crowd: Booleans

    @classmethod
    def from_segments(cls, segments: Sequence[Segment], areas: Integers) -> SegmentTable:
        """Build the table of n segments with the given ``areas`` (n,) in pixels."""
        return cls(
            np.array([segment.id for segment in segments], dtype=np.int64),
            np.array([segment.category for segment in segments], dtype=np.int64),
            areas,
            np.array([segment.is_crowd for segment in segments], dtype=np.bool_),
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """Overlaps of the T truth and P predicted segments of one image, stored sparsely.

    ``entries`` and ``boundary_entries`` (n, 3) int32 are row, column and value of the nonzero entries of `table` and
    `boundary`; ``boundary_entries`` is None if boundaries were not compared.
    """

    truth: SegmentTable
    prediction: SegmentTable
    entries: Entries
    boundary_entries: Entries | None = None

    @classmethod
    def from_table(cls, table: Integers, truth: Sequence[Segment], prediction: Sequence[Segment]) -> Comparison:
        """Build from a table of `overlaps` and its segments."""
        tables = (
            SegmentTable.from_segments(truth, table[1:].sum(axis=1)),
            SegmentTable.from_segments(prediction, table[:, 1:].sum(axis=0)),
        )
        return cls(*tables, _entries(table))

    @property
    def table(self) -> Integers:
        """The table (T + 1, P + 1) of `overlaps`."""
        return _dense(self.entries, (len(self.truth.ids) + 1, len(self.prediction.ids) + 1))

    @property
    def boundary(self) -> Integers | None:
        """The table (T + 2, P + 1) of `boundary_table`, None if boundaries were not compared."""
        if self.boundary_entries is None:
            return None
        return _dense(self.boundary_entries, (len(self.truth.ids) + 2, len(self.prediction.ids) + 1))


@dataclass(frozen=True, eq=False)
class Matches:
    """Matched pairs and errors of one image, as int64 indices of the compared segments.

    Pair ``i`` is ``truth[i]`` with ``prediction[i]`` at IoU ``iou[i]`` (float64); ``missed`` are the false
    negatives among the truth, ``spurious`` the false positives among the predictions.
    """

    truth: Integers
    prediction: Integers
    iou: Floats
    missed: Integers
    spurious: Integers


def compare(truth: PanopticMap, prediction: PanopticMap, *, boundary: bool = False) -> Comparison:
    """Compute the overlaps of one image, optionally those of boundaries too; raises the errors of `overlaps`."""
    found = Comparison.from_table(overlaps(truth, prediction), truth.segments, prediction.segments)
    if not boundary:
        return found
    return replace(found, boundary_entries=_entries(boundary_table(truth, prediction)))


def overlaps(truth: PanopticMap, prediction: PanopticMap) -> Integers:
    """Count the pixels that every truth segment shares with every predicted one.

    Returns (T + 1, P + 1) int64: row ``i + 1`` is ``truth.segments[i]``, column ``j + 1`` is
    ``prediction.segments[j]``, row and column 0 are void. Row sums are truth areas, column sums predicted
    areas. A record of area 0 without pixels has a row or column of zeros.

    Raises PanopticBlendError if the maps differ in shape, if an id is used twice or 0, or if a map and its records
    have different segments.
    """
    if truth.segment_ids.shape != prediction.segment_ids.shape:
        raise PanopticBlendError(
            f"truth has shape {truth.segment_ids.shape} and prediction {prediction.segment_ids.shape}; "
            "give both at the size of the truth"
        )
    # Segments are compact, so that there are far fewer runs of one (truth, prediction) pair than pixels.
    truth_ids, prediction_ids = truth.segment_ids.ravel(), prediction.segment_ids.ravel()
    is_start = np.ones(truth_ids.size, dtype=np.bool_)
    np.not_equal(truth_ids[1:], truth_ids[:-1], out=is_start[1:])
    is_start[1:] |= prediction_ids[1:] != prediction_ids[:-1]
    starts = np.flatnonzero(is_start)
    lengths = np.diff(starts, append=truth_ids.size)
    rows = _indices(truth_ids[starts], truth.segments, "truth")
    columns = _indices(prediction_ids[starts], prediction.segments, "prediction")

    shape = len(truth.segments) + 1, len(prediction.segments) + 1
    pixels = np.bincount(rows * shape[1] + columns, weights=lengths, minlength=math.prod(shape))
    table = pixels.astype(np.int64).reshape(shape)
    _require_pixels(table.sum(axis=1), truth.segments, "truth")
    _require_pixels(table.sum(axis=0), prediction.segments, "prediction")
    return table


def match(comparison: Comparison, *, boundary: bool = False) -> Matches:
    """Match the segments of one image (section 4.1).

    The segments of a pair have the same category and an IoU above 0.5, where the union excludes pixels of the
    prediction on void, and the truth is not a crowd; no segment can be in two such pairs. An unmatched prediction is
    ignored if more than half of it lies on void and on the crowd of its category (section 4.2, void and group labels);
    of several crowds of one category only the last counts, as in COCO's script. Segments without pixels are ignored.

    With ``boundary``, which requires ``compare(..., boundary=True)``, the IoU of a pair is the minimum of this IoU and
    the IoU of the boundaries (Cheng et al., Boundary IoU, CVPR 2021, section 5).
    """
    truth, prediction, table = comparison.truth, comparison.prediction, comparison.table
    void, shared = table[0, 1:], table[1:, 1:]
    exists, area = table[1:].any(axis=1), table[:, 1:].sum(axis=0)
    comparable = (truth.categories[:, None] == prediction.categories) & ~truth.is_crowd[:, None]
    union = truth.areas[:, None] + (area - void) - shared
    matched = comparable & (2 * shared > union) & (union >= 0)  # areas stated in a JSON may be arbitrary
    rows, columns = np.nonzero(matched)
    with np.errstate(divide="ignore"):
        iou = shared[matched] / union[matched]
    if boundary:
        iou = np.minimum(iou, _boundary_iou(comparison)[matched])
        rows, columns, iou = rows[iou > 0.5], columns[iou > 0.5], iou[iou > 0.5]

    ignored = void.copy()
    for category, row in {truth.categories[row]: row for row in np.flatnonzero(truth.is_crowd & exists)}.items():
        ignored += np.where(prediction.categories == category, shared[row], 0)
    return Matches(
        truth=rows,
        prediction=columns,
        iou=iou,
        missed=_others(rows, exists & ~truth.is_crowd),
        spurious=_others(columns, (area > 0) & (2 * ignored <= area)),
    )


def format_ids(ids: Sequence[int] | npt.NDArray[np.integer], limit: int = 5) -> str:
    """Format ids for a message: ``1, 2, 3, 4, 5 and 7 more``."""
    return ", ".join(str(i) for i in ids[:limit]) + (f" and {len(ids) - limit} more" if len(ids) > limit else "")


def _boundary_iou(comparison: Comparison) -> Floats:
    """(T, P): IoU of the boundaries, where those of the prediction exclude void."""
    table = comparison.boundary
    assert table is not None, "requires compare(..., boundary=True)"
    shared = table[1:-1, 1:]
    union = table[1:-1].sum(axis=1)[:, None] + table[1:, 1:].sum(axis=0) - shared
    return shared / np.maximum(union, 1)


def _others(taken: Integers, candidates: Booleans) -> Integers:
    remaining = candidates.copy()
    remaining[taken] = False
    return np.flatnonzero(remaining)


def _entries(table: Integers) -> Entries:
    rows, columns = np.nonzero(table)
    return np.stack([rows, columns, table[rows, columns]], axis=1).astype(np.int32)


def _dense(entries: Entries, shape: tuple[int, int]) -> Integers:
    table = np.zeros(shape, dtype=np.int64)
    table[entries[:, 0], entries[:, 1]] = entries[:, 2]
    return table


def _indices(ids: npt.NDArray[np.int32], segments: Sequence[Segment], name: str) -> npt.NDArray[np.intp]:
    """Row or column of the segment of each id in the table: 0 for void, 1 for the first record."""
    known = [segment.id for segment in segments]
    used, times = np.unique(np.array([0, *known], dtype=np.int64), return_counts=True)
    repeated = used[times > 1]
    if repeated.size:
        raise PanopticBlendError(
            f"{name}: segment id {format_ids(repeated)} is used twice; ids are unique and 0 is void"
        )
    indices = positions(ids, known)
    strays = np.unique(ids[(indices == 0) & (ids != 0)])
    if strays.size:
        raise PanopticBlendError(f"{name}: id {format_ids(strays)} is in the map but has no segment record; add one")
    return indices


def _require_pixels(areas: Integers, segments: Sequence[Segment], name: str) -> None:
    absent = [segment.id for segment, area in zip(segments, areas[1:], strict=True) if segment.area > 0 and not area]
    if absent:
        raise PanopticBlendError(
            f"{name}: segment {format_ids(absent)} has a record but no pixel in the map; remove it"
        )
