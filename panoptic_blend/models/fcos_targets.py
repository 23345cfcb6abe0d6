"""Assign ground truth to locations (FCOS, section 3.1-3.3, with center sampling)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from panoptic_blend.models.batching import uploaded
from panoptic_blend.models.fcos import locations

AT_ONCE = 2**23
"""How many pairs of a box and a location are compared at once, which takes up to 300 MB."""


@dataclass(frozen=True)
class Assignment:
    """The training targets of every location of a batch; locations run over level, image, row, column."""

    labels: Tensor
    """(A,) int64: thing label, or C for background."""
    instances: Tensor
    """(A,) int64: the index of the instance among all instances of the batch; meaningless for background."""
    distances: Tensor
    """(A, 4) left, top, right, bottom in units of the stride; meaningless for background."""


@dataclass(frozen=True)
class Grid:
    """The locations of an image, level by level and row by row."""

    cells: Sequence[int]
    """The number of locations of every level."""
    points: Tensor
    """(A', 2) float, in pixels."""
    stride: Tensor
    """(A',) float: that of the level of each."""

    @classmethod
    def of(cls, sizes: Sequence[tuple[int, int]], strides: Sequence[int], like: Tensor) -> Grid:
        """The locations of levels of ``sizes`` (h, w), in the type of ``like`` and where it is."""
        points = [locations(h, w, s, like.device) for (h, w), s in zip(sizes, strides, strict=True)]
        cells = [len(of_level) for of_level in points]
        return cls(cells, torch.cat(points).to(like.dtype), _per_cell(uploaded(strides, like), cells))

    def assignment(self, chosen: Tensor, boxes: Tensor, labels: Tensor, num_classes: int) -> Assignment:
        """The targets of a batch of which each location of each image has ``chosen`` (N, A') a box (G, 4), or G."""
        distances, instances = self._distances(F.pad(boxes, (0, 0, 0, 1))[chosen]), self._by_level(chosen)
        return Assignment(F.pad(labels, (0, 1), value=num_classes)[instances], instances, self._by_level(distances))

    def distances(self, boxes: Tensor) -> Tensor:
        """Those of every location to the sides of each of boxes (G, 4), in units of the stride: (G, A', 4)."""
        return self._distances(boxes[:, None])

    def _distances(self, boxes: Tensor) -> Tensor:
        """Those of every location to the sides of its boxes (n, A' or 1, 4), in units of the stride: (n, A', 4)."""
        top_left, bottom_right = boxes.chunk(2, dim=2)
        return torch.cat([self.points - top_left, bottom_right - self.points], dim=2) / self.stride[:, None]

    def by_image(self, per_level: Tensor, num_images: int) -> Tensor:
        """(A,) over level, image, cell to (N, A') over image, level, cell."""
        parts = per_level.split([num_images * cells for cells in self.cells])
        return torch.cat([part.view(num_images, -1) for part in parts], dim=1)

    def _by_level(self, per_image: Tensor) -> Tensor:
        """(N, A', ...) over image, level, cell to (A, ...) over level, image, cell."""
        return torch.cat([part.flatten(0, 1) for part in per_image.split(list(self.cells), dim=1)])


def _per_cell(values: Tensor, cells: Sequence[int]) -> Tensor:
    """Values (..., L) of levels for each of their locations (..., A')."""
    repeats = uploaded(cells, values, torch.int64)
    return values.repeat_interleave(repeats, dim=-1, output_size=sum(cells))


def centerness(distances: Tensor) -> Tensor:
    """Eq. 3: ``sqrt(min(l, r) / max(l, r) * min(t, b) / max(t, b))`` of positive (P, 4) distances."""
    horizontal, vertical = distances[:, [0, 2]], distances[:, [1, 3]]
    ratio = horizontal.amin(1) / horizontal.amax(1) * (vertical.amin(1) / vertical.amax(1))
    return ratio.sqrt()


def iou(predicted: Tensor, truth: Tensor) -> Tensor:
    """IoU (...) of boxes given as distances left, top, right, bottom (..., 4) from one point, without a gradient."""
    predicted = predicted.detach()
    common = _areas(torch.minimum(predicted, truth))
    return common / (_areas(predicted) + _areas(truth) - common)


def _areas(distances: Tensor) -> Tensor:
    return (distances[..., 0] + distances[..., 2]) * (distances[..., 1] + distances[..., 3])


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
    grid, all_boxes = Grid.of(sizes, strides, boxes[0]), torch.cat(list(boxes))
    limits = uploaded([[-1, *size_limits], [*size_limits, float("inf")]], boxes[0])
    lower, upper = _per_cell(limits, grid.cells)
    some = max(1, AT_ONCE // max(1, len(all_boxes)))
    parts = zip(*(x.split(some) for x in (grid.points, radius * grid.stride, lower, upper)), strict=True)
    images = image_numbers(boxes)
    chosen = torch.cat(
        [
            _smallest(_eligible(part, all_boxes, reach, low, high), all_boxes, images, len(boxes))
            for part, reach, low, high in parts
        ],
        dim=1,
    )
    return grid.assignment(chosen, all_boxes, torch.cat(list(labels)), num_classes)


def image_numbers(boxes: Sequence[Tensor]) -> Tensor:
    """The image of every box of a batch (G,) int64."""
    numbers = [image for image, of_image in enumerate(boxes) for _ in of_image]
    return uploaded(numbers, boxes[0], torch.int64)


def _eligible(points: Tensor, boxes: Tensor, reach: Tensor, lower: Tensor, upper: Tensor) -> Tensor:
    """Whether a point (A', 2) of an image may be assigned to a box (G, 4) of the batch: (G, A') bool.

    ``reach``, ``lower`` and ``upper`` (A',) are the center sampling radius and the size range of the point's level, in
    pixels.
    """
    is_inside, farthest = [], []
    for point, low, high in zip(points.T, boxes[:, :2].T[..., None], boxes[:, 2:].T[..., None], strict=True):
        center = (low + high) / 2
        is_inside.append((point > torch.maximum(center - reach, low)) & (point < torch.minimum(center + reach, high)))
        farthest.append(torch.maximum(point - low, high - point))
    largest = torch.maximum(*farthest)
    return is_inside[0] & is_inside[1] & (largest >= lower) & (largest <= upper)


def _smallest(eligible: Tensor, boxes: Tensor, images: Tensor, num_images: int) -> Tensor:
    """The smallest eligible (G, A') box (G, 4) for every point of every image, the first of equal ones: (N, A').

    ``images`` (G,) are the images of the boxes. Where no box is eligible, the number is G.
    """
    order = ((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])).argsort(stable=True)
    ranks = torch.where(eligible, order.argsort()[:, None], len(boxes))
    none = ranks.new_full((num_images, eligible.shape[1]), len(boxes))
    best = none.scatter_reduce(0, images[:, None].expand_as(ranks), ranks, "amin")
    return F.pad(order, (0, 1), value=len(boxes))[best]
