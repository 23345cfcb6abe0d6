"""Bootstrap intervals of PQ over images, and paired comparisons of two result sets on the same resamples.

The intervals are percentile intervals (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, chapter 13). A
resample draws as many images as there are, with replacement; its PQ is computed over the classes that occur in it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_blend.metrics.details import ImageKey, Tallies
from panoptic_blend.metrics.panoptic_quality import GROUPS
from panoptic_blend.metrics.sparse import Floats
from panoptic_blend.structures import PanopticBlendError

_CHUNK = 100
"""Number of resamples in memory at a time."""


@dataclass(frozen=True)
class Interval:
    """A value over all images, and the bounds of its bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """Intervals of PQ of ``"All"``, ``"Things"`` and ``"Stuff"``, and of every category id that occurs."""

    groups: dict[str, Interval]
    per_class: dict[int, Interval]


@dataclass(frozen=True)
class ImageDifference:
    """PQ of one image in two result sets, over the classes that occur in it; NaN if none occurs."""

    image: ImageKey
    first: float
    second: float

    @property
    def difference(self) -> float:
        """Second minus first: positive if the second is better."""
        return self.second - self.first


@dataclass(frozen=True)
class PairedComparison:
    """PQ of the second result set minus PQ of the first, with intervals.

    ``better`` is the fraction of resamples, by group, in which the second has the higher PQ; ties count half.
    ``images`` are sorted by absolute difference, the largest first; images without a difference come last.
    """

    groups: dict[str, Interval]
    per_class: dict[int, Interval]
    better: dict[str, float]
    images: list[ImageDifference]


def intervals(tallies: Tallies, *, resamples: int = 1000, level: float = 0.95, seed: int = 0) -> Intervals:
    """Compute percentile intervals of PQ; the interval of a class is over the resamples in which it occurs."""
    qualities = _Qualities(tallies)
    drawn = _concatenated([qualities.quality(weights) for weights in _draws(len(tallies.images), resamples, seed)])
    return _intervals(tallies, qualities.quality(np.ones((1, len(tallies.images)))), drawn, level)


def compare_results(
    first: Tallies, second: Tallies, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> PairedComparison:
    """Compare two result sets for the same images; both are evaluated on the same resamples.

    Raises PanopticBlendError if the images, the categories or the truth of an image differ.
    """
    _require_same_truth(first, second)
    one, two, size = _Qualities(first), _Qualities(second), len(first.images)
    drawn = _concatenated([two.quality(weights) - one.quality(weights) for weights in _draws(size, resamples, seed)])
    all_images = np.ones((1, size))
    found = _intervals(first, two.quality(all_images) - one.quality(all_images), drawn, level)
    wins = np.where(np.isnan(drawn), 0, np.sign(drawn)).mean(axis=0) if drawn.size else np.zeros(3)
    better = {group: float((1 + wins[i]) / 2) for i, group in enumerate(found.groups)}
    images = [
        ImageDifference(image, float(a), float(b))
        for image, a, b in zip(first.images, image_qualities(first), image_qualities(second), strict=True)
    ]
    images.sort(key=lambda image: (np.isnan(image.difference), -abs(image.difference)))
    return PairedComparison(found.groups, found.per_class, better, images)


def image_qualities(tallies: Tallies) -> Floats:
    """PQ of each image alone (images,), a mean over the classes that occur in it; NaN if none occurs."""
    weight = tallies.tp + (tallies.fp + tallies.fn) / 2
    seen = weight > 0
    quality = np.divide(tallies.iou_sum, weight, out=np.zeros_like(weight), where=seen)
    number = seen.sum(axis=1)
    return np.divide(quality.sum(axis=1), number, out=np.full(len(number), np.nan), where=number > 0)


class _Qualities:
    """PQ of weighted sets of images."""

    def __init__(self, tallies: Tallies) -> None:
        self._iou_sum, self._weight = tallies.iou_sum, tallies.tp + (tallies.fp + tallies.fn) / 2
        is_thing = np.array([category.is_thing for category in tallies.categories], dtype=np.bool_)
        self._groups = np.stack([np.ones_like(is_thing), is_thing, ~is_thing], axis=1).astype(np.float64)

    def quality(self, weights: Floats) -> Floats:
        """PQ (R, 3 + C) of groups and classes for weights (R, images); 0 or NaN if they do not occur."""
        weight = weights @ self._weight
        quality = np.divide(weights @ self._iou_sum, weight, out=np.full_like(weight, np.nan), where=weight > 0)
        seen = (weight > 0).astype(np.float64) @ self._groups
        means = np.nan_to_num(quality) @ self._groups / np.maximum(seen, 1)
        return np.concatenate([means, quality], axis=1)


def _draws(size: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield the number of times that each image is in each resample, in chunks (R, size) of resamples."""
    generator = np.random.default_rng(seed)
    for start in range(0, resamples if size else 0, _CHUNK):
        count = min(_CHUNK, resamples - start)
        indices = generator.integers(0, size, (count, size)) + size * np.arange(count)[:, None]
        yield np.bincount(indices.ravel(), minlength=count * size).reshape(count, size).astype(np.float64)


def _intervals(tallies: Tallies, value: Floats, drawn: Floats, level: float) -> Intervals:
    """Intervals from the PQ of all images ``value`` (1, 3 + C) and of resamples ``drawn`` (R, 3 + C)."""
    found = [
        Interval(float(figure), *_bounds(drawn[:, i] if drawn.size else value[:, i], level))
        for i, figure in enumerate(value[0])
    ]
    groups = dict(zip(GROUPS, found, strict=False))
    classes = zip(tallies.categories, found[3:], strict=True)
    return Intervals(
        groups, {category.id: interval for category, interval in classes if interval.value == interval.value}
    )


def _bounds(samples: Floats, level: float) -> tuple[float, float]:
    known = samples[~np.isnan(samples)]
    if not known.size:
        return 0.0, 1.0  # without samples, PQ may be anything
    low, high = np.quantile(known, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _concatenated(parts: list[npt.NDArray[np.float64]]) -> Floats:
    return np.concatenate(parts) if parts else np.zeros((0, 0))


def _require_same_truth(first: Tallies, second: Tallies) -> None:
    if first.categories != second.categories:
        raise PanopticBlendError("the result sets have different categories; compare results for the same data set")
    if first.images != second.images:
        image = min(set(first.images) ^ set(second.images), key=str)
        raise PanopticBlendError(f"image {image!r} is in one result set only; compare results for the same images")
    differs = ((first.tp + first.fn) != (second.tp + second.fn)).any(axis=1)
    if differs.any():
        image = first.images[int(differs.argmax())]
        raise PanopticBlendError(
            f"image {image!r} has a different truth in the second result set; evaluate both with the same truth"
        )
