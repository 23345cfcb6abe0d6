"""The gradients of one optimiser step, of however many parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from lightning.fabric import Fabric
from torch import Tensor

from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.processes import sum_over_ranks
from panoptic_blend.structures import Target


def add_gradients(
    fabric: Fabric, forward: Any, model: PanopticBlend, parts: Sequence[tuple[list[Tensor], list[Target]]]
) -> dict[str, Tensor]:
    """Add the gradients of a step to the parameters, as if all ranks' parts were one batch.

    Every loss term is a sum over something that is counted beforehand in all parts of all ranks, so each part
    contributes its share whatever it holds. (Batch norms still see one part at a time.)

    Args:
        forward: ``model`` as Fabric set it up.
        parts: images and targets; as many parts on every rank.

    Returns:
        This rank's share of every loss term.
    """
    moved = [fabric.to_device(part) for part in parts]
    counted = sum_over_ranks(fabric, [model.loss_normalizers(*part) for part in moved])
    terms: dict[str, Tensor] = {}
    for i, part in enumerate(moved, start=1):
        with fabric.no_backward_sync(forward, enabled=i < len(moved)):
            losses: dict[str, Tensor] = forward(*part, normalizers=counted)
            fabric.backward(torch.stack(list(losses.values())).sum() * fabric.world_size)  # ranks are averaged
        terms = {name: terms.get(name, 0) + value.detach() for name, value in losses.items()}
    return terms
