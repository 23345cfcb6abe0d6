"""The blender (BlendMask, section 3.2): crop the bases to a box, weigh them by its attention, and sum.

The paper writes its sizes as R_K_M: 56_4_14 pools K = 4 bases to 56 x 56 and blends them with 14 x 14 attentions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchvision.ops import roi_align, roi_pool

from panoptic_blend.structures import Size


class TopLayer(nn.Conv2d):
    """Attentions (section 3.1): one 3x3 convolution on the box tower, to K * M * M channels.

    `at` evaluates it only at the locations that need it; ``forward`` is the dense convolution, which gives the same
    values there.
    """

    def __init__(self, in_channels: int = 256, num_bases: int = 4, attention_size: int = 14) -> None:
        super().__init__(in_channels, num_bases * attention_size**2, 3, padding=1)
        self.shape = (num_bases, attention_size, attention_size)
        nn.init.normal_(self.weight, std=0.01)
        assert self.bias is not None
        nn.init.zeros_(self.bias)

    def at(self, features: Sequence[Tensor], places: Tensor, counts: Sequence[int] | None = None) -> Tensor:
        """Attentions (P, K, M, M) at ``places`` (P, 4) int64: level, image, row, column.

        Args:
            features: the levels' box-tower outputs (N, in_channels, h, w).
            places: in any order.
            counts: `level_counts` of them, if they are known: to count them, a GPU completes all work before it.
        """
        order = torch.argsort(places[:, 0], stable=True)
        counts = list(counts or level_counts(places, len(features)))
        offset = torch.arange(3, device=places.device)
        patches = []
        for feature, of_level in zip(features, places[order, 1:].split(counts), strict=True):
            image, row, column = of_level.unbind(1)
            padded = F.pad(feature, (1, 1, 1, 1)).permute(0, 2, 3, 1)
            height, width = padded.shape[1:3]
            corner = (image * height + row) * width + column
            cells = corner[:, None] + (offset[:, None] * width + offset).flatten()
            # index_select, whose gradient the CPU sums in a fixed order; CUDA does not, and would for an index
            patches.append(
                padded.flatten(0, 2).index_select(0, cells.flatten()).reshape(len(cells), 9 * self.in_channels)
            )
        weight = self.weight.permute(0, 2, 3, 1).flatten(1)
        attentions = F.linear(torch.cat(patches).index_select(0, torch.argsort(order)), weight, self.bias)
        return attentions.unflatten(1, self.shape)


def level_counts(places: Tensor, number: int) -> list[int]:
    """How many of ``places`` (P, 4) lie on each of ``number`` levels."""
    levels = torch.arange(number, device=places.device)
    counts: list[int] = (places[:, :1] == levels).sum(dim=0).tolist()  # read at once, as a GPU waits for each
    return counts


def crop(
    bases: Tensor, boxes: Sequence[Tensor], size: int, stride: int = 4, pooling: Literal["align", "pool"] = "align"
) -> Tensor:
    """Crop the bases to boxes (eq. 1): ``r_d = RoIPool_RxR(B, p_d)``.

    Args:
        bases: (N, K, h, w) at ``stride``.
        boxes: per image (D, 4), in pixels of the padded batch.
        size: R.
        pooling: RoIAlign with one sample per cell, or the quantized max pooling of RoIPool.

    Returns:
        (sum of D, K, R, R), in the order of the boxes.
    """
    boxes = [b.to(bases.dtype) for b in boxes]
    if pooling == "pool":
        pooled: Tensor = roi_pool(bases, boxes, size, spatial_scale=1 / stride)
        return pooled
    aligned: Tensor = roi_align(bases, boxes, size, spatial_scale=1 / stride, sampling_ratio=1, aligned=True)
    return aligned


Interpolation = Literal["bilinear", "nearest"]


def score_maps(attentions: Tensor, size: Size, interpolation: Interpolation = "bilinear") -> Tensor:
    """Weights (D, K, R, R) of the bases from attentions (D, K, M, M), eq. 2-3; ``size`` is (R, R).

    ``a'_d = interpolate(a_d, R)``; ``s_d = softmax_K(a'_d)``, and with K = 1 the sigmoid.
    """
    resized = _resized(attentions, size, interpolation)
    return resized.sigmoid() if attentions.shape[1] == 1 else resized.softmax(dim=1)


def blend(crops: Tensor, attentions: Tensor, interpolation: Interpolation = "bilinear") -> Tensor:
    """Mask logits (D, R, R) of ``crops`` (D, K, R, R) and ``attentions`` (D, K, M, M), eq. 4.

    ``m_d = sum_K s_d * r_d`` with the `score_maps` ``s_d``. M = 1 is the weighted sum of YOLACT. With K = 1 there is
    nothing to choose from, and the mask's probability is ``sigmoid(a'_d) * sigmoid(r_d)``.
    """
    size = (crops.shape[-2], crops.shape[-1])
    if crops.shape[1] == 1:
        a, r = _resized(attentions, size, interpolation).squeeze(1), crops.squeeze(1)
        return -torch.stack([-a, -r, -a - r]).logsumexp(dim=0)  # the logit of that product
    return (score_maps(attentions, size, interpolation) * crops).sum(dim=1)


def _resized(attentions: Tensor, size: Size, interpolation: Interpolation) -> Tensor:
    align_corners = False if interpolation == "bilinear" else None
    return F.interpolate(attentions, size=size, mode=interpolation, align_corners=align_corners)


def assemble(crops: Tensor, attentions: None = None) -> Tensor:
    """Mask logits (D, R, R) without attentions: each of M x M cells shows its own basis, so K = M * M.

    The merge of FCIS (Li et al., CVPR 2017, section 2): `blend` by fixed one-hot weights, row by row,
    resized by nearest interpolation.
    """
    num_bases, size = crops.shape[1], crops.shape[-1]
    side = math.isqrt(num_bases)
    cell = torch.arange(size, device=crops.device) * side // size
    basis = cell[:, None] * side + cell
    return crops.gather(1, basis.expand(len(crops), 1, size, size)).squeeze(1)
