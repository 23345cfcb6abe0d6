"""The table that every figure of panoptic quality follows from: pixels shared by truth and predicted segments.

`overlaps` counts it in a single pass over the pixels of one image, `compare` keeps it with the segments it is about,
and `match` reads the pairs and the mistakes from it (Kirillov et al., Panoptic Segmentation, CVPR 2019, section 4).
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
        """The columns of some segments, whose areas in pixels are ``areas`` (n,)."""
        return cls(
            np.array([segment.id for segment in segments], dtype=np.int64),
            np.array([segment.category for segment in segments], dtype=np.int64),
            areas,
            np.array([segment.is_crowd for segment in segments], dtype=np.bool_),
        )


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is kept of one image: the segments of T truth and P predicted segments, and what they share.

    ``entries`` and ``boundary_entries`` (n, 3) int32 are row, column and value of what is not 0 in `table` and
    `boundary`; ``boundary_entries`` is None where boundaries were not looked at.
    """

    truth: SegmentTable
    prediction: SegmentTable
    entries: Entries
    boundary_entries: Entries | None = None

    @classmethod
    def from_table(cls, table: Integers, truth: Sequence[Segment], prediction: Sequence[Segment]) -> Comparison:
        """What a table of `overlaps` says of these segments."""
        sides = (
            SegmentTable.from_segments(truth, table[1:].sum(axis=1)),
            SegmentTable.from_segments(prediction, table[:, 1:].sum(axis=0)),
        )
        return cls(*sides, _entries(table))

    @property
    def table(self) -> Integers:
        """(T + 1, P + 1), as `overlaps` gives it."""
        return _dense(self.entries, (len(self.truth.ids) + 1, len(self.prediction.ids) + 1))

    @property
    def boundary(self) -> Integers | None:
        """(T + 2, P + 1), as `boundary_table` gives it."""
        if self.boundary_entries is None:
            return None
        return _dense(self.boundary_entries, (len(self.truth.ids) + 2, len(self.prediction.ids) + 1))


@dataclass(frozen=True, eq=False)
class Matches:
    """The outcome of one image; indices point into the segments that were compared.

    Pair ``i`` is ``truth[i]`` with ``prediction[i]`` at IoU ``iou[i]`` (float64); ``missed`` are the false
    negatives among the truth, ``spurious`` the false positives among the predictions (all int64).
    """

    truth: Integers
    prediction: Integers
    iou: Floats
    missed: Integers
    spurious: Integers


def compare(truth: PanopticMap, prediction: PanopticMap, *, boundary: bool = False) -> Comparison:
    """What the segments of one image share, of their ``boundary`` too if asked; raises what `overlaps` raises."""
    found = Comparison.from_table(overlaps(truth, prediction), truth.segments, prediction.segments)
    if not boundary:
        return found
    return replace(found, boundary_entries=_entries(boundary_table(truth, prediction)))


def overlaps(truth: PanopticMap, prediction: PanopticMap) -> Integers:
    """Count the pixels that every truth segment shares with every predicted one.

    Returns (T + 1, P + 1) int64: row ``i + 1`` is ``truth.segments[i]``, column ``j + 1`` is
    ``prediction.segments[j]``, row and column 0 are void. Row sums are truth areas, column sums predicted
    areas. A record of area 0 without pixels has a line of zeros.

    Raises PanopticBlendError if the maps differ in shape, if ids of records repeat or are 0, and if a
    map and its records do not name the same segments.
    """
    if truth.segment_ids.shape != prediction.segment_ids.shape:
        raise PanopticBlendError(
            f"truth has shape {truth.segment_ids.shape} and prediction {prediction.segment_ids.shape}; "
            "give both at the size of the truth"
        )
    # Segments are blobs: runs of one (truth, prediction) pair are far fewer than pixels.
    truth_ids, prediction_ids = truth.segment_ids.ravel(), prediction.segment_ids.ravel()
    is_start = np.ones(truth_ids.size, dtype=np.bool_)
    np.not_equal(truth_ids[1:], truth_ids[:-1], out=is_start[1:])
    is_start[1:] |= prediction_ids[1:] != prediction_ids[:-1]
    starts = np.flatnonzero(is_start)
    lengths = np.diff(starts, append=truth_ids.size)
    rows = _lines(truth_ids[starts], truth.segments, "truth")
    columns = _lines(prediction_ids[starts], prediction.segments, "prediction")

    shape = len(truth.segments) + 1, len(prediction.segments) + 1
    pixels = np.bincount(rows * shape[1] + columns, weights=lengths, minlength=math.prod(shape))
    table = pixels.astype(np.int64).reshape(shape)
    _require_pixels(table.sum(axis=1), truth.segments, "truth")
    _require_pixels(table.sum(axis=0), prediction.segments, "prediction")
    return table


def match(comparison: Comparison, *, boundary: bool = False) -> Matches:
    """Pair the segments of one image (section 4.1).

    A pair has one category, a truth that is no crowd, and an IoU above 0.5, where pixels of the prediction on void
    leave the union; no segment can be in two such pairs. A prediction left over is forgiven if more than half of it
    lies on void and on the crowd of its category (section 4.2, void and group labels); of several crowds of one
    category the last counts, as in the figures COCO publishes. Segments without pixels do not exist.

    With ``boundary``, which `compare` must have been asked for, the IoU of a pair is the smaller one of that and of
    the IoU of the boundaries (Cheng et al., Boundary IoU, CVPR 2021, section 5).
    """
    truth, prediction, table = comparison.truth, comparison.prediction, comparison.table
    void, shared = table[0, 1:], table[1:, 1:]
    exists, area = table[1:].any(axis=1), table[:, 1:].sum(axis=0)
    comparable = (truth.categories[:, None] == prediction.categories) & ~truth.is_crowd[:, None]
    union = truth.areas[:, None] + (area - void) - shared
    matched = comparable & (2 * shared > union) & (union >= 0)  # the areas of a JSON may be anything
    rows, columns = np.nonzero(matched)
    with np.errstate(divide="ignore"):
        iou = shared[matched] / union[matched]
    if boundary:
        iou = np.minimum(iou, _boundary_iou(comparison)[matched])
        rows, columns, iou = rows[iou > 0.5], columns[iou > 0.5], iou[iou > 0.5]

    forgiven = void.copy()
    for category, row in {truth.categories[row]: row for row in np.flatnonzero(truth.is_crowd & exists)}.items():
        forgiven += np.where(prediction.categories == category, shared[row], 0)
    return Matches(
        truth=rows,
        prediction=columns,
        iou=iou,
        missed=_others(rows, exists & ~truth.is_crowd),
        spurious=_others(columns, (area > 0) & (2 * forgiven <= area)),
    )


def listed(ids: Sequence[int] | npt.NDArray[np.integer], limit: int = 5) -> str:
    """Name some ids for a message: ``1, 2, 3, 4, 5 and 7 more``."""
    return ", ".join(str(i) for i in ids[:limit]) + (f" and {len(ids) - limit} more" if len(ids) > limit else "")


def _boundary_iou(comparison: Comparison) -> Floats:
    """(T, P): IoU of the boundaries, those of the prediction without what lies on void."""
    table = comparison.boundary
    assert table is not None, "compare(..., boundary=True) looks at boundaries"
    shared = table[1:-1, 1:]
    union = table[1:-1].sum(axis=1)[:, None] + table[1:, 1:].sum(axis=0) - shared
    return shared / np.maximum(union, 1)


def _others(taken: Integers, candidates: Booleans) -> Integers:
    left = candidates.copy()
    left[taken] = False
    return np.flatnonzero(left)


def _entries(table: Integers) -> Entries:
    rows, columns = np.nonzero(table)
    return np.stack([rows, columns, table[rows, columns]], axis=1).astype(np.int32)


def _dense(entries: Entries, shape: tuple[int, int]) -> Integers:
    table = np.zeros(shape, dtype=np.int64)
    table[entries[:, 0], entries[:, 1]] = entries[:, 2]
    return table


def _lines(ids: npt.NDArray[np.int32], segments: Sequence[Segment], name: str) -> npt.NDArray[np.intp]:
    """Where the segments of these ids stand in the table: 0 for void, 1 for the first record."""
    known = [segment.id for segment in segments]
    used, times = np.unique(np.array([0, *known], dtype=np.int64), return_counts=True)
    repeated = used[times > 1]
    if repeated.size:
        raise PanopticBlendError(f"{name}: segment id {listed(repeated)} is used twice; ids are unique and 0 is void")
    places = positions(ids, known)
    strays = np.unique(ids[(places == 0) & (ids != 0)])
    if strays.size:
        raise PanopticBlendError(f"{name}: id {listed(strays)} is in the map and in no segment record; add one")
    return places


def _require_pixels(areas: Integers, segments: Sequence[Segment], name: str) -> None:
    absent = [segment.id for segment, area in zip(segments, areas[1:], strict=True) if segment.area > 0 and not area]
    if absent:
        raise PanopticBlendError(f"{name}: segment {listed(absent)} has a record and no pixel in the map; drop it")
