"""Masks by kernels: each location predicts a small network of 1x1 convolutions, which reads the bases.

CondInst (Tian et al., ECCV 2020) runs it on the whole map, with coordinates relative to the location; here it runs in
the box, on the R x R cells that the blender would blend. With one convolution masks are linear in the bases, as in
SOLOv2 (Wang et al., NeurIPS 2020) and Panoptic FCN (Li et al., CVPR 2021). The kernels of stuff are learned: they are
the rows of the semantic head's predictor, on the map that `bottom.SharedBottom` reads too.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.models.blender import Interpolation, blend
from panoptic_blend.models.kernel_update import KernelUpdate, grouped


class KernelMerge(nn.Module):
    """The merge of bases by kernels, which stands in the place of `blender.blend`, or adds to it.

    Args:
        num_bases: K.
        channels: width of the network between its convolutions.
        num_convs: its convolutions, with a ReLU between each two.
        coordinates: whether the first one also reads the place in the box, x and y from -1 to 1.
        scale: multiplier of what a location predicts, which is added to weights that all locations share.
        rounds: how often kernels are updated by the mean of what the first convolution reads, over their masks.
        attention_size: M, to add masks that attentions blend of the same bases; they alone make the first masks.
        interpolation: of these attentions.
    """

    def __init__(
        self,
        num_bases: int = 8,
        channels: int = 8,
        num_convs: int = 3,
        coordinates: bool = True,
        scale: float = 1.0,
        rounds: int = 0,
        attention_size: int = 0,
        interpolation: Interpolation = "bilinear",
    ) -> None:
        super().__init__()
        self.coordinates, self.scale = coordinates, scale
        inputs = num_bases + 2 * coordinates
        self.layers = list(pairwise([inputs, *[channels] * (num_convs - 1), 1]))
        """Inputs and outputs of every convolution."""
        self.shared = nn.Parameter(torch.cat([_start(*layer) for layer in self.layers]))
        self.attentions, self.interpolation = (num_bases, attention_size, attention_size), interpolation
        if attention_size:
            nn.init.zeros_(self.shared[-self.layers[-1][0] - 1 :])
        self.size = math.prod(self.attentions) + len(self.shared)
        """T, the number of values that a location predicts: its attentions, then its kernels."""
        self.updates = nn.ModuleList(KernelUpdate(inputs, len(self.shared)) for _ in range(rounds))

    def forward(self, crops: Tensor, predicted: Tensor) -> Tensor:
        """Mask logits (D, R, R) of ``crops`` (D, K, R, R) and ``predicted`` (D, T, 1, 1).

        Kernels hold, one convolution after the other, its weights (outputs, inputs), row by row, and its biases.
        """
        read = torch.cat([crops, _places(crops)], dim=1) if self.coordinates else crops
        read = read.flatten(2)
        attentions, kernels = predicted.flatten(1).tensor_split([math.prod(self.attentions)], dim=1)
        blended = crops.new_zeros(())
        if attentions.shape[1]:
            blended = blend(crops, attentions.unflatten(1, self.attentions), self.interpolation).flatten(1)[:, None]
        with torch.autocast(crops.device.type, enabled=False):
            kernels = self.shared + self.scale * kernels
            masks = blended + self._convolved(read, kernels)
            for update in self.updates:
                kernels = update(grouped(masks.sigmoid(), read)[:, 0], kernels)
                masks = blended + self._convolved(read, kernels)
        return masks.reshape(len(crops), *crops.shape[2:])

    def _convolved(self, values: Tensor, kernels: Tensor) -> Tensor:
        """Mask logits (D, 1, R * R) of what the first convolution reads and ``kernels`` (D, T)."""
        for number, (inputs, outputs) in enumerate(self.layers):
            weights, biases, kernels = kernels.tensor_split([inputs * outputs, (inputs + 1) * outputs], dim=1)
            values = values if number == 0 else F.relu(values)
            values = torch.baddbmm(biases[:, :, None], weights.unflatten(1, (outputs, inputs)), values)
        return values


def _start(inputs: int, outputs: int) -> Tensor:
    """The first weights and biases of a convolution, as of one that is no kernel.

    With all weights of several convolutions near zero, none has a gradient worth mentioning.
    """
    weights = nn.init.kaiming_uniform_(torch.empty(outputs, inputs), nonlinearity="relu")
    return torch.cat([weights.flatten(), torch.zeros(outputs)])


def _places(crops: Tensor) -> Tensor:
    """x and y (D, 2, R, R) of the centers of the cells of crops (D, K, R, R): the box goes from -1 to 1."""
    side = crops.shape[-1]
    centers = (2 * torch.arange(side, dtype=crops.dtype, device=crops.device) + 1) / side - 1
    y, x = torch.meshgrid(centers, centers, indexing="ij")
    return torch.stack([x, y]).expand(len(crops), 2, side, side)
