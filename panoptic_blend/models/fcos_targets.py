"""Assign ground truth to locations (FCOS, section 3.1-3.3, with center sampling)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from panoptic_blend.models.fcos import locations


@dataclass(frozen=True)
class Assignment:
    """The training targets of every location of a batch; locations run over level, image, row, column."""

    labels: Tensor
    """(A,) int64: thing label, or C for background."""
    instances: Tensor
    """(A,) int64: the index of the instance among all instances of the batch; meaningless for background."""
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
    strides of its center, and if its largest distance falls into its level's range (both ends
    included). Among several instances the one with the smallest box wins.

    Args:
        boxes: per image (G, 4), in pixels; with ``labels``, per image (G,) int64.
        sizes: (h, w) of every level; with ``strides``.
        size_limits: upper end of the range of every level but the last, which has no limit.
    """
    if len(size_limits) != len(sizes) - 1:
        raise ValueError(f"{len(sizes)} levels need {len(sizes) - 1} size limits, not {len(size_limits)}")
    areas = [h * w for h, w in sizes]
    points = torch.cat([locations(h, w, s, boxes[0].device) for (h, w), s in zip(sizes, strides, strict=True)])
    per_level = boxes[0].new_tensor([strides, [-1, *size_limits], [*size_limits, float("inf")]])
    stride, lower, upper = per_level.repeat_interleave(boxes[0].new_tensor(areas, dtype=torch.int64), dim=1)
    first = 0
    parts = []
    for image_boxes, image_labels in zip(boxes, labels, strict=True):
        chosen, positive, distances = _choose(points.to(stride.dtype), image_boxes, radius * stride, lower, upper)
        image_labels = torch.cat([image_labels, image_labels.new_tensor([num_classes])])
        parts.append((image_labels[torch.where(positive, chosen, -1)], chosen + first, distances / stride[:, None]))
        first += len(image_boxes)
    all_labels, instances, all_distances = (torch.stack(part) for part in zip(*parts, strict=True))
    return Assignment(*(_by_level(x, areas) for x in (all_labels, instances, all_distances)))


def _by_level(per_image: Tensor, areas: Sequence[int]) -> Tensor:
    """(N, A', ...) over image, level, cell to (A, ...) over level, image, cell."""
    return torch.cat([part.flatten(0, 1) for part in per_image.split(list(areas), dim=1)])


def _choose(
    points: Tensor, boxes: Tensor, reach: Tensor, lower: Tensor, upper: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Choose the smallest eligible box (G, 4) for every point (A, 2).

    ``reach``, ``lower`` and ``upper`` (A,) are the center sampling radius and the size range of the point's level, in
    pixels. Returns the index of the box (A,), whether there is one (A,), and the distances (A, 4) to its sides.
    """
    if len(boxes) == 0:
        none = torch.zeros(len(points), dtype=torch.int64, device=points.device)
        return none, none.bool(), points.new_zeros(len(points), 4)
    to_sides = _distances(points, boxes[:, :2], boxes[:, 2:])
    center = (boxes[:, :2] + boxes[:, 2:]) / 2
    reach = reach[:, None, None]
    core = torch.maximum(center - reach, boxes[:, :2]), torch.minimum(center + reach, boxes[:, 2:])
    largest = to_sides.amax(2)
    inside = _distances(points, *core).amin(2) > 0
    eligible = inside & (largest >= lower[:, None]) & (largest <= upper[:, None])
    areas = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).expand(len(points), -1)
    smallest, chosen = areas.masked_fill(~eligible, float("inf")).min(dim=1)
    return chosen, smallest < float("inf"), to_sides[torch.arange(len(points), device=points.device), chosen]


def _distances(points: Tensor, top_left: Tensor, bottom_right: Tensor) -> Tensor:
    """Left, top, right, bottom (A, G, 4) of every point within every box; corners are (G, 2) or (A, G, 2)."""
    return torch.cat([points[:, None] - top_left, bottom_right - points[:, None]], dim=2)
