"""COCO's twelve figures of weighted sets of images, as the bootstrap of `instance_resampling` needs them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array

from panoptic_blend.metrics.instance_columns import Bools
from panoptic_blend.metrics.instance_matching import AREAS, IOU_THRESHOLDS, InstanceTallies, bit_rows
from panoptic_blend.metrics.instance_report import TWELVE
from panoptic_blend.metrics.precision_recall import AT_50, AT_75, DETECTION_LIMITS, RECALLS
from panoptic_blend.metrics.sparse import Floats, Integers

_TIE = 1e-9
"""Recalls times 100 that are this close below a whole number are compared with ``RECALLS`` itself."""


class WeightedPrecision:
    """The twelve figures of weighted sets of images, and AP of each class.

    An image of weight 2 counts as two images. Precision changes only at detections that match and at the few whose
    matches depend on the IoU threshold; all others are counted once for all thresholds, by a sparse matrix.
    """

    def __init__(self, tallies: InstanceTallies) -> None:
        self.images = len(tallies.images)
        self._classes = [
            [_Events.of(tallies, k, area) for area in range(len(AREAS))] for k in range(len(tallies.categories))
        ]

    def estimate(self, weights: Floats) -> Floats:
        """Figures in the order of ``TWELVE`` and AP of each class (R, 12 + K), for weights (R, images).

        They are NaN where no instance of the truth has a weight.
        """
        by_image = np.ascontiguousarray(weights.T)
        of_classes = np.full((len(self._classes), len(TWELVE), len(weights)), np.nan)
        for figures, events in zip(of_classes, self._classes, strict=True):
            every, *sizes = map(partial(_figures, weights=by_image), events)
            figures[:3] = every.precision.mean(axis=0), every.precision[AT_50], every.precision[AT_75]
            figures[3:6] = [size.precision.mean(axis=0) for size in sizes]
            figures[6:9] = every.recall.mean(axis=1)
            figures[9:] = [size.recall[-1].mean(axis=0) for size in sizes]
        number = (~np.isnan(of_classes)).sum(axis=0)
        means = np.nansum(of_classes, axis=0) / np.where(number, number, np.nan)
        return np.concatenate([means, of_classes[:, 0]]).T

    def occurrences(self) -> Integers:
        """Number of images (12 + K,) with an instance that counts for each figure and class."""
        every, *sizes = ([events[area] for events in self._classes] for area in range(len(AREAS)))
        of_all = _number_of_images(every)
        of_sizes = [_number_of_images(size) for size in sizes]
        figures = [*[of_all] * 3, *of_sizes, *[of_all] * 3, *of_sizes]
        return np.array([*figures, *(_number_of_images([events]) for events in every)], dtype=np.int64)


@dataclass(frozen=True, eq=False)
class _Events:
    """The m detections of a class, best first, at which precision changes, for one range of areas."""

    truth: Integers
    """Positions of the images of the true instances that count; one for each instance."""
    image: Integers
    """Positions (m,) of the images of the detections."""
    rank: npt.NDArray[np.uint8]
    """Their ranks (m,) within image and class."""
    is_true: Bools
    """Which are matched (T, m), by IoU threshold."""
    is_extra: Bools
    """Which (T, m) count, but are not among ``others``."""
    others: csr_array
    """Number (m, images) of detections up to each one, but not up to the one before, that count at every threshold."""

    @classmethod
    def of(cls, tallies: InstanceTallies, k: int, area: int) -> _Events:
        own = slice(tallies.starts[k], tallies.starts[k + 1])
        matched, ignored = tallies.matched[area, own], tallies.ignored[area, own]
        is_steady = ignored == 0
        is_mixed = ~is_steady & (ignored != 2 ** len(IOU_THRESHOLDS) - 1)
        events = np.flatnonzero((matched & ~ignored != 0) | is_mixed)
        steady = np.flatnonzero(is_steady[: events[-1] + 1 if len(events) else 0])
        places, image = np.searchsorted(events, steady), tallies.image[own]
        counted = ~bit_rows(ignored[events])
        return cls(
            truth=tallies.truth_image[tallies.truth_counts[area] & (tallies.truth_class == k)],
            image=image[events],
            rank=tallies.rank[own][events],
            is_true=bit_rows(matched[events]) & counted,
            is_extra=counted & is_mixed[events],
            others=csr_array((np.ones(len(steady)), (places, image[steady])), shape=(len(events), len(tallies.images))),
        )


@dataclass(frozen=True, eq=False)
class _Figures:
    """Mean precision (T, R) over ``RECALLS``, and recall (M, T, R) by the number of detections per image."""

    precision: Floats
    recall: Floats


def _figures(events: _Events, weights: Floats) -> _Figures:
    """The figures of one class and range of areas for weights (images, R); NaN where the truth has no weight."""
    total = weights[events.truth].sum(axis=0)
    total[total == 0] = np.nan
    own, others = weights[events.image], np.cumsum(events.others @ weights, axis=0)
    precision = np.zeros((len(IOU_THRESHOLDS), len(total)))
    for t, (is_true, is_extra) in enumerate(zip(events.is_true, events.is_extra, strict=True)):
        chosen = np.flatnonzero(is_true | is_extra)
        if len(chosen):
            found, seen = own[chosen], others[chosen]
            if is_extra.any():
                seen += np.cumsum(found * is_extra[chosen, None], axis=0)
                found *= is_true[chosen, None]
            precision[t] = _mean_precision(np.cumsum(found, axis=0), seen, total)
    allowed = events.rank < np.array(DETECTION_LIMITS)[:, None, None]
    return _Figures(precision + 0 * total, (events.is_true & allowed).astype(np.float64) @ own / total)


def _mean_precision(found: Floats, seen: Floats, total: Floats) -> Floats:
    """The mean over ``RECALLS`` of the precision (R,), where ``found`` of ``seen`` (m, R) are true, ``total`` exist."""
    highest = np.maximum.accumulate((found / (seen + np.spacing(1)))[::-1], axis=0)[::-1]
    recall = found / np.where(np.isnan(total), 1, total)
    reached = (100 * recall + _TIE).astype(np.int32)
    reached -= RECALLS.take(reached) > recall
    mean: Floats = reached[0] * highest[0] + np.einsum("ij,ij->j", reached[1:] - reached[:-1], highest[1:])
    return (mean + highest[0]) / len(RECALLS)  # recall 0 is reached at once


def _number_of_images(events: Sequence[_Events]) -> int:
    return len(np.unique(np.concatenate([np.zeros(0, dtype=np.int64), *(part.truth for part in events)])))
