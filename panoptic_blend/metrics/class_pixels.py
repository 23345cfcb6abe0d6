"""Pixels of each pair of a true and a predicted class."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from panoptic_blend.metrics.overlaps import Comparison
from panoptic_blend.metrics.sparse import Floats, Integers
from panoptic_blend.structures import Category, PanopticBlendError

MUCH_VOID = 0.5
"""A truth with a larger share of void pixels teaches little."""


class ClassPixels:
    """Counts pixels by their classes in truth and prediction, over any number of images; crowds count for their class.

    ``categories`` are all classes of the data set.
    """

    def __init__(self, categories: Sequence[Category]) -> None:
        self._indices = {category.id: index for index, category in enumerate(categories, start=1)}
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._pixels = np.zeros((len(self._indices) + 1, len(self._indices) + 1), dtype=np.int64)

    def update(self, comparison: Comparison) -> None:
        """Add one image that is already compared."""
        table, sides = comparison.overlaps, (comparison.truth, comparison.prediction)
        rows, columns = (np.array([0, *map(self._indices.__getitem__, side.categories.tolist())]) for side in sides)
        np.add.at(self._pixels, (rows[table.rows], columns[table.columns]), table.counts)

    def merge(self, other: ClassPixels) -> None:
        """Add the images of ``other``, which is not changed; PanopticBlendError if its categories differ."""
        if self._indices != other._indices:
            raise PanopticBlendError("cannot merge pixels of different categories; construct both with the same list")
        self._pixels += other._pixels

    def compute(self) -> Integers:
        """The counts (C + 1, C + 1): rows are the truth, columns the prediction, row and column 0 are void."""
        return self._pixels.copy()


def class_ious(pixels: Integers) -> Floats:
    """IoU (C,) of every class from the counts (C + 1, C + 1) of `ClassPixels`; NaN for a class without truth.

    Pixels that are void in the truth are left out; those that are void in the prediction are missed (Long et al., Fully
    Convolutional Networks for Semantic Segmentation, CVPR 2015, section 5: IU, with mean IU as its mean).
    """
    hits, in_truth = np.diagonal(pixels)[1:], pixels[1:].sum(axis=1)
    union = in_truth + pixels[1:, 1:].sum(axis=0) - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=in_truth > 0)
