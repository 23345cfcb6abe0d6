"""Confusion matrices of all classes, things and stuff, in pixels and in segments."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.sparse import Integers, contains
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
        truth, table = comparison.truth, comparison.overlaps
        in_truth, in_prediction = (
            np.array([0, *(indices[category] for category in segments_of.categories.tolist())])
            for segments_of in (truth, comparison.prediction)
        )
        np.add.at(pixels, (in_truth[table.rows], in_prediction[table.columns]), table.counts)
        rows, columns, shared = comparison.pairs()
        truth_area, area = table.row_sums()[1:], (table.column_sums() - table.first_row())[1:]
        paired = (2 * shared > truth_area[rows] + area[columns] - shared) & ~truth.is_crowd[rows]
        unpaired = ~contains(rows, paired, len(truth_area)) & ~truth.is_crowd & (truth_area > 0)
        spurious = np.setdiff1d(comparison.matches.spurious, columns[paired])
        np.add.at(segments, (in_truth[1:][rows[paired]], in_prediction[1:][columns[paired]]), 1)
        np.add.at(segments[:, 0], in_truth[1:][unpaired], 1)
        np.add.at(segments[0], in_prediction[1:][spurious], 1)
    return Confusion(categories, pixels, segments)
