"""Confusion matrices of all classes, things and stuff, in pixels and in segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.overlaps import Integers, match
from panoptic_blend.structures import Category


@dataclass(frozen=True, eq=False)
class Confusion:
    """Confusion matrices (C + 1, C + 1) int64; rows are the truth, columns the prediction.

    Row and column i + 1 are ``categories[i]``, row and column 0 stand for no class. ``pixels`` counts the pixels of
    each pair of classes; void is no class, and crowds count for their class. ``segments`` counts the pairs of segments
    of any classes with an IoU above 0.5, where the union excludes void as in PQ. Its row 0 counts the unpaired
    predictions that are false positives of PQ, its column 0 the unpaired truth segments; crowds are excluded.
    """

    categories: tuple[Category, ...]
    pixels: Integers
    segments: Integers


def confusion(details: PanopticDetails) -> Confusion:
    """Compute both matrices over all images."""
    categories = tuple(details.categories.values())
    indices = {category.id: index for index, category in enumerate(categories, start=1)}
    pixels, segments = (np.zeros((len(indices) + 1, len(indices) + 1), dtype=np.int64) for _ in range(2))
    for _, comparison in details.comparisons():
        rows = np.array([0, *(indices[category] for category in comparison.truth.categories.tolist())])
        columns = np.array([0, *(indices[category] for category in comparison.prediction.categories.tolist())])
        table, spurious = comparison.table, match(comparison).spurious
        np.add.at(pixels, (rows[:, None], columns), table)
        shared = table[1:, 1:]
        union = shared.sum(axis=0) + table[1:].sum(axis=1)[:, None] - shared
        pairs = (2 * shared > union) & ~comparison.truth.is_crowd[:, None]
        found, matched = np.nonzero(pairs)
        unpaired = ~pairs.any(axis=1) & ~comparison.truth.is_crowd & table[1:].any(axis=1)
        np.add.at(segments, (rows[1:][found], columns[1:][matched]), 1)
        np.add.at(segments[:, 0], rows[1:][unpaired], 1)
        np.add.at(segments[0], columns[1:][np.setdiff1d(spurious, matched)], 1)
    return Confusion(categories, pixels, segments)
