"""Per-image overlaps of truth and prediction, from which all detailed metrics are computed."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from panoptic_blend.metrics.causes import Cause, Diagnosis, diagnose
from panoptic_blend.metrics.conversion import LABEL_DIVISOR, PanopticLike, panoptic_pair, require_divisor
from panoptic_blend.metrics.overlaps import Comparison, SegmentTable, compare
from panoptic_blend.metrics.panoptic_quality import PanopticQuality, PanopticReport, categories_by_id
from panoptic_blend.metrics.sparse import Floats
from panoptic_blend.structures import Category, ImageId, PanopticBlendError

Outcome = Literal["tp", "fp", "fn", "ignored"]

SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 2**62)}
"""COCO's size classes: minimum area in pixels, and the area below which a segment is."""


@dataclass(frozen=True)
class SegmentRow:
    """One segment of the truth or of a prediction; `PanopticDetails.segments` defines the fields."""

    image: ImageId
    side: Literal["truth", "prediction"]
    segment: int
    category: int
    area: int
    outcome: Outcome
    iou: float | None
    matched_with: int | None
    cause: Cause | None
    nearest: int | None
    nearest_category: int | None
    nearest_iou: float


@dataclass(frozen=True, eq=False)
class Tallies:
    """IoU sums and counts per image and class: float64 (images, classes), classes in the order of ``categories``."""

    images: tuple[ImageId, ...]
    categories: tuple[Category, ...]
    iou_sum: Floats
    tp: Floats
    fp: Floats
    fn: Floats


class PanopticDetails:
    """Panoptic quality in detail: by image, segment, size and cause of error, with Boundary PQ.

    The state consists of the overlaps of the segments of every image, a few kilobytes each, and can be pickled.
    Merging is exact and associative, and because images are processed in the order of their keys, the results do not
    depend on the distribution of the images. ``categories`` and ``label_divisor`` are as for `PanopticQuality`;
    ``boundary`` also computes the overlaps of boundaries, for Boundary PQ.
    """

    def __init__(
        self,
        categories: Sequence[Category | Mapping[str, object]],
        *,
        boundary: bool = False,
        label_divisor: int = LABEL_DIVISOR,
    ) -> None:
        self.categories = categories_by_id(categories)
        self.boundary = boundary
        self._label_divisor = require_divisor(label_divisor)
        self._comparisons: dict[ImageId, Comparison] = {}

    def update(self, image: ImageId, truth: PanopticLike, prediction: PanopticLike) -> None:
        """Add an image under its id or name; maps and errors are as for `PanopticQuality.update`."""
        pair = panoptic_pair(truth, prediction, self.categories, self._label_divisor)
        self.add(image, compare(*pair, boundary=self.boundary))

    def add(self, image: ImageId, comparison: Comparison) -> None:
        """Add an image that is already compared, with known categories; PanopticBlendError if it was added before."""
        if image in self._comparisons:
            raise PanopticBlendError(f"image {image!r} is added twice; keep one")
        if self.boundary and comparison.boundary is None:
            raise PanopticBlendError(
                f"image {image!r}: its boundaries were not compared; call compare with boundary=True"
            )
        self._comparisons[image] = comparison

    def merge(self, other: PanopticDetails) -> None:
        """Add the images of ``other``, which is not changed.

        Raises PanopticBlendError, and adds nothing, if categories differ or an image is in both.
        """
        if (self.categories, self.boundary) != (other.categories, other.boundary):
            raise PanopticBlendError(
                "cannot merge details with different categories or boundary; construct both with the same arguments"
            )
        both = sorted(self._comparisons.keys() & other._comparisons.keys(), key=str)
        if both:
            raise PanopticBlendError(f"cannot merge: image {both[0]!r} is in both; give each image to one of them")
        self._comparisons |= other._comparisons

    def subset(self, images: Iterable[ImageId]) -> PanopticDetails:
        """The details of some of the images; KeyError for one that was not added."""
        part = PanopticDetails(
            tuple(self.categories.values()), boundary=self.boundary, label_divisor=self._label_divisor
        )
        part._comparisons = {image: self._comparisons[image] for image in images}
        return part

    def __len__(self) -> int:
        return len(self._comparisons)

    @property
    def images(self) -> tuple[ImageId, ...]:
        """Keys of the images: ids in ascending order, then names."""
        return tuple(sorted(self._comparisons, key=lambda image: (isinstance(image, str), image)))

    def comparisons(self) -> Iterator[tuple[ImageId, Comparison]]:
        """Yield the key and the comparison of every image, in the order of `images`."""
        for image in self.images:
            yield image, self._comparisons[image]

    def compute(self, *, boundary: bool = False) -> PanopticReport:
        """PQ, SQ and RQ as from `PanopticQuality`, or with ``boundary`` Boundary PQ, SQ and RQ.

        Raises PanopticBlendError for Boundary PQ if boundaries were not compared.
        """
        if boundary and not self.boundary:
            raise PanopticBlendError("boundaries were not compared; construct PanopticDetails with boundary=True")
        quality = PanopticQuality(tuple(self.categories.values()))
        for _, comparison in self.comparisons():
            quality.add(comparison, boundary=boundary)
        return quality.compute()

    def by_size(self) -> dict[str, PanopticReport]:
        """PQ of small, medium and large segments (`SIZES`).

        A matched pair and a false negative count for the size of the truth segment, a false positive for its own size.
        """
        qualities = {size: PanopticQuality(tuple(self.categories.values())) for size in SIZES}
        for _, comparison in self.comparisons():
            truth, prediction, matches = comparison.truth, comparison.prediction, comparison.matches
            for size, (low, high) in SIZES.items():
                in_truth = (low <= truth.areas) & (truth.areas < high)
                in_prediction = (low <= prediction.areas) & (prediction.areas < high)
                pairs = in_truth[matches.truth]
                qualities[size].tally(
                    zip(truth.categories[matches.truth[pairs]].tolist(), matches.iou[pairs].tolist(), strict=True),
                    truth.categories[matches.missed[in_truth[matches.missed]]].tolist(),
                    prediction.categories[matches.spurious[in_prediction[matches.spurious]]].tolist(),
                )
        return {size: quality.compute() for size, quality in qualities.items()}

    def tallies(self) -> Tallies:
        """IoU sums and counts per image and class, for `resampling`."""
        columns = {category: column for column, category in enumerate(self.categories)}
        iou_sum, tp, fp, fn = (np.zeros((len(self), len(columns))) for _ in range(4))
        for row, (_, comparison) in enumerate(self.comparisons()):
            matches = comparison.matches
            truth = [columns[category] for category in comparison.truth.categories.tolist()]
            prediction = [columns[category] for category in comparison.prediction.categories.tolist()]
            for index, iou in zip(matches.truth, matches.iou, strict=True):
                iou_sum[row, truth[index]] += iou
                tp[row, truth[index]] += 1
            for index in matches.missed:
                fn[row, truth[index]] += 1
            for index in matches.spurious:
                fp[row, prediction[index]] += 1
        return Tallies(self.images, tuple(self.categories.values()), iou_sum, tp, fp, fn)

    def diagnoses(self) -> Iterator[tuple[ImageId, Comparison, Diagnosis]]:
        """Yield the key, the comparison and the diagnosed causes of every image."""
        things = frozenset(category.id for category in self.categories.values() if category.is_thing)
        for image, comparison in self.comparisons():
            yield image, comparison, diagnose(comparison, things)

    def segments(self) -> Iterator[SegmentRow]:
        """Yield one row for each segment of the truth and of the predictions, image by image.

        ``outcome`` is tp (in a matched pair), fn (truth), fp (prediction), or ignored (crowds of the truth, and
        unmatched predictions that lie mostly on void or crowd). ``iou`` and ``matched_with`` describe the matched
        pair, else they are None. ``cause`` is that of a false negative or positive. ``nearest`` is the segment of any
        class in the other map with the largest IoU, ``nearest_iou``; None if none overlaps.
        """
        for image, comparison, diagnosis in self.diagnoses():
            yield from segment_rows(image, comparison, diagnosis)


def segment_rows(image: ImageId, comparison: Comparison, diagnosis: Diagnosis) -> Iterator[SegmentRow]:
    """Yield the rows of `PanopticDetails.segments` for one image."""
    matches = diagnosis.matches
    pairs = list(zip(matches.truth.tolist(), matches.prediction.tolist(), matches.iou.tolist(), strict=True))
    found = {row: (column, iou) for row, column, iou in pairs}
    matched = {column: (row, iou) for row, column, iou in pairs}
    for index in _existing(comparison.truth):
        yield _row(image, "truth", index, comparison, diagnosis, found.get(index))
    for index in _existing(comparison.prediction):
        yield _row(image, "prediction", index, comparison, diagnosis, matched.get(index))


def _row(
    image: ImageId,
    side: Literal["truth", "prediction"],
    index: int,
    comparison: Comparison,
    diagnosis: Diagnosis,
    pair: tuple[int, float] | None,
) -> SegmentRow:
    """The row of segment ``index``, with its match ``pair`` (index, IoU)."""
    own, other = comparison.truth, comparison.prediction
    causes, neighbors = diagnosis.truth, diagnosis.nearest_prediction
    if side == "prediction":
        own, other = other, own
        causes, neighbors = diagnosis.prediction, diagnosis.nearest_truth
    nearest = neighbors.get(index)
    outcome: Outcome = "ignored"
    if pair is not None:
        outcome = "tp"
    elif index in causes:
        outcome = "fn" if side == "truth" else "fp"
    return SegmentRow(
        image=image,
        side=side,
        segment=int(own.ids[index]),
        category=int(own.categories[index]),
        area=int(own.areas[index]),
        outcome=outcome,
        iou=None if pair is None else pair[1],
        matched_with=None if pair is None else int(other.ids[pair[0]]),
        cause=causes.get(index),
        nearest=None if nearest is None else int(other.ids[nearest[0]]),
        nearest_category=None if nearest is None else int(other.categories[nearest[0]]),
        nearest_iou=0.0 if nearest is None else nearest[1],
    )


def _existing(table: SegmentTable) -> list[int]:
    return np.flatnonzero(table.areas > 0).tolist()
