"""Masks by kernels: each location predicts a small network of 1x1 convolutions, which reads the bases.

CondInst (Tian et al., ECCV 2020, section 3.2) runs it on the whole map; here it runs inside the box, where the blender
would blend, on as many values as R x R. With one convolution the masks are linear in the bases, as in SOLOv2 (Wang et
al., NeurIPS 2020, section 3.2) and Panoptic FCN (Li et al., CVPR 2021, section 3.4). The kernels of stuff are learned:
they are the rows of the semantic head's predictor, on the map that `bottom.SharedBottom` reads too.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class KernelMerge(nn.Module):
    """The merge of bases by kernels, which stands in the place of `blender.blend`.

    Args:
        num_bases: K.
        channels: width of the network between its convolutions.
        num_convs: its convolutions, with a ReLU between each two.
        coordinates: whether the first one also reads the place in the box, x and y from -1 to 1.
    """

    def __init__(self, num_bases: int = 8, channels: int = 8, num_convs: int = 3, coordinates: bool = True) -> None:
        super().__init__()
        self.coordinates = coordinates
        self.layers = list(pairwise([num_bases + 2 * coordinates, *[channels] * (num_convs - 1), 1]))
        """Inputs and outputs of every convolution."""
        self.size = sum((inputs + 1) * outputs for inputs, outputs in self.layers)
        """T, the number of weights and biases in the kernels of one detection."""

    def forward(self, crops: Tensor, kernels: Tensor) -> Tensor:
        """Mask logits (D, R, R) of ``crops`` (D, K, R, R) and ``kernels`` (D, T, 1, 1).

        Kernels hold, one convolution after the other, its weights (outputs, inputs), row by row, and its biases.
        """
        side = crops.shape[-1]
        values = torch.cat([crops, _places(crops)], dim=1) if self.coordinates else crops
        values, rest = values.flatten(2), kernels.flatten(1)
        with torch.autocast(crops.device.type, enabled=False):
            for number, (inputs, outputs) in enumerate(self.layers):
                weights, biases, rest = rest.tensor_split([inputs * outputs, (inputs + 1) * outputs], dim=1)
                values = values if number == 0 else F.relu(values)
                values = torch.baddbmm(biases[:, :, None], weights.unflatten(1, (outputs, inputs)), values)
        return values.reshape(len(crops), side, side)


def _places(crops: Tensor) -> Tensor:
    """x and y (D, 2, R, R) of the centers of the cells of crops (D, K, R, R): the box goes from -1 to 1."""
    side = crops.shape[-1]
    centers = (2 * torch.arange(side, dtype=crops.dtype, device=crops.device) + 1) / side - 1
    y, x = torch.meshgrid(centers, centers, indexing="ij")
    return torch.stack([x, y]).expand(len(crops), 2, side, side)
