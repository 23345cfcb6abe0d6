"""The semantic head of Panoptic-FPN (Kirillov et al., CVPR 2019, section 3.1, figure 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
from torch import Tensor, nn

from panoptic_blend.models.batching import Doubling, at_least_float32
from panoptic_blend.models.class_rows import ClassRows
from panoptic_blend.models.head_norms import HeadNorm, head_norm
from panoptic_blend.models.kernel_update import KernelUpdate, grouped


def _stage(in_channels: int, channels: int, norm: HeadNorm) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    return nn.Sequential(conv, head_norm(norm, channels), nn.ReLU())


def _branch(in_channels: int, channels: int, doublings: int, norm: HeadNorm) -> nn.Sequential:
    layers: list[nn.Module] = [_stage(in_channels, channels, norm)]
    for i in range(doublings):
        layers.append(Doubling())
        if i < doublings - 1:
            layers.append(_stage(channels, channels, norm))
    return nn.Sequential(*layers)


class SemanticHead(nn.Module):
    """Upsample every level to stride 4 in steps of two, sum them, and classify: logits (N, S + 1, H/4, W/4).

    Args:
        in_channels: channels of the pyramid.
        num_classes: S + 1; class 0 is "some thing".
        channels: width of the head, a multiple of 32.
        norm: normalization after each 3x3 convolution.
        kernel_rounds: how often the rows of the predictor are updated by the mean of the trunk over their classes.
        levels: pyramid levels to read, finest (stride 4) first, each half the size of the one before.
    """

    stride = 4
    class_layers: ClassVar = {"predictor": ClassRows("stuff", shared=1)}

    def __init__(
        self,
        in_channels: int = 256,
        num_classes: int = 54,
        channels: int = 128,
        norm: HeadNorm = "gn",
        kernel_rounds: int = 0,
        levels: Sequence[str] = ("p2", "p3", "p4", "p5"),
    ) -> None:
        super().__init__()
        self.branches = nn.ModuleDict({name: _branch(in_channels, channels, i, norm) for i, name in enumerate(levels)})
        self.predictor = nn.Conv2d(channels, num_classes, 1)
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.kaiming_normal_(conv.weight, mode="fan_out", nonlinearity="relu")
        assert self.predictor.bias is not None
        nn.init.zeros_(self.predictor.bias)
        self.updates = nn.ModuleList(KernelUpdate(channels, channels) for _ in range(kernel_rounds))

    def trunk(self, pyramid: Mapping[str, Tensor]) -> Tensor:
        """The sum of the branches (N, channels, H/4, W/4), which the shared bottom module reads too."""
        first, *others = (branch(pyramid[name]) for name, branch in self.branches.items())
        return sum(others, start=first)

    def logits(self, trunk: Tensor) -> Tensor:
        """Class logits (N, S + 1, H/4, W/4) of a trunk (N, channels, H/4, W/4), in at least float32."""
        logits = at_least_float32(self.predictor(trunk))
        if not self.updates:
            return logits
        assert self.predictor.bias is not None
        pixels, kernels = at_least_float32(trunk).flatten(2), self.predictor.weight.flatten(1)
        with torch.autocast(trunk.device.type, enabled=False):
            for update in self.updates:
                kernels = update(grouped(logits.flatten(2).softmax(dim=1), pixels), kernels)
                logits = (kernels @ pixels + self.predictor.bias[:, None]).unflatten(2, trunk.shape[2:])
        return logits

    def forward(self, pyramid: Mapping[str, Tensor]) -> Tensor:
        return self.logits(self.trunk(pyramid))
