"""The loss terms; every function returns a scalar."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import sigmoid_focal_loss

from panoptic_blend.structures import IGNORE


def class_loss(logits: Tensor, labels: Tensor, num_positives: Tensor) -> Tensor:
    """Focal loss of all locations (A, C), divided by the number of positives (RetinaNet eq. 5; FCOS eq. 2).

    ``labels`` (A,) int64, C for background; alpha 0.25, gamma 2.
    """
    num_classes = logits.shape[1]
    truth = (labels[:, None] == torch.arange(num_classes, device=labels.device)).to(logits.dtype)
    loss: Tensor = sigmoid_focal_loss(logits, truth, alpha=0.25, gamma=2.0, reduction="sum")
    return loss / num_positives


def quality_focal_loss(logits: Tensor, labels: Tensor, qualities: Tensor, num_positives: Tensor) -> Tensor:
    """Focal loss of all locations (A, C) that learns qualities (A,) from 0 to 1 of positives, over their number.

    ``|y - p|^2`` times the binary cross entropy of the probability p and y: the quality for the class of a positive,
    else 0 (Li et al., Generalized Focal Loss, NeurIPS 2020, quality focal loss, with beta 2).
    """
    num_classes = logits.shape[1]
    truth = F.one_hot(labels, num_classes + 1)[:, :num_classes] * qualities[:, None]
    costs = F.binary_cross_entropy_with_logits(logits, truth, reduction="none")
    return ((truth - logits.sigmoid()).square() * costs).sum() / num_positives


def box_loss(predicted: Tensor, truth: Tensor, weights: Tensor, normalizer: Tensor) -> Tensor:
    """Weighted ``1 - GIoU`` of boxes given as distances left, top, right, bottom (P, 4) from one point.

    Distances are in units of the stride; IoU is smoothed, ``(I + 1) / (U + 1)``, as in FCOS' code,
    and GIoU (Rezatofighi et al., CVPR 2019, algorithm 1) is ``IoU - (E - U) / E`` with the enclosing box E.
    """
    intersection = _area(torch.minimum(predicted, truth))
    union = _area(predicted) + _area(truth) - intersection
    enclosing = _area(torch.maximum(predicted, truth))
    giou = (intersection + 1) / (union + 1) - (enclosing - union) / enclosing
    return ((1 - giou) * weights).sum() / normalizer


def _area(distances: Tensor) -> Tensor:
    left, top, right, bottom = distances.unbind(1)
    return (left + right) * (top + bottom)


def centerness_loss(logits: Tensor, truth: Tensor, num_positives: Tensor) -> Tensor:
    """Binary cross entropy of the positives' center-ness, or of another quality, (P,) (FCOS, section 3.3)."""
    return F.binary_cross_entropy_with_logits(logits, truth, reduction="sum") / num_positives


def mask_loss(logits: Tensor, truth: Tensor, weights: Tensor, normalizer: Tensor, dice_weight: float = 0.0) -> Tensor:
    """Binary cross entropy of blended masks (P, R, R), mean over pixels, weighted by center-ness (P,).

    To that of each mask, its `dice_loss` is added, times ``dice_weight``.
    """
    per_instance = F.binary_cross_entropy_with_logits(logits, truth, reduction="none").mean(dim=(1, 2))
    if dice_weight:
        per_instance = per_instance + dice_weight * dice_loss(logits, truth)
    return (per_instance * weights).sum() / normalizer


def dice_loss(logits: Tensor, truth: Tensor) -> Tensor:
    """One minus the dice coefficient of each mask (P, R, R): (P,) (V-Net, Milletari et al., 3DV 2016, section 3).

    ``1 - (2 sum(p q) + 1) / (sum(p^2) + sum(q^2) + 1)`` over the pixels, with probabilities p and truth q; the two ones
    keep it smooth where there is no mask.
    """
    probabilities = logits.sigmoid()
    common = (probabilities * truth).sum(dim=(1, 2))
    return 1 - (2 * common + 1) / (probabilities.square().sum(dim=(1, 2)) + truth.square().sum(dim=(1, 2)) + 1)


def semantic_loss(logits: Tensor, truth: Tensor, num_pixels: Tensor) -> Tensor:
    """Cross entropy of the pixels of ``truth`` (N, H, W) int64 that are not ignored, over ``num_pixels``."""
    per_pixel = logits.permute(0, 2, 3, 1).flatten(0, 2)  # no copy where channels come last in memory
    return F.cross_entropy(per_pixel, truth.flatten(), ignore_index=IGNORE, reduction="sum") / num_pixels


def upsampled_semantic_loss(logits: Tensor, stride: int, truth: Tensor, num_pixels: Tensor) -> Tensor:
    """`semantic_loss` of logits (N, S + 1, h, w), upsampled by ``stride`` for one image at a time to save memory."""
    total: Tensor = _UpsampledSemanticLoss.apply(logits, stride, truth, num_pixels)
    return total


class _UpsampledSemanticLoss(torch.autograd.Function):
    """Computes the gradient together with the value, so that no full-resolution map is kept for the backward pass."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, stride: int, truth: Tensor, num_pixels: Tensor) -> Tensor:
        losses, gradients = [], []
        for image, target in zip(logits.detach().split(1), truth.split(1), strict=True):
            with torch.enable_grad():
                upsampled = F.interpolate(
                    image.requires_grad_(), scale_factor=float(stride), mode="bilinear", align_corners=False
                )
                loss = semantic_loss(upsampled, target, num_pixels)
            gradients += torch.autograd.grad(loss, image)
            losses.append(loss.detach())
        ctx.save_for_backward(torch.cat(gradients))
        return torch.stack(losses).sum()

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        [saved] = ctx.saved_tensors
        return gradient * saved, None, None, None
