"""Feature pyramid network (Lin et al., CVPR 2017) with FCOS' extra levels, from torchvision's parts."""

from __future__ import annotations

from collections.abc import Mapping

import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import FeaturePyramidNetwork
from torchvision.ops.feature_pyramid_network import ExtraFPNBlock

from panoptic_blend.models.batching import resized


class StridedLevels(ExtraFPNBlock):
    """Coarser levels by 3x3 convolutions of stride 2 on the last output; ReLU before all but the first."""

    def __init__(self, channels: int, num_levels: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(channels, channels, 3, 2, 1) for _ in range(num_levels))

    def forward(self, results: list[Tensor], x: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        coarsest = results[-1]
        for i, conv in enumerate(self.convs):
            coarsest = conv(coarsest if i == 0 else F.relu(coarsest))
            results.append(coarsest)
            names.append(f"c{6 + i}")
        return results, names


class SubsampledLevel(ExtraFPNBlock):
    """One coarser level: every second row and column of the last output, which is max pooling of size 1 and stride 2.

    Unlike torchvision's ``LastLevelMaxPool`` it can be exported with any height and width by torch 2.11 too.
    """

    def forward(self, results: list[Tensor], x: list[Tensor], names: list[str]) -> tuple[list[Tensor], list[str]]:
        return [*results, results[-1][:, :, ::2, ::2]], [*names, "pool"]


class FPN(nn.Module):
    """``{"c3": ..., "c5": ...}`` to ``{"p3": (N, channels, H/8, W/8), ..., "p5": ..., "p7": stride 128}``.

    Args:
        in_channels: backbone stages to read, finest first, with their channels.
        channels: channels of every output.
        extra_levels: how many levels follow the coarsest stage, by strided convolutions.
        pooled_level: one level follows it instead, by max pooling, as in Mask R-CNN's pyramid.
    """

    def __init__(
        self, in_channels: Mapping[str, int], channels: int = 256, extra_levels: int = 2, pooled_level: bool = False
    ) -> None:
        super().__init__()
        self.stages = tuple(in_channels)
        extra: ExtraFPNBlock | None
        if pooled_level:
            extra, extra_levels = SubsampledLevel(), 1
        else:
            extra = StridedLevels(channels, extra_levels) if extra_levels else None
        self.levels = tuple(f"p{int(self.stages[0][1]) + i}" for i in range(len(in_channels) + extra_levels))
        self.pyramid = FeaturePyramidNetwork(list(in_channels.values()), channels, extra_blocks=extra)
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.kaiming_uniform_(conv.weight, a=1)
                assert conv.bias is not None
                nn.init.zeros_(conv.bias)

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        stages, parts = [features[name] for name in self.stages], self.pyramid
        merged = [block(x) for block, x in zip(parts.inner_blocks, stages, strict=True)]
        for i in reversed(range(len(merged) - 1)):  # as torchvision's, which does not resize in the dtype of the map
            finer = merged[i]
            merged[i] = finer + resized(merged[i + 1], (finer.shape[-2], finer.shape[-1]), "nearest")
        outputs = [block(x) for block, x in zip(parts.layer_blocks, merged, strict=True)]
        if parts.extra_blocks is not None:
            outputs, _ = parts.extra_blocks(outputs, stages, list(self.stages))
        return dict(zip(self.levels, outputs, strict=True))
