"""The normalization of heads: group norm, or batch norm, which is folded into the convolutions after training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.models.batching import in_own_dtype

HeadNorm = Literal["gn", "bn"]


class GroupNorm(nn.GroupNorm):
    """A group norm in the dtype of its input, with statistics in float32; CUDA's autocast would write float32."""

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cuda":
            return super().forward(x)
        with in_own_dtype(x):
            return F.group_norm(x, self.num_groups, self.weight.to(x.dtype), self.bias.to(x.dtype), self.eps)


def head_norm(kind: HeadNorm, channels: int) -> nn.Module:
    """A layer that normalizes (N, channels, h, w)."""
    if kind == "bn":
        return nn.BatchNorm2d(channels)
    groups = min(32, channels // 2)  # with one channel per group, a level of one cell has no variance
    return GroupNorm(groups, channels)


def on_levels(layers: nn.Sequential, levels: Sequence[Tensor]) -> list[Tensor]:
    """Apply layers to every level (N, c, h, w) of a pyramid.

    A batch norm sees all levels together. So its statistics in training are those that it gathers for inference; one
    level after the other, it would train with those of each, and infer with their mean.
    """
    found = list(levels)
    for layer in layers:
        found = _together(layer, found) if isinstance(layer, nn.BatchNorm2d) else [layer(x) for x in found]
    return found


def _together(norm: nn.Module, levels: Sequence[Tensor]) -> list[Tensor]:
    cells = [x.flatten(2) for x in levels]
    parts = norm(torch.cat(cells, dim=2)[..., None]).squeeze(3).split([x.shape[2] for x in cells], dim=2)
    return [part.reshape(x.shape) for part, x in zip(parts, levels, strict=True)]
