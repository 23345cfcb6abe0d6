"""Bootstrap intervals of PQ over images, and paired comparisons of two result sets on the same resamples.

A resample draws as many images as there are, with replacement; its PQ is computed over the classes that occur in it.
The intervals are studentized (bootstrap-t: Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 12.5).
The PQ of a class with few segments is too low on average, and that of its resamples is too low once more. A percentile
interval adds up both, a studentized one corrects them: ``python -m evaluation.interval_coverage`` compares methods.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from panoptic_blend.metrics.details import Tallies
from panoptic_blend.metrics.panoptic_quality import GROUPS
from panoptic_blend.metrics.sparse import Floats
from panoptic_blend.metrics.weighted_quality import WeightedQuality
from panoptic_blend.structures import Category, ImageId, PanopticBlendError

ENOUGH_IMAGES = 6
"""Number of images an interval needs: of five, one resample in 17 has only one."""

_ROUNDING = 1e-9
"""What is smaller may be a rounding error."""

_DRAWN_AT_ONCE = 500_000
"""Number of images, in all resamples together, that are in memory at a time."""


@dataclass(frozen=True)
class Interval:
    """A value over all images, and the bounds of its bootstrap interval; NaN for a group of which no class occurs."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Intervals:
    """Intervals of PQ of ``"All"``, ``"Things"`` and ``"Stuff"``, and of every category id that occurs.

    ``too_rare`` are the ids of classes that occur in fewer than ``ENOUGH_IMAGES`` images. Their intervals span all that
    PQ can be, and they make the intervals of the groups unreliable.
    """

    groups: dict[str, Interval]
    per_class: dict[int, Interval]
    too_rare: list[int]


@dataclass(frozen=True)
class ImageDifference:
    """PQ of one image in two result sets, over the classes that occur in it; NaN if none occurs."""

    image: ImageId
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
    """Compute studentized intervals of PQ; the interval of a class is over the resamples in which it occurs."""
    return _intervals(tallies, Bootstrap(WeightedQuality(tallies), resamples, seed), level, lowest=0)


def compare_results(
    first: Tallies, second: Tallies, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> PairedComparison:
    """Compare two result sets for the same images; both are evaluated on the same resamples.

    Raises PanopticBlendError if the images, the categories or the truth of an image differ.
    """
    _require_same_truth(first, second)
    bootstrap = Bootstrap(WeightedQuality(second, minus=first), resamples, seed)
    found = _intervals(first, bootstrap, level, lowest=-1)
    drawn = bootstrap.values[:, : len(GROUPS)]
    wins = np.sign(np.nan_to_num(drawn)).sum(axis=0) / max(len(drawn), 1)
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


def difference(
    first: Tallies, second: Tallies, *, resamples: int = 1000, level: float = 0.95, seed: int = 0
) -> tuple[Interval, float]:
    """PQ of all classes of the second result set minus that of the first, with its interval and `Bootstrap.p_value`.

    Raises the errors of `compare_results`.
    """
    _require_same_truth(first, second)
    bootstrap = Bootstrap(WeightedQuality(second, minus=first), resamples, seed)
    return _intervals(first, bootstrap, level, lowest=-1).groups["All"], bootstrap.p_value(0)


class Bootstrap:
    """PQ of all images ``value`` (3 + C,) and of resamples ``values`` (R, 3 + C), with standard errors.

    The columns are those of `WeightedQuality`.
    """

    def __init__(self, quality: WeightedQuality, resamples: int, seed: int) -> None:
        everything = quality.estimate(np.ones((1, quality.images)))
        parts = [quality.estimate(weights) for weights in draws(quality.images, resamples, seed)]
        self.value, self.error = everything.value[0], everything.error[0]
        self.values = np.concatenate([everything.value[:0], *(part.value for part in parts)])
        self.errors = np.concatenate([everything.error[:0], *(part.error for part in parts)])
        self.occurrences, self.influence = quality.occurrences(), quality.influence()

    def bounds(self, column: int, level: float) -> tuple[float, float] | None:
        """Bounds of the studentized interval; None for too few images.

        The deviations of resamples are taken in units of their own standard error. Where all differences come from very
        few images, resamples without these have no standard error, and the interval is a percentile interval instead.
        """
        if not self._is_enough(column):
            return None
        tails, deviations = [(1 - level) / 2, (1 + level) / 2], self._deviations(column)
        if deviations is None:
            low, high = np.quantile(self._known(column), tails)
        else:
            high, low = self.value[column] - np.quantile(deviations, tails) * self.error[column]
        return float(low), float(high)

    def p_value(self, column: int) -> float:
        """Two-sided p-value of the hypothesis that the value is 0; NaN for too few images.

        It is twice the smaller share of resamples beyond 0, of R + 1, in which the data are counted too (Davison and
        Hinkley, Bootstrap Methods and their Application, 1997, section 4.4): 1 - level of the interval of `bounds` that
        just reaches 0.
        """
        if not self._is_enough(column):
            return math.nan
        deviations = self._deviations(column)
        if deviations is None:
            places, zero = self._known(column), 0.0
        else:
            places, zero = deviations, self.value[column] / max(self.error[column], _ROUNDING)
        beyond = min((places >= zero).sum(), (places <= zero).sum())
        return float(min(1, 2 * (1 + beyond) / (1 + len(places))))

    def _is_enough(self, column: int) -> bool:
        return bool(self.occurrences[column] >= ENOUGH_IMAGES and self._known(column).size)

    def _known(self, column: int) -> Floats:
        """The values of the resamples in which the group or class occurs."""
        return self.values[~np.isnan(self.values[:, column]), column]

    def _deviations(self, column: int) -> Floats | None:
        """The deviations of resamples in units of their standard error; None if they come from very few images."""
        moves = np.abs(self.influence[:, column])
        if (moves > max(moves.max() / 10, _ROUNDING)).sum() < ENOUGH_IMAGES:
            return None
        errors = self.errors[~np.isnan(self.values[:, column]), column]
        return (self._known(column) - self.value[column]) / np.maximum(errors, _ROUNDING)


def draws(size: int, resamples: int, seed: int) -> Iterator[Floats]:
    """Yield the number of times that each image is in each resample, in chunks (R, size) of resamples."""
    generator = np.random.default_rng(seed)
    chunk = max(1, _DRAWN_AT_ONCE // max(size, 1))
    for start in range(0, resamples if size else 0, chunk):
        count = min(chunk, resamples - start)
        indices = generator.integers(0, size, (count, size)) + size * np.arange(count)[:, None]
        yield np.bincount(indices.ravel(), minlength=count * size).reshape(count, size).astype(np.float64)


def _intervals(tallies: Tallies, bootstrap: Bootstrap, level: float, lowest: float) -> Intervals:
    """Intervals of groups and classes within ``lowest`` to 1, which include the value."""
    found = []
    for column, value in enumerate(bootstrap.value.tolist()):
        if math.isnan(value):
            found.append(Interval(math.nan, math.nan, math.nan))
            continue
        low, high = bootstrap.bounds(column, level) or (lowest, 1.0)
        found.append(Interval(value, min(max(low, lowest), value), max(min(high, 1.0), value)))
    columns = zip(tallies.categories, found[3:], bootstrap.value[3:], bootstrap.occurrences[3:], strict=True)
    known = [(category.id, interval, images) for category, interval, value, images in columns if not np.isnan(value)]
    return Intervals(
        groups=dict(zip(GROUPS, found, strict=False)),
        per_class={id: interval for id, interval, _ in known},
        too_rare=[id for id, _, images in known if images < ENOUGH_IMAGES],
    )


def _require_same_truth(first: Tallies, second: Tallies) -> None:
    require_same_images(first, second)
    differs = ((first.tp + first.fn) != (second.tp + second.fn)).any(axis=1)
    if differs.any():
        raise different_truth(first.images[int(differs.argmax())])


class ComparedSet(Protocol):
    """A result set that can be compared with another one."""

    @property
    def images(self) -> tuple[ImageId | None, ...]:
        """Ids of the images."""

    @property
    def categories(self) -> tuple[Category, ...]:
        """The categories that are scored."""


def require_same_images(first: ComparedSet, second: ComparedSet) -> None:
    """Raise an error unless two result sets have the same categories and images."""
    if first.categories != second.categories:
        raise PanopticBlendError("the result sets have different categories; compare results for the same data set")
    if first.images != second.images:
        image = min(set(first.images) ^ set(second.images), key=str)
        raise PanopticBlendError(f"image {image!r} is in one result set only; compare results for the same images")


def different_truth(image: ImageId | None) -> PanopticBlendError:
    """The error for an image whose truth differs between two result sets."""
    return PanopticBlendError(
        f"image {image!r} has a different truth in the second result set; evaluate both with the same truth"
    )
