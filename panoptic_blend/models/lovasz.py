"""The Lovasz-softmax loss (Berman et al., CVPR 2018): a smooth stand-in for the IoU of the classes of an image."""

from __future__ import annotations

import torch
from torch import Tensor

from panoptic_blend.structures import IGNORE


def present(truth: Tensor, num_classes: int) -> Tensor:
    """Which classes each map of ``truth`` (N, h, w) int64 has: (N, C) bool."""
    seen = torch.zeros(len(truth), IGNORE + 1, dtype=torch.bool, device=truth.device)
    return seen.scatter(1, truth.flatten(1), True)[:, :num_classes]


def lovasz_softmax(logits: Tensor, truth: Tensor, number: Tensor) -> Tensor:
    """One minus the IoU of each class in each image that has it, extended to probabilities; the sum over ``number``.

    The error of a pixel is the probability of the class where it is another, and one minus that where it is the class
    (eq. 8). In the order of falling errors, each is weighted by what 1 - IoU rises when its pixel becomes wrong too
    (eq. 9, algorithm 1). Ignored pixels have no error.

    Args:
        logits: (N, C, h, w).
        truth: (N, h, w) int64.
        number: of pairs of an image and a class in it (`present`), in all images of the step.
    """
    images, classes = present(truth, logits.shape[1]).nonzero(as_tuple=True)
    maps, probabilities = truth.flatten(1)[images], logits.flatten(2).softmax(dim=1)[images, classes]
    is_class = (maps == classes[:, None]).to(logits.dtype)
    errors = torch.where(maps == IGNORE, 0, (is_class - probabilities).abs())
    errors, order = errors.sort(dim=1, descending=True, stable=True)
    loss: Tensor = (errors * _rises(is_class.gather(1, order))).sum() / number
    return loss


def _rises(is_class: Tensor) -> Tensor:
    """By how much 1 - IoU rises when each next pixel (Q, P) becomes wrong; ``is_class`` is 1 for those of the class."""
    area, wrong = is_class.sum(dim=1, keepdim=True), is_class.cumsum(dim=1)
    lost = 1 - (area - wrong) / (area + (1 - is_class).cumsum(dim=1))
    return lost.diff(dim=1, prepend=torch.zeros_like(area))
