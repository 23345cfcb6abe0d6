"""Batch normalization with the statistics of all ranks: torch's own, which needs CUDA, and one for other devices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, distributed, nn

from panoptic_blend.structures import PanopticBlendError


class _Sum(torch.autograd.Function):
    """The sum of a tensor over all ranks; each rank's gradient is the sum of those with respect to it."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        total = x.clone()
        distributed.all_reduce(total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        return _Sum.forward(ctx, gradients[0])


class SyncBatchNorm2d(nn.BatchNorm2d):
    """As ``nn.BatchNorm2d`` over the batches of all ranks together, which may differ in size; in at least float32."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalize (N, c, H, W) over all axes but the second."""
        if not self.training:
            return super().forward(x)
        wide = x.to(torch.promote_types(x.dtype, torch.float32))
        count = wide.new_tensor(x.numel() // x.shape[1])
        sums: Tensor = _Sum.apply(torch.cat([wide.sum(dim=(0, 2, 3)), count[None]]))
        mean, count = sums[:-1] / sums[-1], sums[-1].detach()
        centered = wide - mean[:, None, None]
        variance = _Sum.apply(centered.square().sum(dim=(0, 2, 3))) / count
        self._follow(mean.detach(), variance.detach() * (count / (count - 1)))
        scale = self.weight * (variance + self.eps).rsqrt()
        return (centered * scale[:, None, None] + self.bias[:, None, None]).to(x.dtype)

    @torch.no_grad()
    def _follow(self, mean: Tensor, variance: Tensor) -> None:
        """Move the running statistics by ``momentum`` towards the statistics of a batch."""
        assert self.running_mean is not None and self.running_var is not None
        assert self.num_batches_tracked is not None and self.momentum is not None
        self.running_mean.lerp_(mean.to(self.running_mean), self.momentum)
        self.running_var.lerp_(variance.to(self.running_var), self.momentum)
        self.num_batches_tracked += 1


class CudaSyncBatchNorm2d(nn.SyncBatchNorm, nn.BatchNorm2d):
    """torch's own, which gathers the statistics of a forward pass at once, as an ``nn.BatchNorm2d``."""


class _Activated(nn.Module):
    """As timm's ``BatchNormAct2d``, which drops and activates what it has normalized."""

    drop: nn.Module
    act: nn.Module

    def forward(self, x: Tensor) -> Tensor:
        activated: Tensor = self.act(self.drop(super().forward(x)))
        return activated


class SyncBatchNormAct2d(_Activated, SyncBatchNorm2d):
    """timm's over all ranks together, on any device."""


class CudaSyncBatchNormAct2d(_Activated, CudaSyncBatchNorm2d):
    """timm's over all ranks together, on CUDA."""


Twin = SyncBatchNorm2d | CudaSyncBatchNorm2d

_TWINS: dict[str, type[Twin]] = {"BatchNorm2d": SyncBatchNorm2d, "BatchNormAct2d": SyncBatchNormAct2d}
_CUDA_TWINS: dict[str, type[Twin]] = {"BatchNorm2d": CudaSyncBatchNorm2d, "BatchNormAct2d": CudaSyncBatchNormAct2d}
"""Twins by the names of layers, as timm need not be installed."""


def synchronize(model: nn.Module, device: torch.device) -> None:
    """Replace every batch norm of ``model`` that learns its statistics by one that takes them from all ranks.

    Args:
        device: where the model will be trained.

    Raises:
        PanopticBlendError: there is a batch norm of another type, which cannot be replaced.
    """
    if not distributed.is_initialized():
        return
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, nn.BatchNorm2d) and child.training and not isinstance(child, Twin):
                setattr(module, name, _synchronized(child, _CUDA_TWINS if device.type == "cuda" else _TWINS))


def _synchronized(norm: nn.BatchNorm2d, twins: Mapping[str, type[Twin]]) -> Twin:
    """The same layer, with the same parameters and buffers."""
    kind = type(norm).__name__
    if kind not in twins:
        raise PanopticBlendError(f"batch norms of type {kind} cannot be synchronized; set train.sync_norm=false")
    assert norm.momentum is not None
    twin = twins[kind](norm.num_features, norm.eps, norm.momentum)
    for name, child in norm.named_children():
        twin.add_module(name, child)
    twin.weight, twin.bias = norm.weight, norm.bias
    twin.running_mean, twin.running_var = norm.running_mean, norm.running_var
    twin.num_batches_tracked = norm.num_batches_tracked
    return twin.train(norm.training)
