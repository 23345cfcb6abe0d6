"""The blender (BlendMask, section 3.2): bases cropped to a box, weighed by its attention, summed.

Written R_K_M in the paper: 56_4_14 pools K = 4 bases to 56 x 56 and blends them with 14 x 14 attentions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align


class TopLayer(nn.Conv2d):
    """Attentions (section 3.1): one 3x3 convolution on the box tower, to K * M * M channels.

    `at` evaluates it only where an instance needs it; `forward` is the dense convolution it equals there.
    """

    def __init__(self, in_channels: int = 256, num_bases: int = 4, attention_size: int = 14) -> None:
        super().__init__(in_channels, num_bases * attention_size**2, 3, padding=1)
        self.shape = (num_bases, attention_size, attention_size)
        nn.init.normal_(self.weight, std=0.01)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def at(self, features: Sequence[Tensor], places: Tensor) -> Tensor:
        """Attentions (P, K, M, M) at ``places`` (P, 4) int64: level, image, row, column.

        ``features`` are the levels' box-tower outputs (N, in_channels, h, w).
        """
        order = torch.argsort(places[:, 0], stable=True)
        offset = torch.arange(3, device=places.device)
        patches = []
        for level, feature in enumerate(features):
            image, row, column = places[order][places[order, 0] == level, 1:].unbind(1)
            padded = F.pad(feature, (1, 1, 1, 1)).permute(0, 2, 3, 1)
            height, width = padded.shape[1:3]
            corner = (image * height + row) * width + column
            cells = corner[:, None] + (offset[:, None] * width + offset).flatten()
            # index_select, because its gradient is summed in a fixed order
            patches.append(
                padded.flatten(0, 2).index_select(0, cells.flatten()).reshape(len(cells), 9 * self.in_channels)
            )
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        attentions = F.linear(torch.cat(patches).index_select(0, torch.argsort(order)), weight, self.bias)
        return attentions.unflatten(1, self.shape)


def crop(bases: Tensor, boxes: Sequence[Tensor], size: int, stride: int = 4) -> Tensor:
    """Eq. 1: ``r_d = RoIAlign_RxR(B, p_d)``, one sample per cell.

    ``bases`` (N, K, h, w) at ``stride``, ``boxes`` per image (D, 4) in pixels; (sum of D, K, R, R) in their order.
    """
    boxes = [b.to(bases.dtype) for b in boxes]
    pooled: Tensor = roi_align(bases, boxes, size, spatial_scale=1 / stride, sampling_ratio=1, aligned=True)
    return pooled


def blend(crops: Tensor, attentions: Tensor) -> Tensor:
    """Mask logits (D, R, R) of ``crops`` (D, K, R, R) and ``attentions`` (D, K, M, M), eq. 2-4.

    ``a'_d = interpolate(a_d, R)``; ``s_d = softmax_K(a'_d)``; ``m_d = sum_K s_d * r_d``.
    """
    resized = F.interpolate(attentions, size=crops.shape[-2:], mode="bilinear", align_corners=False)
    return (resized.softmax(dim=1) * crops).sum(dim=1)
