"""Which ground truth a location answers for (FCOS, section 3.1-3.3, with centre sampling)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from panoptic_blend.models.fcos import locations


@dataclass(frozen=True)
class Assignment:
    """What every location of a batch must predict; locations run over level, image, row, column."""

    labels: Tensor
    """(A,) int64: thing label, or C for background."""
    instances: Tensor
    """(A,) int64: which instance, counted over the batch; meaningless for background."""
    distances: Tensor
    """(A, 4) left, top, right, bottom in units of the stride; meaningless for background."""


def centerness(distances: Tensor) -> Tensor:
    """Eq. 3: ``sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b))`` of positive (P, 4) distances."""
    horizontal, vertical = distances[:, [0, 2]], distances[:, [1, 3]]
    ratio = horizontal.amin(1) / horizontal.amax(1) * (vertical.amin(1) / vertical.amax(1))
    return ratio.sqrt()


def assign(
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    num_classes: int,
    size_limits: Sequence[float] = (64, 128, 256, 512),
    radius: float = 1.5,
) -> Assignment:
    """Assign every location to one instance or to the background.

    A location is positive for an instance if it lies strictly inside the box and within ``radius``
    strides of its centre, and if its largest distance falls into its level's range (both ends
    included). Among several instances the one with the smallest box wins.

    Args:
        boxes: per image (G, 4), in pixels; with ``labels``, per image (G,) int64.
        sizes: (h, w) of every level; with ``strides``.
        size_limits: upper end of every level's range but the last, which has none.
    """
    uppers = [*size_limits, float("inf")]
    if len(uppers) != len(sizes):
        raise ValueError(f"{len(sizes)} levels need {len(sizes) - 1} size limits, not {len(size_limits)}")
    first = torch.tensor([0, *(len(b) for b in boxes)]).cumsum(0).tolist()
    parts: list[tuple[Tensor, Tensor, Tensor]] = []
    for (h, w), stride, lower, upper in zip(sizes, strides, [-1, *size_limits], uppers, strict=True):
        points = locations(h, w, stride, boxes[0].device).to(boxes[0].dtype)
        for image, (image_boxes, image_labels) in enumerate(zip(boxes, labels, strict=True)):
            if len(image_boxes) == 0:
                background = torch.full((h * w,), num_classes, device=points.device)
                parts.append((background, torch.zeros_like(background), points.new_zeros(h * w, 4)))
                continue
            chosen, positive, distances = _choose(points, image_boxes, radius * stride, lower, upper)
            level_labels = torch.where(positive, image_labels[chosen], num_classes)
            parts.append((level_labels, chosen + first[image], distances / stride))
    all_labels, instances, all_distances = (torch.cat(part) for part in zip(*parts, strict=True))
    return Assignment(all_labels, instances, all_distances)


def _choose(points: Tensor, boxes: Tensor, reach: float, lower: float, upper: float) -> tuple[Tensor, Tensor, Tensor]:
    """The smallest eligible box for every point: its index (A,), whether there is one (A,), distances (A, 4)."""
    to_sides = torch.cat([points[:, None] - boxes[None, :, :2], boxes[None, :, 2:] - points[:, None]], dim=2)
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    core = torch.cat([torch.maximum(center - reach, boxes[:, :2]), torch.minimum(center + reach, boxes[:, 2:])], 1)
    to_core = torch.cat([points[:, None] - core[None, :, :2], core[None, :, 2:] - points[:, None]], dim=2)
    largest = to_sides.amax(2)
    eligible = (to_core.amin(2) > 0) & (largest >= lower) & (largest <= upper)
    areas = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).expand(len(points), -1)
    smallest, chosen = areas.masked_fill(~eligible, float("inf")).min(dim=1)
    return chosen, smallest < float("inf"), to_sides[torch.arange(len(points), device=points.device), chosen]
