"""COCO's panoptic quality as a metric of torchmetrics, whose state is summed over processes without rounding."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric

from panoptic_blend.compat.hugging_face import flat_figures, require_pairs
from panoptic_blend.metrics.conversion import LABEL_DIVISOR, PanopticLike, panoptic_pair, require_divisor
from panoptic_blend.metrics.overlaps import compare, match
from panoptic_blend.metrics.panoptic_quality import PanopticReport, categories_by_id, class_quality
from panoptic_blend.metrics.sparse import Integers
from panoptic_blend.structures import Category, positions

_BITS = 53
"""An IoU above 1/2 is a float64, and so a multiple of 2**-53."""
_LOW_BITS = 26
_HIGH, _LOW, _TP, _FP, _FN = range(5)


class PanopticQualityCoco(Metric):
    """PQ, SQ and RQ as COCO's script defines them, equal to `PanopticQuality` to the last bit on any number of devices.

    ``compute`` returns a dictionary of float64 tensors: ``pq``, ``sq`` and ``rq`` over all classes, and the same with
    ``_things`` and ``_stuff``; NaN where there is nothing to score. `report` has the figures of every class.

    The state is ``tallies`` (classes, 5) int64, which processes sum: the sum of IoUs in units of 2**-53 in two parts,
    and the numbers of matches, false positives and false negatives.

    Args:
        categories: the categories of the data set, `Category` or records with ``id``, ``name`` and ``isthing``.
        label_divisor: for maps without records, as in `PanopticQuality`.
        options: those of ``torchmetrics.Metric``.

    Raises:
        PanopticBlendError: a category is malformed, two have one id, or ``label_divisor`` is no positive whole number.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0

    tallies: Tensor

    def __init__(
        self,
        categories: Iterable[Category | Mapping[str, object]],
        *,
        label_divisor: int = LABEL_DIVISOR,
        **options: Any,
    ) -> None:
        super().__init__(**options)
        self._categories = categories_by_id(categories)
        self._label_divisor = require_divisor(label_divisor)
        self.add_state("tallies", torch.zeros(len(self._categories), 5, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, preds: Sequence[PanopticLike] | Tensor, target: Sequence[PanopticLike] | Tensor) -> None:
        """Add a batch; as everywhere in torchmetrics, the prediction comes first.

        Both are lists with one map per image, in any form that `conversion.panoptic_map` reads, or arrays (N, H, W, 2)
        of category and instance.

        Raises the PanopticBlendErrors of `PanopticQuality.update`, and then adds nothing.
        """
        tallies = np.zeros(self.tallies.shape, dtype=np.int64)
        for prediction, truth in require_pairs(preds, target, "preds", "target"):
            self._tally(truth, prediction, tallies)
        self.tallies += torch.from_numpy(tallies).to(self.tallies.device)

    def _tally(self, truth: PanopticLike, prediction: PanopticLike, tallies: Integers) -> None:
        found = compare(*panoptic_pair(truth, prediction, self._categories, self._label_divisor))
        matches = match(found)
        known = list(self._categories)
        rows = positions(found.truth.categories, known) - 1
        units = (matches.iou * 2.0**_BITS).astype(np.int64)
        for column, values in ((_HIGH, units >> _LOW_BITS), (_LOW, units & (1 << _LOW_BITS) - 1), (_TP, 1)):
            np.add.at(tallies[:, column], rows[matches.truth], values)
        np.add.at(tallies[:, _FP], positions(found.prediction.categories[matches.spurious], known) - 1, 1)
        np.add.at(tallies[:, _FN], rows[matches.missed], 1)

    def compute(self) -> dict[str, Tensor]:
        """Compute the means over all images so far, of all processes."""
        figures = flat_figures(self._report())
        return {name: torch.tensor(value, dtype=torch.float64, device=self.device) for name, value in figures.items()}

    def report(self) -> PanopticReport:
        """The figures of all classes over all images so far, of all processes."""
        with self.sync_context():
            return self._report()

    def _report(self) -> PanopticReport:
        per_class = {}
        for category, (high, low, tp, fp, fn) in zip(self._categories, self.tallies.tolist(), strict=True):
            # whole numbers of Python are exact, and their ratio is rounded once, as math.fsum is
            per_class[category] = class_quality(((high << _LOW_BITS) + low) / 2**_BITS, tp, fp, fn)
        return PanopticReport.of_classes(self._categories.values(), per_class)
