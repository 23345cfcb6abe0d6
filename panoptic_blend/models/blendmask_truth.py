"""What the losses of a BlendMask compare with, found before the forward pass: locations, masks, and a map of things."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from panoptic_blend.models.batching import pad
from panoptic_blend.models.blender import level_counts
from panoptic_blend.models.fcos import unravel
from panoptic_blend.models.fcos_targets import Assignment, centerness
from panoptic_blend.models.postprocess import cut_masks
from panoptic_blend.models.targets import instance_masks
from panoptic_blend.structures import Size, Target


@dataclass(frozen=True)
class Positives:
    """Which locations learn an instance, and what of it; locations run over level, image, row, column."""

    labels: Tensor
    """(A,) int64: thing label of every location, or C for background."""
    numbers: Tensor
    """(P,) int64: the locations that are not background."""
    places: Tensor
    """(P, 4) int64: level, image, row, column of these."""
    instances: Tensor
    """(P,) int64: the index of their instance among all G instances of the batch."""
    distances: Tensor
    """(P, 4) left, top, right, bottom in units of the stride."""
    weights: Tensor
    """(P,) those of the losses of boxes and masks: center-ness, if nothing else was found."""
    qualities: Tensor | None = None
    """(P,) from 0 to 1: what classes learn in the place of the IoU of the predicted box, if anything."""
    counts: Sequence[int] | None = None
    """How many of the places lie on each level, if that was counted before the forward pass."""

    @classmethod
    def of(cls, found: Assignment, sizes: Sequence[Size], num_images: int, num_classes: int) -> Positives:
        """Those of an assignment on levels of ``sizes`` (h, w)."""
        numbers = (found.labels < num_classes).nonzero().squeeze(1)
        distances = found.distances[numbers]
        places = unravel(numbers, sizes, num_images)
        counts = level_counts(places, len(sizes))
        return cls(
            found.labels, numbers, places, found.instances[numbers], distances, centerness(distances), counts=counts
        )


@dataclass(frozen=True)
class Truth:
    """What the losses of a batch compare with."""

    positives: Positives
    boxes: Sequence[Tensor]
    """Of each image (G', 4), in pixels."""
    labels: Tensor
    """(G,) int64: thing labels of the instances of all images."""
    masks: Tensor
    """(G, R, R) bool: `mask_targets`."""
    things: Tensor | None
    """(N, H/8, W/8) int64: `thing_semantic`, if there is an auxiliary head."""


def mask_targets(target: Target, size: int) -> Tensor:
    """The mask of every instance inside its box, resampled to (G, R, R) bool."""
    if "mask_targets" in target:
        return target["mask_targets"]
    boxes = target["boxes"].float()
    return cut_masks(instance_masks(target), torch.arange(len(boxes), device=boxes.device), boxes, size)


def thing_semantic(target: Target) -> Tensor:
    """The thing label + 1 of every pixel (H, W), 0 for no thing; where masks overlap, the last one counts."""
    if "thing_semantic" in target:
        return target["thing_semantic"]
    masks = instance_masks(target)
    result = torch.zeros(masks.shape[1:], dtype=torch.int64, device=masks.device)
    for mask, label in zip(masks, target["labels"], strict=True):
        result[mask] = label + 1
    return result


def things_of(targets: Sequence[Target]) -> Tensor:
    """`thing_semantic` of a padded batch at every eighth pixel, 0 in the padding: (N, H/8, W/8) int64."""
    return pad([thing_semantic(t) for t in targets], 0)[:, ::8, ::8].long().contiguous()
