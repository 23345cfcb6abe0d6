"""Batches of maps that differ in size and precision."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.structures import Size

STRIDE_LIMIT = 32
"""Sides of a batch are padded to a multiple of this, the stride of the backbone; coarser levels round up."""


def frame(maps: Sequence[Tensor]) -> tuple[int, int]:
    """The (height, width) of a batch of maps (..., H, W): their largest sides, rounded up by `STRIDE_LIMIT`."""
    height, width = (-(-max(x.shape[axis] for x in maps) // STRIDE_LIMIT) * STRIDE_LIMIT for axis in (-2, -1))
    return height, width


def pad(maps: Sequence[Tensor], value: float) -> Tensor:
    """Stack (..., H, W) maps, padded at the bottom and right to the `frame` of the batch."""
    height, width = frame(maps)
    return torch.stack([F.pad(x, (0, width - x.shape[-1], 0, height - x.shape[-2]), value=value) for x in maps])


def uploaded(values: Any, like: Tensor, dtype: torch.dtype | None = None) -> Tensor:
    """``like.new_tensor(values)`` from pinned memory where it goes to a GPU, so that the host need not wait for it."""
    dtype = dtype or like.dtype
    if like.device.type != "cuda":
        return like.new_tensor(values, dtype=dtype)
    return torch.tensor(values, dtype=dtype, pin_memory=True).to(like.device, non_blocking=True)


def widest_float(device: torch.device) -> torch.dtype:
    """The widest type of numbers that a device computes with: float64, but float32 on MPS."""
    return torch.float32 if device.type == "mps" else torch.float64


def in_own_dtype(x: Tensor) -> AbstractContextManager[Any]:
    """A context in which CUDA resizes and normalizes ``x`` in its dtype, not in float32 as autocast has it.

    That would take twice the memory and traffic of what convolutions round to half precision before and after.
    """
    return torch.autocast("cuda", enabled=False) if x.device.type == "cuda" else nullcontext()


def resized(x: Tensor, size: Size, mode: Literal["bilinear", "nearest"] = "bilinear") -> Tensor:
    """A map (N, c, h, w) at ``size`` (height, width), `in_own_dtype`."""
    with in_own_dtype(x):
        return F.interpolate(x, size=size, mode=mode, align_corners=None if mode == "nearest" else False)


class Doubling(nn.Module):
    """Twice the height and width, bilinearly, `in_own_dtype`."""

    def forward(self, x: Tensor) -> Tensor:
        """Resize (N, c, h, w)."""
        with in_own_dtype(x):
            return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)


def at_least_float32(x: Tensor) -> Tensor:
    """Convert half precision to float32 and leave wider types alone: losses and decoding need at least float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))
