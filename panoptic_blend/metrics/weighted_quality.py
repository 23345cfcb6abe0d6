"""PQ of weighted sets of images with standard errors, as the bootstrap of `resampling` needs it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations_with_replacement

import numpy as np

from panoptic_blend.metrics.details import Tallies
from panoptic_blend.metrics.sparse import Floats, Integers


@dataclass(frozen=True, eq=False)
class Estimates:
    """PQ of R weighted sets of images by group and class, and standard errors; both (R, 3 + C).

    Both are NaN for a group or class that does not occur.
    """

    value: Floats
    error: Floats


class WeightedQuality:
    """PQ of weighted sets of images, or its difference between two result sets for the same images.

    The columns are those of `GROUPS` and then the classes, 3 + C. Standard errors come from the delta method (Efron and
    Tibshirani, An Introduction to the Bootstrap, 1993, section 21.3): for small changes of the weights, PQ is linear in
    the statistics (images, C) of the images, with slopes (R, C).
    """

    def __init__(self, tallies: Tallies, minus: Tallies | None = None) -> None:
        things = np.array([category.is_thing for category in tallies.categories], dtype=np.bool_)
        self._groups = np.ones_like(things), things, ~things
        self.images = len(tallies.images)
        self._sets = [(sign, t.iou_sum, t.tp + (t.fp + t.fn) / 2) for sign, t in ((1, tallies), (-1, minus)) if t]
        self._statistics = [statistic for _, *pair in self._sets for statistic in pair]
        self._products = {
            (i, j): self._statistics[i] * self._statistics[j] * (1 if i == j else 2)
            for i, j in combinations_with_replacement(range(len(self._statistics)), 2)
        }

    def estimate(self, weights: Floats) -> Estimates:
        """PQ for weights (R, images)."""
        value, moves, slopes = self._derivatives(weights)
        variance = np.zeros_like(value)
        for group, move in enumerate(moves):
            variance[:, group] = (weights * move**2).sum(axis=1)
        for (i, j), product in self._products.items():
            variance[:, 3:] += slopes[i] * slopes[j] * (weights @ product)
        return Estimates(value, np.where(np.isnan(value), np.nan, np.sqrt(np.maximum(variance, 0))))

    def influence(self) -> Floats:
        """How much each image moves PQ of all images (images, 3 + C), in first order."""
        _, moves, slopes = self._derivatives(np.ones((1, self.images)))
        of_classes = [slope * statistic for slope, statistic in zip(slopes, self._statistics, strict=True)]
        return np.concatenate([np.concatenate(moves).T, np.sum(of_classes, axis=0)], axis=1)

    def occurrences(self) -> Integers:
        """Number of images (3 + C,) in which each group and class occurs."""
        occurs = np.any([weight > 0 for _, _, weight in self._sets], axis=0)
        groups = [occurs[:, members].any(axis=1).sum() for members in self._groups]
        return np.array([*groups, *occurs.sum(axis=0)], dtype=np.int64)

    def _derivatives(self, weights: Floats) -> tuple[Floats, list[Floats], list[Floats]]:
        """PQ (R, 3 + C), the move of each group by each image (R, images), and a slope (R, C) by each statistic."""
        values, moves, slopes = [], [], []
        for sign, iou_sum, weight in self._sets:
            total = weights @ weight
            by_iou = np.divide(sign, total, out=np.zeros_like(total), where=total > 0)
            quality = np.where(total > 0, (weights @ iou_sum) * by_iou, np.nan)
            by_weight = -sign * np.nan_to_num(quality) * by_iou
            _, *kinds = self._groups
            things, stuff = (by_iou[:, c] @ iou_sum[:, c].T + by_weight[:, c] @ weight[:, c].T for c in kinds)
            number = np.stack([(total[:, c] > 0).sum(axis=1) for c in self._groups], axis=1).astype(np.float64)
            number[number == 0] = np.nan
            sums = np.stack([np.nansum(quality[:, c], axis=1) for c in self._groups], axis=1)
            values.append(np.concatenate([sums / number, quality], axis=1))
            moves.append([move / number[:, [i]] for i, move in enumerate((things + stuff, things, stuff))])
            slopes += [by_iou, by_weight]
        return np.sum(values, axis=0), [np.sum(of_sets, axis=0) for of_sets in zip(*moves, strict=True)], slopes
