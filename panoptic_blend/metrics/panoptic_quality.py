"""Panoptic quality (Kirillov et al., Panoptic Segmentation, CVPR 2019, section 4), identical to COCO's script.

`overlaps.compare` counts the overlaps of the segments of an image, `overlaps.match` derives matched pairs and errors,
and `PanopticQuality` accumulates images.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypedDict

from panoptic_blend.files import printable, without_nan
from panoptic_blend.metrics.conversion import LABEL_DIVISOR, PanopticLike, panoptic_pair, require_divisor
from panoptic_blend.metrics.overlaps import Comparison, compare, match
from panoptic_blend.metrics.plain_tables import html_table, text_table
from panoptic_blend.structures import Category, PanopticBlendError

GROUPS = ("All", "Things", "Stuff")
"""Groups of classes for averages: all, thing and stuff classes."""


class Quality(TypedDict):
    """Panoptic, segmentation and recognition quality as fractions; ``pq = sq * rq`` within one class."""

    pq: float
    sq: float
    rq: float


class GroupQuality(Quality):
    """Unweighted means over the ``n`` classes of a group that occur in the truth or in a prediction; NaN for none."""

    n: int


class ClassQuality(Quality):
    """Quality of one class, with the sum of IoUs and the number of matched pairs, false positives and negatives."""

    iou_sum: float
    tp: int
    fp: int
    fn: int


@dataclass(frozen=True, repr=False)
class PanopticReport:
    """Result of `PanopticQuality.compute`; ``report["All"]``, ``["Things"]`` and ``["Stuff"]`` are the means.

    The means are NaN where there is nothing to score. ``per_class`` maps every category id to its quality, which is 0
    for a class that does not occur, as in COCO's script; its counts are 0 too.
    """

    categories: tuple[Category, ...]
    groups: dict[str, GroupQuality]
    per_class: dict[int, ClassQuality]

    @classmethod
    def of_classes(cls, categories: Iterable[Category], per_class: dict[int, ClassQuality]) -> PanopticReport:
        """Build from the quality of every category by its id."""
        listed = tuple(categories)
        things = [per_class[category.id] for category in listed if category.is_thing]
        stuff = [per_class[category.id] for category in listed if not category.is_thing]
        groups = dict(zip(GROUPS, map(_mean, (per_class.values(), things, stuff)), strict=True))
        return cls(listed, groups, per_class)

    def occurs(self, category: int) -> bool:
        """Whether a class has a matched pair, a false positive or a false negative."""
        quality = self.per_class[category]
        return bool(quality["tp"] + quality["fp"] + quality["fn"])

    def figures(self) -> dict[str, Any]:
        """The groups and ``per_class`` as JSON values, in which figures over nothing are None."""
        nothing = dict.fromkeys(("pq", "sq", "rq"))
        per_class = {id: {**q, **({} if self.occurs(id) else nothing)} for id, q in self.per_class.items()}
        return {**without_nan(self.groups), "per_class": per_class}

    def __repr__(self) -> str:
        return text_table(self._rows())

    def _repr_html_(self) -> str:
        return html_table(self._rows())

    def _rows(self) -> list[tuple[str, ...]]:
        """The groups and all classes that occur, in percent."""
        rows: list[tuple[str, ...]] = [("", "PQ", "SQ", "RQ", "TP", "FP", "FN")]
        for group, means in self.groups.items():
            rows.append((f"{group} ({means['n']} classes)", *_percent(means), "", "", ""))
        for category in filter(lambda category: self.occurs(category.id), self.categories):
            found, name = self.per_class[category.id], printable(category.name)
            rows.append((name, *_percent(found), str(found["tp"]), str(found["fp"]), str(found["fn"])))
        return rows

    def __getitem__(self, group: str) -> GroupQuality:
        """Return the means over ``"All"``, ``"Things"`` or ``"Stuff"`` classes; KeyError for any other name."""
        return self.groups[group]


class Tally(NamedTuple):
    """What one image adds: matched ``pairs`` (category, IoU), and the categories of false negatives and positives."""

    pairs: list[tuple[int, float]]
    missed: list[int]
    spurious: list[int]

    @classmethod
    def of(cls, comparison: Comparison, *, boundary: bool = False) -> Tally:
        """Count the matches of an image; ``boundary`` is as for `overlaps.match`."""
        truth, prediction = comparison.truth.categories, comparison.prediction.categories
        matches = match(comparison, boundary=True) if boundary else comparison.matches
        return cls(
            list(zip(truth[matches.truth].tolist(), matches.iou.tolist(), strict=True)),
            truth[matches.missed].tolist(),
            prediction[matches.spurious].tolist(),
        )


class PanopticQuality:
    """PQ, SQ and RQ over any number of images, by class and averaged over all, thing and stuff classes.

    ``categories`` are all classes of the data set, as `Category` or as COCO panoptic records; the ``category`` of
    a segment is one of their ids. ``label_divisor`` is that of detectron2's maps without records. The state consists of
    one float per matched pair and two counts per class. Sums are rounded only once, so that the report is bitwise
    independent of the order of updates and merges.
    """

    def __init__(
        self, categories: Sequence[Category | Mapping[str, object]], *, label_divisor: int = LABEL_DIVISOR
    ) -> None:
        self._categories, self._label_divisor = categories_by_id(categories), require_divisor(label_divisor)
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._ious: defaultdict[int, list[float]] = defaultdict(list)
        self._spurious: Counter[int] = Counter()
        self._missed: Counter[int] = Counter()

    def update(self, truth: PanopticLike, prediction: PanopticLike) -> None:
        """Add one image; both maps are (H, W), each in any form that `conversion.panoptic_map` reads.

        Raises the PanopticBlendErrors of `conversion.panoptic_map` and `overlaps.compare`, and then adds nothing.
        """
        self.add(compare(*panoptic_pair(truth, prediction, self._categories, self._label_divisor)))

    def add(self, comparison: Comparison, *, boundary: bool = False) -> None:
        """Add one image that is already compared, with known categories; ``boundary`` is as for `overlaps.match`."""
        self.tally(*Tally.of(comparison, boundary=boundary))

    def tally(self, pairs: Iterable[tuple[int, float]], missed: Iterable[int], spurious: Iterable[int]) -> None:
        """Add matched pairs (category, IoU), and the categories of false negatives and of false positives."""
        for category, iou in pairs:
            self._ious[category].append(iou)
        self._missed.update(missed)
        self._spurious.update(spurious)

    def merge(self, other: PanopticQuality) -> None:
        """Add the images of ``other``, which is not changed; PanopticBlendError if its categories differ."""
        if self._categories != other._categories:
            raise PanopticBlendError(
                "cannot merge panoptic qualities of different categories; construct both with the same list"
            )
        for category, ious in other._ious.items():
            self._ious[category].extend(ious)
        self._spurious.update(other._spurious)
        self._missed.update(other._missed)

    def compute(self) -> PanopticReport:
        """Compute the quality over all images so far; the means are NaN if no class occurs."""
        per_class = {category: self._class_quality(category) for category in self._categories}
        return PanopticReport.of_classes(self._categories.values(), per_class)

    def _class_quality(self, category: int) -> ClassQuality:
        ious = self._ious.get(category, [])
        return class_quality(math.fsum(ious), len(ious), self._spurious[category], self._missed[category])


def class_quality(iou_sum: float, tp: int, fp: int, fn: int) -> ClassQuality:
    """Section 4.2: PQ as the product of segmentation and recognition quality."""
    weight = tp + fp / 2 + fn / 2 or 1
    return ClassQuality(
        pq=iou_sum / weight, sq=iou_sum / (tp or 1), rq=tp / weight, iou_sum=iou_sum, tp=tp, fp=fp, fn=fn
    )


def categories_by_id(categories: Iterable[Category | Mapping[str, object]]) -> dict[int, Category]:
    """Parse the categories of a data set by id; PanopticBlendError if one is no record, or two have the same id."""
    by_id: dict[int, Category] = {}
    records = categories if isinstance(categories, Iterable) else [categories]  # which `parse` refuses
    for category in map(Category.parse, records):
        if category.id in by_id:
            raise PanopticBlendError(
                f"categories `{by_id[category.id].name}` and `{category.name}` share id {category.id}; ids are unique"
            )
        by_id[category.id] = category
    return by_id


def _percent(quality: Quality) -> list[str]:
    figures = quality["pq"], quality["sq"], quality["rq"]
    return ["-" if math.isnan(figure) else f"{100 * figure:.1f}" for figure in figures]


def _mean(classes: Iterable[ClassQuality]) -> GroupQuality:
    """Section 4.2: all classes have the same weight, regardless of their number of segments."""
    seen = [quality for quality in classes if quality["tp"] + quality["fp"] + quality["fn"]]
    n = len(seen)
    if not n:
        return GroupQuality(pq=math.nan, sq=math.nan, rq=math.nan, n=0)
    return GroupQuality(
        pq=math.fsum(quality["pq"] for quality in seen) / n,
        sq=math.fsum(quality["sq"] for quality in seen) / n,
        rq=math.fsum(quality["rq"] for quality in seen) / n,
        n=n,
    )
