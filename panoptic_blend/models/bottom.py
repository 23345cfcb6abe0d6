"""Bottom modules: features of the whole image to bases (BlendMask, section 3.1; YOLACT, section 3.1)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch.nn.functional as F
from torch import Tensor, nn


def _block(in_channels: int, channels: int) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, channels, 3, padding=1, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU())


class ProtoNet(nn.Module):
    """Bases (N, K, H/4, W/4) from P3-P5: every level refined, resized to P3 and summed, then a tower.

    Args:
        in_channels: channels of the pyramid.
        num_bases: K.
        channels: width of the module.
        num_convs: convolutions between the sum and the upsampling.
        levels: pyramid levels to read, finest first.
    """

    stride = 4

    def __init__(
        self,
        in_channels: int = 256,
        num_bases: int = 4,
        channels: int = 128,
        num_convs: int = 3,
        levels: Sequence[str] = ("p3", "p4", "p5"),
    ) -> None:
        super().__init__()
        self.levels = tuple(levels)
        self.refine = nn.ModuleList(_block(in_channels, channels) for _ in levels)
        self.tower = nn.Sequential(
            *(_block(channels, channels) for _ in range(num_convs)),
            nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False),
            _block(channels, channels),
            nn.Conv2d(channels, num_bases, 1),
        )

    def forward(self, pyramid: Mapping[str, Tensor]) -> Tensor:
        finest, *coarser = (block(pyramid[name]) for block, name in zip(self.refine, self.levels, strict=True))
        for x in coarser:
            finest = finest + F.interpolate(x, size=finest.shape[-2:], mode="bilinear", align_corners=False)
        bases: Tensor = self.tower(finest)
        return bases


class ThingSemanticHead(nn.Sequential):
    """The auxiliary task on P3: logits (N, C + 1, H/8, W/8), class 0 for no thing (YOLACT, section 5).

    It only trains the features the bases are made of; inference never runs it.
    """

    def __init__(self, in_channels: int = 256, channels: int = 128, num_classes: int = 80) -> None:
        super().__init__(
            nn.Conv2d(in_channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, channels, 3, padding=1, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
            nn.Conv2d(channels, num_classes + 1, 1),
        )
