"""One optimizer step: its batch, what all processes tell each other before it, its gradients, and its losses.

The host reads the losses one step late, when the next batch is prepared, so that it need not wait for the device at the
end of a step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from lightning.fabric import Fabric
from torch import Tensor, distributed

from panoptic_blend.data.blocks import on_device
from panoptic_blend.models.batching import uploaded, widest_float
from panoptic_blend.models.instance_branch import TrainingBatch
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.processes import sum_over_ranks, summed
from panoptic_blend.structures import Target

Part = tuple[list[Tensor], list[Target]]
"""Images and targets of a part of a batch."""

_ROOM = 32
"""The most normalizers; a rank without a batch, which does not know their number, sends so many zeros."""


class LossesOfStep:
    """The loss terms of this rank, on the device and, if there is no other rank, on their way to the host."""

    def __init__(self, fabric: Fabric, terms: Mapping[str, Tensor]) -> None:
        self.names = tuple(terms)
        self.own = torch.stack([x.to(widest_float(fabric.device)) for x in terms.values()])
        self._here, self._arrived = self.own, None
        if fabric.world_size == 1 and self.own.is_cuda:
            self._here = self.own.to("cpu", non_blocking=True)  # to pinned memory
            self._arrived = torch.cuda.Event()
            self._arrived.record()

    def read(self) -> dict[str, float]:
        """The terms of this rank; waits for the step that computes them, but for nothing after it."""
        if self._arrived is not None:
            self._arrived.synchronize()
        return self.named(self._here.tolist())

    def over_ranks(self) -> dict[str, float]:
        """The sums over all ranks; every rank must call it."""
        total = self.own.clone()
        if distributed.is_initialized():
            distributed.all_reduce(total)
        return self.named(total.tolist())

    def named(self, values: Sequence[float]) -> dict[str, float]:
        """The values by the names of the terms."""
        return dict(zip(self.names, values, strict=True))


@dataclass(frozen=True)
class Told:
    """What all ranks know before a step."""

    flags: dict[str, bool]
    """Whether each flag is set in any rank."""
    normalizers: dict[str, Tensor]
    """The sums of `TrainingBatch.normalizers` over all parts of all ranks."""
    losses: dict[str, float]
    """The sums of the losses of the step before over all ranks; empty before the first step."""


def tell(
    fabric: Fabric, flags: Mapping[str, bool], parts: Sequence[TrainingBatch], before: LossesOfStep | None
) -> Told:
    """Tell the other ranks of a step, in one reduction without a barrier; nothing is sent if there are none.

    Args:
        flags: of the same names in every rank.
        parts: the batch of this rank; empty if it has none, and then some flag must be set.
        before: the losses of the step before.
    """
    counts = [part.normalizers for part in parts]
    if fabric.world_size == 1:
        return Told(dict(flags), sum_over_ranks(fabric, counts) if parts else {}, before.read() if before else {})
    dtype, names = widest_float(fabric.device), list(counts[0]) if counts else []
    if len(names) > _ROOM:
        raise ValueError(f"there are {len(names)} normalizers, and at most {_ROOM} can be told")
    own = summed(counts, dtype) if counts else torch.zeros(0, dtype=dtype, device=fabric.device)
    told = [uploaded([*flags.values()], own), *([before.own] if before else []), F.pad(own, (0, _ROOM - len(own)))]
    total = torch.cat(told)
    distributed.all_reduce(total)
    numbers = total[:-_ROOM].tolist()
    return Told(
        {name: number > 0 for name, number in zip(flags, numbers, strict=False)},
        dict(zip(names, total[-_ROOM:].unbind(), strict=False)),
        before.named(numbers[len(flags) :]) if before else {},
    )


def prepared(fabric: Fabric, model: PanopticBlend, parts: Sequence[Part]) -> list[TrainingBatch]:
    """The parts of a batch on the device, with all that their losses need of their targets.

    Targets are those of the loader, whose values need no checks.
    """
    given: Any = parts
    tensors = [x for images, targets in given for x in (*images, *(value for t in targets for value in t.values()))]
    coming: Any = iter(on_device(tensors, fabric.device))
    moved: Any = [
        ([next(coming) for _ in images], [{key: next(coming) for key in target} for target in targets])
        for images, targets in given
    ]
    return [model.training_batch(*part) for part in moved]


def add_gradients(fabric: Fabric, forward: Any, model: PanopticBlend, parts: Sequence[Part]) -> dict[str, Tensor]:
    """`prepared` and `add_gradients_of` in one, for whoever has nothing to tell.

    Args:
        forward: ``model`` as Fabric set it up.
        parts: images and targets; every rank has the same number of parts.
    """
    batches = prepared(fabric, model, parts)
    return add_gradients_of(fabric, forward, batches, sum_over_ranks(fabric, [part.normalizers for part in batches]))


def add_gradients_of(
    fabric: Fabric, forward: Any, parts: Sequence[TrainingBatch], normalizers: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Accumulate the gradients of an optimizer step, as if the parts of all ranks were one batch.

    Every loss term is a sum divided by a normalizer. The normalizers are summed over all parts of all ranks before the
    first forward pass, so that the losses of the parts add up to the loss of the batch. (Batch norms still see one part
    at a time.)

    Args:
        forward: the model as Fabric set it up.
        parts: every rank has the same number of parts.
        normalizers: these sums.

    Returns:
        The contribution of this rank to every loss term.
    """
    shares: dict[str, Tensor] = {}
    for number, part in enumerate(parts, start=1):
        with fabric.no_backward_sync(forward, enabled=number < len(parts)):
            losses: dict[str, Tensor] = forward(part, normalizers=normalizers)
            loss = torch.stack(list(losses.values())).sum()
            fabric.backward(loss * fabric.world_size)  # gradients are averaged over the ranks
        shares = {name: shares.get(name, 0) + value.detach() for name, value in losses.items()}
    return shares
