"""Which class was taken for which, things and stuff alike, in pixels and in segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.overlaps import Integers, match
from panoptic_blend.structures import Category


@dataclass(frozen=True, eq=False)
class Confusion:
    """Rows are the truth, columns the prediction; line 0 stands for none, line i + 1 for ``categories[i]``.

    ``pixels`` (C + 1, C + 1) int64: pixels of each pair of classes, void in line 0, crowds with their class.
    ``segments`` likewise: pairs of segments with an IoU above 0.5 whatever their classes, where void leaves the union
    as in PQ; row 0 holds predictions in no such pair that PQ does not forgive, column 0 truths in none; no crowds.
    """

    categories: tuple[Category, ...]
    pixels: Integers
    segments: Integers


def confusion(details: PanopticDetails) -> Confusion:
    """Count both matrices over all images."""
    categories = tuple(details.categories.values())
    lines = {category.id: line for line, category in enumerate(categories, start=1)}
    pixels, segments = (np.zeros((len(lines) + 1, len(lines) + 1), dtype=np.int64) for _ in range(2))
    for _, comparison in details.comparisons():
        rows = np.array([0, *(lines[category] for category in comparison.truth.categories.tolist())])
        columns = np.array([0, *(lines[category] for category in comparison.prediction.categories.tolist())])
        table, spurious = comparison.table, match(comparison).spurious
        np.add.at(pixels, (rows[:, None], columns), table)
        shared = table[1:, 1:]
        union = shared.sum(axis=0) + table[1:].sum(axis=1)[:, None] - shared
        pairs = (2 * shared > union) & ~comparison.truth.is_crowd[:, None]
        found, matched = np.nonzero(pairs)
        alone = ~pairs.any(axis=1) & ~comparison.truth.is_crowd & table[1:].any(axis=1)
        np.add.at(segments, (rows[1:][found], columns[1:][matched]), 1)
        np.add.at(segments[:, 0], rows[1:][alone], 1)
        np.add.at(segments[0], columns[1:][np.setdiff1d(spurious, matched)], 1)
    return Confusion(categories, pixels, segments)
