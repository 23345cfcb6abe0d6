"""The semantic head of Panoptic-FPN (Kirillov et al., CVPR 2019, section 3.1, figure 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from panoptic_blend.models.batching import Doubling
from panoptic_blend.models.class_rows import ClassRows
from panoptic_blend.models.head_norms import HeadNorm, head_norm


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

    def trunk(self, pyramid: Mapping[str, Tensor]) -> Tensor:
        """The sum of the branches (N, channels, H/4, W/4), which the shared bottom module reads too."""
        first, *others = (branch(pyramid[name]) for name, branch in self.branches.items())
        return sum(others, start=first)

    def forward(self, pyramid: Mapping[str, Tensor]) -> Tensor:
        logits: Tensor = self.predictor(self.trunk(pyramid))
        return logits
