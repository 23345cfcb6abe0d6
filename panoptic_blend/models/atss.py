"""Adaptive training sample selection (ATSS, Zhang et al., CVPR 2020): the levels of a box follow from its size."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from panoptic_blend.models.fcos_targets import AT_ONCE, Assignment, Grid, image_numbers

_ANCHOR = 8
"""Side of the square around a location that stands for its anchor box, in strides (section 3.1)."""


def assign(
    boxes: Sequence[Tensor],
    labels: Sequence[Tensor],
    sizes: Sequence[tuple[int, int]],
    strides: Sequence[int],
    num_classes: int,
    candidates: int = 9,
) -> Assignment:
    """Assign every location to one instance or to the background (algorithm 1), in the place of `fcos_targets.assign`.

    The candidates of a box are the ``candidates`` locations of every level that are nearest to its center; of equally
    near ones the first. Those strictly inside the box are positive whose anchor box has an IoU with it of at least the
    mean plus the standard deviation over all candidates. Among several instances the one with the highest IoU wins.

    Args:
        boxes: per image (G, 4), in pixels; with ``labels``, per image (G,) int64.
        sizes: (h, w) of every level; with ``strides``.
        candidates: k.
    """
    grid, all_boxes = Grid.of(sizes, strides, boxes[0]), torch.cat(list(boxes))
    nearest = nearest_cells(grid, all_boxes, candidates)
    corners, half = grid.points[nearest], _ANCHOR / 2 * grid.stride[nearest][..., None]
    overlaps = _iou(torch.cat([corners - half, corners + half], dim=2), all_boxes[:, None])
    mean = overlaps.mean(dim=1, keepdim=True)
    deviation = ((overlaps - mean).square().sum(dim=1, keepdim=True) / (overlaps.shape[1] - 1)).sqrt()
    is_positive = (overlaps >= mean + deviation) & are_inside(grid.points[nearest], all_boxes[:, None])
    chosen = strongest(overlaps * is_positive, nearest, image_numbers(boxes), (len(boxes), len(grid.points)))
    return grid.assignment(chosen, all_boxes, torch.cat(list(labels)), num_classes)


def nearest_cells(grid: Grid, boxes: Tensor, number: int) -> Tensor:
    """The ``number`` locations of every level that are nearest to the center of each box (G, 4): (G, k) int64."""
    centers, first, found = boxes.unflatten(1, (2, 2)).mean(dim=1), 0, []
    for points in grid.points.split(list(grid.cells)):
        parts = centers.split(max(1, AT_ONCE // len(points)))
        order = [(part[:, None] - points).square().sum(dim=2).argsort(dim=1, stable=True)[:, :number] for part in parts]
        found.append(first + torch.cat(order))
        first += len(points)
    return torch.cat(found, dim=1)


def are_inside(points: Tensor, boxes: Tensor) -> Tensor:
    """Whether points (..., 2) lie strictly inside of boxes (..., 4)."""
    return ((points > boxes[..., :2]) & (points < boxes[..., 2:])).all(dim=-1)


def strongest(scores: Tensor, cells: Tensor, images: Tensor, shape: tuple[int, int]) -> Tensor:
    """The box with the highest score above 0 at every cell of every image, the first of equal ones: ``shape`` (N, A').

    ``scores`` (G, k) are those of each box at ``cells`` (G, k) of its image, one of ``images`` (G,). Where no box has
    a score, the number is G.
    """
    places = (images[:, None] * shape[1] + cells).flatten()
    best = scores.new_zeros(shape).flatten().scatter_reduce(0, places, scores.flatten(), "amax")
    wins = (scores.flatten() > 0) & (scores.flatten() == best[places])
    numbers = torch.arange(len(scores), device=scores.device).repeat_interleave(scores.shape[1])
    nobody = numbers.new_full(shape, len(scores)).flatten()
    return nobody.scatter_reduce(0, places, torch.where(wins, numbers, len(scores)), "amin").view(shape)


def _iou(first: Tensor, second: Tensor) -> Tensor:
    """IoU of boxes (..., 4) with others (..., 4) of which at least one has an area."""
    sides = torch.minimum(first[..., 2:], second[..., 2:]) - torch.maximum(first[..., :2], second[..., :2])
    common = sides.clamp(min=0).prod(dim=-1)
    areas = [(boxes[..., 2:] - boxes[..., :2]).prod(dim=-1) for boxes in (first, second)]
    return common / (areas[0] + areas[1] - common)
