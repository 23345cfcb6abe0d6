"""Masks by kernels: each location predicts a small network of 1x1 convolutions, which reads the bases.

CondInst (Tian et al., ECCV 2020) runs it on the whole map, with coordinates relative to the location; here it runs in
the box, on the R x R cells that the blender would blend. With one convolution masks are linear in the bases, as in
SOLOv2 (Wang et al., NeurIPS 2020) and Panoptic FCN (Li et al., CVPR 2021). The kernels of stuff are learned: they are
the rows of the semantic head's predictor, on the map that `bottom.SharedBottom` reads too.
"""

from __future__ import annotations

from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.models.kernel_update import KernelUpdate, grouped


class KernelMerge(nn.Module):
    """The merge of bases by kernels, which stands in the place of `blender.blend`.

    Args:
        num_bases: K.
        channels: width of the network between its convolutions.
        num_convs: its convolutions, with a ReLU between each two.
        coordinates: whether the first one also reads the place in the box, x and y from -1 to 1.
        scale: multiplier of what a location predicts, which is added to weights that all locations share.
        rounds: how often kernels are updated by the mean of what the first convolution reads, over their masks.
    """

    def __init__(
        self,
        num_bases: int = 8,
        channels: int = 8,
        num_convs: int = 3,
        coordinates: bool = True,
        scale: float = 1.0,
        rounds: int = 0,
    ) -> None:
        super().__init__()
        self.coordinates, self.scale = coordinates, scale
        inputs = num_bases + 2 * coordinates
        self.layers = list(pairwise([inputs, *[channels] * (num_convs - 1), 1]))
        """Inputs and outputs of every convolution."""
        self.size = sum((inputs + 1) * outputs for inputs, outputs in self.layers)
        """T, the number of weights and biases in the kernels of one detection."""
        self.shared = nn.Parameter(torch.cat([_start(*layer) for layer in self.layers]))
        self.updates = nn.ModuleList(KernelUpdate(inputs, self.size) for _ in range(rounds))

    def forward(self, crops: Tensor, kernels: Tensor) -> Tensor:
        """Mask logits (D, R, R) of ``crops`` (D, K, R, R) and predicted ``kernels`` (D, T, 1, 1).

        Kernels hold, one convolution after the other, its weights (outputs, inputs), row by row, and its biases.
        """
        read = torch.cat([crops, _places(crops)], dim=1) if self.coordinates else crops
        read = read.flatten(2)
        with torch.autocast(crops.device.type, enabled=False):
            kernels = self.shared + self.scale * kernels.flatten(1)
            masks = self._convolved(read, kernels)
            for update in self.updates:
                kernels = update(grouped(masks.sigmoid(), read)[:, 0], kernels)
                masks = self._convolved(read, kernels)
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
