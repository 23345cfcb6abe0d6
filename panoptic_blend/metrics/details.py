"""Which segments of which image were found, and which were not: the state that all further figures derive from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from panoptic_blend.metrics.causes import Cause, Diagnosis, diagnose
from panoptic_blend.metrics.conversion import PanopticLike, panoptic_map
from panoptic_blend.metrics.overlaps import Comparison, Floats, SegmentTable, compare, match
from panoptic_blend.metrics.panoptic_quality import PanopticQuality, PanopticReport, categories_by_id
from panoptic_blend.structures import Category, PanopticBlendError

Outcome = Literal["tp", "fp", "fn", "ignored"]
ImageKey = int | str

SIZES = {"small": (0, 32**2), "medium": (32**2, 96**2), "large": (96**2, 2**62)}
"""Areas of COCO's sizes in pixels, from the first to below the second."""


@dataclass(frozen=True)
class SegmentRow:
    """One segment of the truth or of a prediction; `PanopticDetails.segments` says what the fields mean."""

    image: ImageKey
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
    """What every image adds to every class: float64 (images, classes), classes in the order of ``categories``."""

    images: tuple[ImageKey, ...]
    categories: tuple[Category, ...]
    iou_sum: Floats
    tp: Floats
    fp: Floats
    fn: Floats


class PanopticDetails:
    """Keeps of every image what its segments share, a few kilobytes, and answers questions about all of them.

    ``categories`` as for `PanopticQuality`. The state can be pickled; merging is exact, associative and, because
    images are looked at in the order of their keys, does not depend on who saw which image. ``boundary`` also
    looks at the boundaries of the segments, for `compute`.
    """

    def __init__(self, categories: Sequence[Category | Mapping[str, object]], *, boundary: bool = False) -> None:
        self.categories = categories_by_id(categories)
        self.boundary = boundary
        self._comparisons: dict[ImageKey, Comparison] = {}

    def update(self, image: ImageKey, truth: PanopticLike, prediction: PanopticLike) -> None:
        """Add an image under its id or name; maps as for `PanopticQuality.update`, which raises the same."""
        pair = panoptic_map(truth, self.categories, "truth"), panoptic_map(prediction, self.categories, "prediction")
        self.add(image, compare(*pair, boundary=self.boundary))

    def add(self, image: ImageKey, comparison: Comparison) -> None:
        """Add an image that is compared already, of known categories; raises PanopticBlendError for one seen before."""
        if image in self._comparisons:
            raise PanopticBlendError(f"image {image!r} is added twice; keep one")
        if self.boundary and comparison.boundary_entries is None:
            raise PanopticBlendError(f"image {image!r}: its boundaries were not compared; give boundary=True")
        self._comparisons[image] = comparison

    def merge(self, other: PanopticDetails) -> None:
        """Add the images of ``other``, which is left as it is.

        Raises PanopticBlendError, and adds nothing, for other categories or images that are here already.
        """
        if (self.categories, self.boundary) != (other.categories, other.boundary):
            raise PanopticBlendError("cannot merge details of different categories or boundaries; build both alike")
        both = sorted(self._comparisons.keys() & other._comparisons.keys(), key=str)
        if both:
            raise PanopticBlendError(f"cannot merge: image {both[0]!r} is in both; give each image to one of them")
        self._comparisons |= other._comparisons

    def __len__(self) -> int:
        return len(self._comparisons)

    @property
    def images(self) -> tuple[ImageKey, ...]:
        """Keys of the images: numbers in ascending order, then names."""
        return tuple(sorted(self._comparisons, key=lambda image: (isinstance(image, str), image)))

    def comparisons(self) -> Iterator[tuple[ImageKey, Comparison]]:
        """Every image and what its segments share, in the order of `images`."""
        for image in self.images:
            yield image, self._comparisons[image]

    def compute(self, *, boundary: bool = False) -> PanopticReport:
        """PQ, SQ and RQ as `PanopticQuality` gives them, or with ``boundary`` Boundary PQ, SQ and RQ.

        Boundary PQ raises PanopticBlendError where boundaries were not looked at.
        """
        if boundary and not self.boundary:
            raise PanopticBlendError("boundaries were not compared; make PanopticDetails with boundary=True")
        quality = PanopticQuality(tuple(self.categories.values()))
        for _, comparison in self.comparisons():
            quality.add(comparison, boundary=boundary)
        return quality.compute()

    def by_size(self) -> dict[str, PanopticReport]:
        """PQ of small, medium and large segments (`SIZES`).

        A matched pair and a missed segment count where the truth's area belongs, a false positive where its own does.
        """
        qualities = {size: PanopticQuality(tuple(self.categories.values())) for size in SIZES}
        for _, comparison in self.comparisons():
            truth, prediction, matches = comparison.truth, comparison.prediction, match(comparison)
            for size, (low, high) in SIZES.items():
                here = (low <= truth.areas) & (truth.areas < high)
                also = (low <= prediction.areas) & (prediction.areas < high)
                pairs = here[matches.truth]
                qualities[size].tally(
                    zip(truth.categories[matches.truth[pairs]].tolist(), matches.iou[pairs].tolist(), strict=True),
                    truth.categories[matches.missed[here[matches.missed]]].tolist(),
                    prediction.categories[matches.spurious[also[matches.spurious]]].tolist(),
                )
        return {size: quality.compute() for size, quality in qualities.items()}

    def tallies(self) -> Tallies:
        """What every image adds to every class, from which resampling works."""
        places = {category: place for place, category in enumerate(self.categories)}
        iou_sum, tp, fp, fn = (np.zeros((len(self), len(places))) for _ in range(4))
        for row, (_, comparison) in enumerate(self.comparisons()):
            matches = match(comparison)
            truth = [places[category] for category in comparison.truth.categories.tolist()]
            prediction = [places[category] for category in comparison.prediction.categories.tolist()]
            for index, iou in zip(matches.truth, matches.iou, strict=True):
                iou_sum[row, truth[index]] += iou
                tp[row, truth[index]] += 1
            for index in matches.missed:
                fn[row, truth[index]] += 1
            for index in matches.spurious:
                fp[row, prediction[index]] += 1
        return Tallies(self.images, tuple(self.categories.values()), iou_sum, tp, fp, fn)

    def diagnoses(self) -> Iterator[tuple[ImageKey, Comparison, Diagnosis]]:
        """Every image with the causes of its mistakes."""
        things = frozenset(category.id for category in self.categories.values() if category.is_thing)
        for image, comparison in self.comparisons():
            yield image, comparison, diagnose(comparison, things)

    def segments(self) -> Iterator[SegmentRow]:
        """One row for each segment of the truth and of the predictions, image by image.

        ``outcome``: tp (in a matched pair), fn (truth), fp (prediction), or ignored: crowds of the truth, and
        predictions forgiven for lying on void or crowd. ``iou`` and ``matched_with``: of the pair, else None.
        ``cause``: of a false negative or positive (`Cause`). ``nearest``: the segment of the other side, of any
        class, with which the IoU, ``nearest_iou``, is largest; None if it touches none.
        """
        for image, comparison, diagnosis in self.diagnoses():
            yield from segment_rows(image, comparison, diagnosis)


def segment_rows(image: ImageKey, comparison: Comparison, diagnosis: Diagnosis) -> Iterator[SegmentRow]:
    """What `PanopticDetails.segments` says of one image, whose mistakes have the causes of ``diagnosis``."""
    matches, iou = diagnosis.matches, diagnosis.iou
    pairs = list(zip(matches.truth.tolist(), matches.prediction.tolist(), matches.iou.tolist(), strict=True))
    found = {row: (column, iou) for row, column, iou in pairs}
    matched = {column: (row, iou) for row, column, iou in pairs}
    for index in _existing(comparison.truth):
        yield _row(image, "truth", index, comparison, diagnosis, found.get(index), iou[index])
    for index in _existing(comparison.prediction):
        yield _row(image, "prediction", index, comparison, diagnosis, matched.get(index), iou[:, index])


def _row(
    image: ImageKey,
    side: Literal["truth", "prediction"],
    index: int,
    comparison: Comparison,
    diagnosis: Diagnosis,
    pair: tuple[int, float] | None,
    ious: Floats,
) -> SegmentRow:
    """Row of segment ``index``; ``pair``: its partner and their IoU; ``ious`` with all segments of the other side."""
    own, other, causes = comparison.truth, comparison.prediction, diagnosis.truth
    if side == "prediction":
        own, other, causes = comparison.prediction, comparison.truth, diagnosis.prediction
    nearest = int(ious.argmax()) if ious.any() else None
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
        nearest=None if nearest is None else int(other.ids[nearest]),
        nearest_category=None if nearest is None else int(other.categories[nearest]),
        nearest_iou=0.0 if nearest is None else float(ious[nearest]),
    )


def _existing(side: SegmentTable) -> list[int]:
    return np.flatnonzero(side.areas > 0).tolist()
