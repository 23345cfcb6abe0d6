"""Maps of many sizes and precisions made alike."""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

STRIDE_LIMIT = 32
"""Batches are padded to a multiple of the backbone's stride; coarser levels round up."""


def frame(maps: Sequence[Tensor]) -> tuple[int, int]:
    """The (height, width) of a batch of (..., H, W) maps: the largest sides, rounded up to `STRIDE_LIMIT`."""
    height, width = (-(-max(x.shape[axis] for x in maps) // STRIDE_LIMIT) * STRIDE_LIMIT for axis in (-2, -1))
    return height, width


def pad(maps: Sequence[Tensor], value: float) -> Tensor:
    """Stack (..., H, W) maps, padded at the bottom and right to the `frame` of the batch."""
    height, width = frame(maps)
    return torch.stack([F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), value=value) for x in maps])


def at_least_float32(x: Tensor) -> Tensor:
    """At least float32: what follows the network is computed there whatever the network runs in."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
