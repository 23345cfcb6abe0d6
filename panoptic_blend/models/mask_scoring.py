"""By what the score of a detection is multiplied, so that good masks come first: what its mask says of itself."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from panoptic_blend.models.batching import at_least_float32

_WIDTH, _STEPS = 16, 3


def maskness(crops: Tensor, logits: Tensor) -> Tensor:
    """The mean of the mask probabilities above 0.5 of logits (D, R, R): (D,), and 0 where none is; no crops are read.

    SOLO multiplies the scores of its masks by it (Wang et al., SOLO: A Simple Framework for Instance Segmentation,
    TPAMI 2021).
    """
    probabilities = logits.sigmoid()
    inside = probabilities > 0.5
    return (probabilities * inside).sum(dim=(1, 2)) / inside.sum(dim=(1, 2)).clamp(min=1)


class MaskScorer(nn.Module):
    """Predicts the IoU of a mask with the true one (Mask Scoring R-CNN, Huang et al., CVPR 2019, section 3.2).

    It reads the mask and the cropped bases that the mask was made of, as the paper's head reads a mask and the features
    of its region; but it has three convolutions of stride 2 and a mean in the place of four and three large layers, and
    one output for all classes. Nothing that it learns changes the mask.

    Args:
        num_bases: K.
    """

    def __init__(self, num_bases: int = 4) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for number in range(_STEPS):
            layers += [nn.Conv2d(_WIDTH if number else num_bases + 1, _WIDTH, 3, 2, padding=1), nn.ReLU()]
        self.convs, self.predictor = nn.Sequential(*layers), nn.Linear(_WIDTH, 1)

    def forward(self, crops: Tensor, logits: Tensor) -> Tensor:
        """IoUs (D,) from 0 to 1, for crops (D, K, R, R) and mask logits (D, R, R)."""
        read = torch.cat([crops, logits[:, None].sigmoid()], dim=1).detach()
        predicted: Tensor = self.predictor(self.convs(read).mean(dim=(2, 3)))
        return at_least_float32(predicted.squeeze(1)).sigmoid()


def mask_iou(logits: Tensor, truth: Tensor) -> Tensor:
    """IoU (P,) of masks, which are where logits (P, R, R) are at least 0, with the true ones (P, R, R) bool."""
    masks = logits >= 0
    return (masks & truth).sum(dim=(1, 2)) / (masks | truth).sum(dim=(1, 2)).clamp(min=1)
