"""Region proposals (Ren et al., Faster R-CNN, NeurIPS 2015, section 3), torchvision's parts by detectron2's rules."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.models.detection.image_list import ImageList
from torchvision.models.detection.rpn import RegionProposalNetwork, RPNHead, concat_box_prediction_layers

from panoptic_blend.models.batching import at_least_float32
from panoptic_blend.structures import Size

RPN_SAMPLES = 256
"""Anchors per image that the loss of the proposals is computed on."""


class Anchors(nn.Module):
    """Boxes of one size and several shapes around every cell of a level (FPN, section 4.1).

    Unlike torchvision's they are not rounded, and they are the level's stride apart, whatever its size.

    Args:
        sizes: side of the square anchor of each level.
        strides: stride of each level.
        ratios: height over width.
    """

    def __init__(self, sizes: Sequence[float], strides: Sequence[int], ratios: Sequence[float]) -> None:
        super().__init__()
        self.sizes, self.strides, self.ratios = sizes, strides, ratios

    def num_anchors_per_location(self) -> list[int]:
        """The number of anchors per cell of each level; torchvision's RPN asks for it."""
        return [len(self.ratios)] * len(self.sizes)

    def forward(self, images: ImageList, features: Sequence[Tensor]) -> list[Tensor]:
        """Anchors (A, 4) of every image, level by level, row by row; those of cell (0, 0) are centered on (0, 0)."""
        levels = zip(features, self.sizes, self.strides, strict=True)
        anchors = torch.cat([self._level(feature, size, stride) for feature, size, stride in levels])
        return [anchors] * len(images.image_sizes)

    def _level(self, feature: Tensor, size: float, stride: int) -> Tensor:
        dtype = torch.promote_types(feature.dtype, torch.float32)
        widths = [size / math.sqrt(ratio) for ratio in self.ratios]
        shapes = [(width / 2, ratio * width / 2) for width, ratio in zip(widths, self.ratios, strict=True)]
        half = torch.tensor(shapes, dtype=dtype, device=feature.device)
        rows, columns = (torch.arange(n, device=feature.device) * stride for n in feature.shape[-2:])
        y, x = torch.meshgrid(rows, columns, indexing="ij")
        center = torch.stack([x, y], dim=-1)[:, :, None]
        return torch.cat([center - half, center + half], dim=-1).reshape(-1, 4)


class ProposalHead(RPNHead):
    """One 3x3 convolution, then an objectness and four deltas for every anchor, in at least float32."""

    def forward(self, x: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
        logits, deltas = super().forward(x)
        return [at_least_float32(y) for y in logits], [at_least_float32(y) for y in deltas]


class Proposals(RegionProposalNetwork):
    """The RPN with detectron2's loss: L1 instead of smooth L1, divided by the nominal number of samples."""

    def propose(
        self, features: list[Tensor], logits: list[Tensor], deltas: list[Tensor], sizes: Sequence[Size]
    ) -> list[Tensor]:
        """The proposals (P, 4) of every image, from what the head predicted on every level."""
        anchors = self.anchor_generator(images_of(sizes), features)
        counts = [level[0].numel() for level in logits]
        objectness, offsets = concat_box_prediction_layers(logits, deltas)
        boxes = self.box_coder.decode(offsets, anchors).unflatten(0, (len(sizes), -1)).flatten(2)
        proposals, _ = self.filter_proposals(boxes, objectness, list(sizes), counts)
        return proposals

    def compute_loss(
        self, objectness: Tensor, pred_bbox_deltas: Tensor, labels: list[Tensor], regression_targets: list[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Losses of the classes and boxes of all anchors (N * A, ...); ``labels`` are 1, 0, or -1 for ignored ones."""
        positive, negative = (torch.cat(chosen).bool() for chosen in self.fg_bg_sampler(labels))
        sampled, logits = positive | negative, objectness.flatten()
        truth = torch.cat(labels).to(logits.dtype)
        classes = F.binary_cross_entropy_with_logits(logits[sampled], truth[sampled], reduction="sum")
        deltas = torch.cat(regression_targets).to(pred_bbox_deltas.dtype)
        boxes = F.l1_loss(pred_bbox_deltas[positive], deltas[positive], reduction="sum")
        normalizer = RPN_SAMPLES * len(labels)
        return classes / normalizer, boxes / normalizer


def images_of(sizes: Sequence[Size]) -> ImageList:
    """An image list that holds sizes only, which is all that the region proposals read."""
    return ImageList(torch.empty(0), list(sizes))
