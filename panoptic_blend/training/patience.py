"""The early end of a run, when paired intervals say that PQ does not rise any more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from panoptic_blend.data.protocol import PanopticDataset, read_sample
from panoptic_blend.metrics.details import Tallies
from panoptic_blend.metrics.resampling import ENOUGH_IMAGES, Interval, compare_results
from panoptic_blend.structures import PanopticBlendError

_COUNTS = ("iou_sum", "tp", "fp", "fn")


class Patience:
    """Counts the evaluations in a row whose PQ has no gain over the best one so far.

    There is no gain where the paired 95 % interval of the difference (see `resampling`) does not reach above zero.

    Args:
        limit: the number of these evaluations after which a run ends.
        known: what `state_dict` returned.
    """

    def __init__(self, limit: int, known: Mapping[str, Any]) -> None:
        self._limit = limit
        self._best: Mapping[str, torch.Tensor] = known.get("best", {})
        self._last, self._before = -1, known
        self.best_iteration: int = known.get("best_iteration", 0)
        """The iteration of the best evaluation."""
        self.waited: int = known.get("waited", 0)
        """The number of evaluations without gain, up to the last one."""

    @property
    def is_over(self) -> bool:
        """Whether the run should end."""
        return self.waited >= self._limit

    def follow(self, iteration: int, tallies: Tallies) -> Interval | None:
        """Take an evaluation, and return its gain over the best one before; None for the first one."""
        self._last, self._before = iteration, self._now()
        gain = None
        if self._best:
            best = Tallies(tallies.images, tallies.categories, *(self._best[name].numpy() for name in _COUNTS))
            gain = compare_results(best, tallies).groups["All"]
            self.waited = self.waited + 1 if gain.high <= 0 else 0
        if gain is None or gain.value > 0:
            self._best = {name: torch.from_numpy(np.ascontiguousarray(getattr(tallies, name))) for name in _COUNTS}
            self.best_iteration = iteration
        return gain

    def state_dict(self, iteration: int) -> dict[str, Any]:
        """All that a run resumed at ``iteration`` needs to decide as this one: it takes an evaluation there again."""
        return dict(self._before) if iteration == self._last else self._now()

    def _now(self) -> dict[str, Any]:
        return {"best": dict(self._best), "best_iteration": self.best_iteration, "waited": self.waited}


def require_comparable(validation: PanopticDataset) -> None:
    """Raise an error if PQ on a data set has no interval, so that no run would end early."""
    if len(validation) < ENOUGH_IMAGES:
        raise PanopticBlendError(
            f"train.patience needs {ENOUGH_IMAGES} validation images for an interval, and {validation.name} has "
            f"{len(validation)}; leave it out"
        )
    if read_sample(validation, 0).panoptic is None:
        raise PanopticBlendError(
            f"train.patience compares PQ, and {validation.name} has no panoptic annotation; leave it out"
        )
