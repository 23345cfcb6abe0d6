"""Panoptic quality (Kirillov et al., Panoptic Segmentation, CVPR 2019, section 4), to the figures COCO publishes.

Every figure follows from one table: how many pixels each truth segment shares with each predicted
one. `overlaps` counts it in a single pass over the pixels, `match` reads the pairs and the mistakes
of one image from it, and `PanopticQuality` adds images up.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np
import numpy.typing as npt

from panoptic_blend.structures import Category, PanopticBlendError, PanopticMap, Segment, positions

Integers = npt.NDArray[np.int64]


class Quality(TypedDict):
    """Panoptic, segmentation and recognition quality as fractions; ``pq = sq * rq`` within one class."""

    pq: float
    sq: float
    rq: float


class GroupQuality(Quality):
    """Plain means over the ``n`` classes of a group that occur in the truth or in a prediction."""

    n: int


class ClassQuality(Quality):
    """One class: sum of the IoUs of its matched pairs, and counts of pairs, wrong and missed segments."""

    iou_sum: float
    tp: int
    fp: int
    fn: int


@dataclass(frozen=True)
class PanopticReport:
    """What `PanopticQuality.compute` found; ``report["All"]``, ``["Things"]`` and ``["Stuff"]`` are the means.

    ``per_class`` holds every category under its id, with zeros where it was never seen.
    """

    categories: tuple[Category, ...]
    groups: dict[str, GroupQuality]
    per_class: dict[int, ClassQuality]

    def __getitem__(self, group: str) -> GroupQuality:
        """Return the means over ``"All"``, ``"Things"`` or ``"Stuff"``; KeyError for any other name."""
        return self.groups[group]


@dataclass(frozen=True, eq=False)
class Matches:
    """The outcome of one image; indices point into the lists of segments that were compared.

    Pair ``i`` is ``truth[i]`` with ``prediction[i]`` at IoU ``iou[i]`` (float64); ``missed`` are the false
    negatives among the truth, ``spurious`` the false positives among the predictions (all int64).
    """

    truth: Integers
    prediction: Integers
    iou: npt.NDArray[np.float64]
    missed: Integers
    spurious: Integers


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
    changes = (truth_ids[1:] != truth_ids[:-1]) | (prediction_ids[1:] != prediction_ids[:-1])
    starts = np.concatenate(([0], np.flatnonzero(changes) + 1))[: truth_ids.size]
    lengths = np.diff(starts, append=truth_ids.size)
    rows = _lines(truth_ids[starts], truth.segments, "truth")
    columns = _lines(prediction_ids[starts], prediction.segments, "prediction")

    shape = len(truth.segments) + 1, len(prediction.segments) + 1
    pixels = np.bincount(rows * shape[1] + columns, weights=lengths, minlength=math.prod(shape))
    table = pixels.astype(np.int64).reshape(shape)
    _require_pixels(table.sum(axis=1), truth.segments, "truth")
    _require_pixels(table.sum(axis=0), prediction.segments, "prediction")
    return table


def match(table: Integers, truth: Sequence[Segment], prediction: Sequence[Segment]) -> Matches:
    """Pair the segments of one image by their `overlaps` (section 4.1), areas counted in the maps.

    A pair has one category, a truth that is no crowd, and an IoU above 0.5, where pixels of the prediction on void
    leave the union; no segment can be in two such pairs. A prediction left over is forgiven if more than half of it
    lies on void and on the crowd of its category (section 4.2, void and group labels); of several crowds of one
    category the last counts, as in the figures COCO publishes. Segments without pixels do not exist.
    """
    truth_category, prediction_category = _categories(truth), _categories(prediction)
    crowd = np.array([segment.is_crowd for segment in truth], dtype=bool)
    truth_area, prediction_area = table[1:].sum(axis=1), table[:, 1:].sum(axis=0)
    void = table[0, 1:]

    shared = table[1:, 1:]
    union = truth_area[:, None] + (prediction_area - void) - shared
    comparable = (truth_category[:, None] == prediction_category) & ~crowd[:, None]
    matched = comparable & (2 * shared > union)
    rows, columns = np.nonzero(matched)

    forgiven = void.copy()
    crowds = {segment.category: row for row, segment in enumerate(truth) if segment.is_crowd and truth_area[row]}
    for category, row in crowds.items():
        forgiven += np.where(prediction_category == category, shared[row], 0)

    return Matches(
        truth=rows,
        prediction=columns,
        iou=shared[matched] / union[matched],
        missed=np.flatnonzero(~matched.any(axis=1) & ~crowd & (truth_area > 0)),
        spurious=np.flatnonzero(~matched.any(axis=0) & (2 * forgiven <= prediction_area) & (prediction_area > 0)),
    )


class PanopticQuality:
    """PQ, SQ and RQ over any number of images, by class and averaged over all, thing and stuff classes.

    ``categories`` are all classes of the data set, as `Category` or as COCO panoptic records; the ``category`` of
    a segment is one of their ids. The state is one float per matched pair and two counts per class; sums are
    rounded once, so the report does not depend on the order of updates and merges to the last bit.
    """

    def __init__(self, categories: Sequence[Category | Mapping[str, object]]) -> None:
        self._categories = categories_by_id(categories)
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._ious: defaultdict[int, list[float]] = defaultdict(list)
        self._spurious: Counter[int] = Counter()
        self._missed: Counter[int] = Counter()

    def update(self, truth: PanopticMap, prediction: PanopticMap) -> None:
        """Add one image; both maps are (H, W).

        Raises PanopticBlendError, and adds nothing, for what `overlaps` refuses and for unknown categories.
        """
        for name, segments in (("truth", truth.segments), ("prediction", prediction.segments)):
            unknown = sorted({segment.category for segment in segments} - self._categories.keys())
            if unknown:
                raise PanopticBlendError(f"{name}: unknown category {listed(unknown)}; expected ids of the data set")
        matches = match(overlaps(truth, prediction), truth.segments, prediction.segments)
        for row, iou in zip(matches.truth, matches.iou.tolist(), strict=True):
            self._ious[truth.segments[row].category].append(iou)
        self._missed.update(truth.segments[row].category for row in matches.missed)
        self._spurious.update(prediction.segments[column].category for column in matches.spurious)

    def merge(self, other: PanopticQuality) -> None:
        """Add the images of ``other``, which is left as it is; raises PanopticBlendError for other categories."""
        if self._categories != other._categories:
            raise PanopticBlendError(
                "cannot merge panoptic qualities of different categories; build both from one list"
            )
        for category, ious in other._ious.items():
            self._ious[category].extend(ious)
        self._spurious.update(other._spurious)
        self._missed.update(other._missed)

    def compute(self) -> PanopticReport:
        """Report on all images so far; where no class was seen, everything is 0."""
        categories = tuple(self._categories.values())
        per_class = {category.id: self._class_quality(category.id) for category in categories}
        things = [per_class[category.id] for category in categories if category.is_thing]
        stuff = [per_class[category.id] for category in categories if not category.is_thing]
        groups = {"All": _mean(per_class.values()), "Things": _mean(things), "Stuff": _mean(stuff)}
        return PanopticReport(categories, groups, per_class)

    def _class_quality(self, category: int) -> ClassQuality:
        """Section 4.2: PQ as the product of segmentation and recognition quality."""
        ious, fp, fn = self._ious.get(category, []), self._spurious[category], self._missed[category]
        tp, iou_sum = len(ious), math.fsum(ious)
        weight = tp + fp / 2 + fn / 2 or 1
        return ClassQuality(
            pq=iou_sum / weight, sq=iou_sum / (tp or 1), rq=tp / weight, iou_sum=iou_sum, tp=tp, fp=fp, fn=fn
        )


def categories_by_id(categories: Iterable[Category | Mapping[str, object]]) -> dict[int, Category]:
    """Parse the categories of a data set; raises PanopticBlendError where two have one id."""
    by_id: dict[int, Category] = {}
    for category in map(Category.parse, categories):
        if category.id in by_id:
            raise PanopticBlendError(
                f"categories `{by_id[category.id].name}` and `{category.name}` share id {category.id}; ids are unique"
            )
        by_id[category.id] = category
    return by_id


def listed(ids: Sequence[int] | Integers, limit: int = 5) -> str:
    """Name some ids for a message: ``1, 2, 3, 4, 5 and 7 more``."""
    return ", ".join(str(i) for i in ids[:limit]) + (f" and {len(ids) - limit} more" if len(ids) > limit else "")


def _lines(ids: npt.NDArray[np.int32], segments: Sequence[Segment], name: str) -> Integers:
    """Where the segments of these ids stand in the table: 0 for void, 1 for the first record."""
    known = [segment.id for segment in segments]
    used, times = np.unique(np.array([0, *known], dtype=np.int64), return_counts=True)
    repeated = used[times > 1]
    if repeated.size:
        raise PanopticBlendError(f"{name}: segment id {listed(repeated)} is used twice; ids are unique and 0 is void")
    places = positions(ids, known)
    strays = np.unique(ids[(places == 0) & (ids != 0)])
    if strays.size:
        raise PanopticBlendError(f"{name}: id {listed(strays)} is in the map and in no segment record")
    return places


def _require_pixels(areas: Integers, segments: Sequence[Segment], name: str) -> None:
    absent = [segment.id for segment, area in zip(segments, areas[1:], strict=True) if segment.area > 0 and not area]
    if absent:
        raise PanopticBlendError(f"{name}: segment {listed(absent)} has a record and no pixel in the map")


def _categories(segments: Sequence[Segment]) -> Integers:
    return np.array([segment.category for segment in segments], dtype=np.int64)


def _mean(classes: Iterable[ClassQuality]) -> GroupQuality:
    """Section 4.2: classes count alike, however many segments they have."""
    seen = [quality for quality in classes if quality["tp"] + quality["fp"] + quality["fn"]]
    n = len(seen)
    return GroupQuality(
        pq=math.fsum(quality["pq"] for quality in seen) / max(n, 1),
        sq=math.fsum(quality["sq"] for quality in seen) / max(n, 1),
        rq=math.fsum(quality["rq"] for quality in seen) / max(n, 1),
        n=n,
    )
