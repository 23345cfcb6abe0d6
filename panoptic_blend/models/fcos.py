"""The head of FCOS (Tian et al., ICCV 2019, section 3): towers, and raw predictions on every level."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.models.batching import uploaded
from panoptic_blend.models.class_rows import ClassRows
from panoptic_blend.models.head_norms import HeadNorm, head_norm, on_levels


@dataclass(frozen=True)
class LevelPredictions:
    """The predictions at every location of one pyramid level."""

    stride: int
    logits: Tensor
    """(N, C, h, w) class logits, before the sigmoid."""
    distances: Tensor
    """(N, 4, h, w) left, top, right, bottom >= 0, in units of the stride."""
    centerness: Tensor | None
    """(N, 1, h, w) logits of center-ness, or of another quality of the box; None if class logits tell of it."""
    features: Tensor
    """(N, channels, h, w) output of the box tower, which the top layer reads."""


def locations(height: int, width: int, stride: int, device: torch.device | None = None) -> Tensor:
    """Centers (h * w, 2) of the cells, row by row, in pixels: ``(x * s + s // 2, y * s + s // 2)`` (section 3.1)."""
    y, x = torch.meshgrid(torch.arange(height, device=device), torch.arange(width, device=device), indexing="ij")
    return torch.stack([x, y], dim=-1).reshape(-1, 2) * stride + stride // 2


def unravel(indices: Tensor, sizes: Sequence[tuple[int, int]], num_images: int) -> Tensor:
    """Turn flat ``indices`` (P,), which run over level, image, row, column, into those four numbers: (P, 4)."""
    areas, widths = uploaded([[h * w, w] for h, w in sizes], indices).unbind(1)
    ends = (areas * num_images).cumsum(0)
    level = torch.searchsorted(ends, indices, right=True)
    within = indices - (ends - areas * num_images)[level]
    width = widths[level]
    image, cell = within // areas[level], within % areas[level]
    return torch.stack([level, image, cell // width, cell % width], dim=1)


def flat(maps: Iterable[Tensor]) -> Tensor:
    """Concatenate the maps (N, c, h, w) of all levels to (A, c), running over level, image, row, column."""
    return torch.cat([x.permute(0, 2, 3, 1).flatten(0, 2) for x in maps])


def _tower(channels: int, num_convs: int, norm: HeadNorm) -> nn.Sequential:
    layers: list[nn.Module] = []
    for _ in range(num_convs):
        layers += [nn.Conv2d(channels, channels, 3, padding=1), head_norm(norm, channels), nn.ReLU()]
    return nn.Sequential(*layers)


class _Distances(nn.Conv2d):
    """A convolution in float32 under autocast: bfloat16 rounds distances by up to 0.4 %, which is 8 pixels at P7."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return super().forward(x.to(self.weight.dtype))


class FCOSHead(nn.Module):
    """Predictions at every location; all levels share the weights.

    Args:
        channels: channels of the pyramid and of both towers, a multiple of 32.
        num_classes: C, without background.
        num_convs: convolutions in each of the two towers.
        shared_convs: convolutions that both towers share, before their own.
        norm: normalization after each of these convolutions.
        prior: probability of every class before training (focal loss, Lin et al., ICCV 2017, section 4.1).
        has_quality: whether there is a layer for center-ness, or another quality of the box.
    """

    class_layers: ClassVar = {"class_logits": ClassRows("things")}
    """Layers whose first size is a number of classes; rows of classes that weights do not know start anew."""

    def __init__(
        self,
        channels: int = 256,
        num_classes: int = 80,
        num_convs: int = 4,
        shared_convs: int = 0,
        norm: HeadNorm = "gn",
        prior: float = 0.01,
        has_quality: bool = True,
    ) -> None:
        super().__init__()
        self.shared_tower = _tower(channels, shared_convs, norm)
        self.class_tower = _tower(channels, num_convs, norm)
        self.box_tower = _tower(channels, num_convs, norm)
        self.class_logits = nn.Conv2d(channels, num_classes, 3, padding=1)
        self.distances = _Distances(channels, 4, 3, padding=1)
        self.centerness: nn.Conv2d | None = nn.Conv2d(channels, 1, 3, padding=1)
        for conv in self.modules():
            if isinstance(conv, nn.Conv2d):
                nn.init.normal_(conv.weight, std=0.01)
                assert conv.bias is not None
                nn.init.zeros_(conv.bias)
        assert self.class_logits.bias is not None
        nn.init.constant_(self.class_logits.bias, -math.log((1 - prior) / prior))
        if not has_quality:
            self.centerness = None  # only now, so that the other layers have the same random numbers as with it

    def forward(self, features: Sequence[Tensor], strides: Sequence[int]) -> list[LevelPredictions]:
        """Predict from ``features`` (N, channels, h, w), one per level, at ``strides``."""
        features = on_levels(self.shared_tower, features)
        classes, boxes = on_levels(self.class_tower, features), on_levels(self.box_tower, features)
        return [self._level(*parts) for parts in zip(classes, boxes, strides, strict=True)]

    def _level(self, classes: Tensor, boxes: Tensor, stride: int) -> LevelPredictions:
        return LevelPredictions(
            stride=stride,
            logits=self.class_logits(classes),
            distances=F.relu(self.distances(boxes)),
            centerness=None if self.centerness is None else self.centerness(boxes),
            features=boxes,
        )
