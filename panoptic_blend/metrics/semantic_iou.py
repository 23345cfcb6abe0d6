"""Mean intersection over union (mIoU) of semantic maps, from a confusion matrix."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.metrics.class_pixels import class_ious
from panoptic_blend.structures import IGNORE, PanopticBlendError


@dataclass(frozen=True, eq=False)
class SemanticReport:
    """IoU as fractions: ``per_class`` (classes,) float64, NaN for classes without truth; ``mean`` over the others.

    The mean over no class is NaN.
    """

    mean: float
    per_class: npt.NDArray[np.float64]


class SemanticIoU:
    """IoU of ``num_classes`` classes over any number of images; pixels with the truth ``ignore`` are left out."""

    def __init__(self, num_classes: int, ignore: int = IGNORE) -> None:
        self._num_classes = num_classes
        self._ignore = ignore
        self.reset()

    def reset(self) -> None:
        """Forget all images."""
        self._confusion = np.zeros((self._num_classes, self._num_classes), dtype=np.int64)  # truth x prediction

    def update(self, truth: npt.NDArray[np.integer[Any]], prediction: npt.NDArray[np.integer[Any]]) -> None:
        """Add one image: two (H, W) maps of classes.

        Raises PanopticBlendError, and adds nothing, if the maps differ in shape or a class is out of range.
        """
        if truth.shape != prediction.shape:
            raise PanopticBlendError(
                f"truth has shape {truth.shape} and prediction {prediction.shape}; give both at the size of the truth"
            )
        counted = truth != self._ignore
        rows, columns = truth[counted].astype(np.int64), prediction[counted].astype(np.int64)
        for name, classes in (("truth", rows), ("prediction", columns)):
            outside = classes[(classes < 0) | (classes >= self._num_classes)]
            if outside.size:
                raise PanopticBlendError(
                    f"{name}: class {outside[0]} is outside 0..{self._num_classes - 1}; give semantic classes"
                )
        pairs = np.bincount(rows * self._num_classes + columns, minlength=self._num_classes**2)
        self._confusion += pairs.reshape(self._confusion.shape)

    def merge(self, other: SemanticIoU) -> None:
        """Add the images of ``other``, which is not changed; PanopticBlendError if its classes differ."""
        if (self._num_classes, self._ignore) != (other._num_classes, other._ignore):
            raise PanopticBlendError(
                "cannot merge semantic IoUs of different classes; construct both with the same arguments"
            )
        self._confusion += other._confusion

    def compute(self) -> SemanticReport:
        """Compute the IoU over all images so far."""
        per_class = class_ious(np.pad(self._confusion, ((1, 0), (1, 0))))
        present = ~np.isnan(per_class)
        return SemanticReport(float(per_class[present].mean()) if present.any() else math.nan, per_class)
