"""Bottom modules, which turn features into bases of the whole image (BlendMask, section 3.1; YOLACT, section 3.1).

Each maps features by name to bases (N, K, H/s, W/s) without activation, where s is its ``stride``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor, nn

from panoptic_blend.models.batching import Doubling, resized
from panoptic_blend.models.class_rows import ClassRows


def _block(in_channels: int, channels: int, size: int = 3) -> nn.Sequential:
    conv = nn.Conv2d(in_channels, channels, size, padding=size // 2, bias=False)
    nn.init.kaiming_uniform_(conv.weight, a=1)
    return nn.Sequential(conv, nn.BatchNorm2d(channels), nn.ReLU())


def _stride(feature: str) -> int:
    """The stride of a stage or level, from its name: 8 for c3 and p3."""
    return 2 ** int(feature[1:])


class ProtoNet(nn.Module):
    """Bases at twice the resolution of the finest feature.

    Every feature is refined, resized to the finest and summed; a tower of convolutions follows. If it reads P3-P5 it is
    Proto-FPN of the paper's table 7, if P3 alone YOLACT's Proto-P3.

    Args:
        in_channels: the features to read, finest first, with their channels.
        num_bases: K.
        channels: width of the module.
        num_convs: convolutions between the sum and the upsampling.
    """

    def __init__(
        self, in_channels: Mapping[str, int], num_bases: int = 4, channels: int = 128, num_convs: int = 3
    ) -> None:
        super().__init__()
        self.features = tuple(in_channels)
        self.stride = _stride(self.features[0]) // 2
        self.refine = nn.ModuleList(_block(c, channels) for c in in_channels.values())
        self.tower = nn.Sequential(
            *(_block(channels, channels) for _ in range(num_convs)),
            Doubling(),
            _block(channels, channels),
            nn.Conv2d(channels, num_bases, 1),
        )

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        finest, *coarser = (block(features[name]) for block, name in zip(self.refine, self.features, strict=True))
        for x in coarser:
            finest = finest + resized(x, (finest.shape[-2], finest.shape[-1]))
        bases: Tensor = self.tower(finest)
        return bases


class DeepLabDecoder(nn.Module):
    """Bases at the resolution of a fine feature, with the context of a coarse one.

    The decoder of DeepLabV3+ (Chen et al., ECCV 2018, section 3.1 and figure 2), without the pyramid of its
    encoder: the fine feature is reduced to 48 channels, the coarse one to ``channels`` and resized to it,
    and two 3x3 convolutions follow on both together.

    Args:
        in_channels: the fine and the coarse feature, in this order, with their channels.
        num_bases: K.
        channels: width of the module.
    """

    def __init__(self, in_channels: Mapping[str, int], num_bases: int = 4, channels: int = 128) -> None:
        super().__init__()
        self.features = tuple(in_channels)
        fine, coarse = in_channels.values()
        self.stride = _stride(self.features[0])
        self.fine, self.coarse = _block(fine, 48, size=1), _block(coarse, channels, size=1)
        self.tower = nn.Sequential(
            _block(48 + channels, channels), _block(channels, channels), nn.Conv2d(channels, num_bases, 1)
        )

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        fine, coarse = self.fine(features[self.features[0]]), self.coarse(features[self.features[1]])
        bases: Tensor = self.tower(torch.cat([fine, resized(coarse, (fine.shape[-2], fine.shape[-1]))], dim=1))
        return bases


class SharedBottom(nn.Module):
    """The shared bottom branch: bases are a second 1x1 predictor on the semantic head's trunk, at stride 4."""

    stride = 4

    def __init__(self, in_channels: int = 128, num_bases: int = 4) -> None:
        super().__init__()
        self.predictor = nn.Conv2d(in_channels, num_bases, 1)

    def forward(self, features: Mapping[str, Tensor]) -> Tensor:
        bases: Tensor = self.predictor(features["trunk"])
        return bases


BottomModule = ProtoNet | DeepLabDecoder | SharedBottom


class ThingSemanticHead(nn.Sequential):
    """The auxiliary task on P3: logits (N, C + 1, H/8, W/8), class 0 for no thing (YOLACT, section 5).

    It is a training signal for the features that the bases are made of; inference never runs it.
    """

    class_layers: ClassVar = {"6": ClassRows("things", shared=1)}

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
