"""A round of K-Net (Zhang et al., NeurIPS 2021, section 3.2): kernels learn from what their masks show."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn


def grouped(probabilities: Tensor, features: Tensor) -> Tensor:
    """The mean of features (..., c, pixels) over each mask of probabilities (..., masks, pixels): (..., masks, c).

    K-Net's group features are sums (eq. 3), in its code over the pixels above 0.5; here they are divided by the area of
    the mask, of which at least one pixel counts, so that they do not grow with the picture.
    """
    return probabilities @ features.transpose(-1, -2) / probabilities.sum(dim=-1, keepdim=True).clamp(min=1)


class KernelUpdate(nn.Module):
    """Adaptive update of kernels by group features (K-Net, eq. 4-6), which starts as one that changes nothing.

    With group features f, kernels k, and linear layers a to h: ``m = a(f) * b(k)``; ``u = sigmoid(c(m)) * d(f) +
    sigmoid(e(m)) * g(k)``; the kernels become ``k + h(relu(norm(u)))``. K-Net normalizes after c, d, e and g too, its
    kernels also attend to each other and are replaced, and the masks of every round are supervised. Here the update
    is added, so that the loss of the last masks trains the first ones too.

    Args:
        feature_channels: channels of the group features.
        kernel_channels: values of a kernel.
        channels: width of the update.
    """

    def __init__(self, feature_channels: int, kernel_channels: int, channels: int = 64) -> None:
        super().__init__()
        self.of_features = nn.Linear(feature_channels, 2 * channels)
        self.of_kernels = nn.Linear(kernel_channels, 2 * channels)
        self.gates = nn.Linear(channels, 2 * channels)
        self.norm = nn.LayerNorm(channels)
        self.change = nn.Linear(channels, kernel_channels)
        nn.init.zeros_(self.change.weight)
        nn.init.zeros_(self.change.bias)

    def forward(self, features: Tensor, kernels: Tensor) -> Tensor:
        """The kernels (..., kernel_channels), updated by their group features (..., feature_channels)."""
        from_features, features = self.of_features(features).chunk(2, dim=-1)
        from_kernels, old = self.of_kernels(kernels).chunk(2, dim=-1)
        to_features, to_old = self.gates(from_features * from_kernels).sigmoid().chunk(2, dim=-1)
        changed: Tensor = kernels + self.change(F.relu(self.norm(to_features * features + to_old * old)))
        return changed
