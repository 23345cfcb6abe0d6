"""Task-aligned assignment (TOOD, Feng et al., ICCV 2021, section 3.2): locations learn what they predict best."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from panoptic_blend.models.atss import strongest
from panoptic_blend.models.blendmask_truth import Positives, Truth
from panoptic_blend.models.fcos import LevelPredictions, flat
from panoptic_blend.models.fcos_targets import AT_ONCE, Grid, image_numbers, iou

_NUMBER = 13
"""m, the number of positives of an instance (section 4)."""
_GOOD = 0.5
"""IoU that the best prediction for an instance must have before predictions choose its locations."""


@torch.no_grad()
def align(truth: Truth, levels: Sequence[LevelPredictions], num_classes: int) -> Positives:
    """Assign locations anew by what is predicted there.

    An instance gets the 13 locations inside its box with the largest `alignment`, and where instances meet, the larger
    IoU wins. Classes learn the alignment, scaled within the instance so that the largest is the largest IoU, and boxes
    and masks are weighted by it.

    TOOD starts with some epochs of ATSS. Here an instance keeps what ``truth`` has for it until one of its best
    predictions has an IoU of 0.5. And TOOD divides losses by the sum of all alignments, which is not known before the
    forward pass; here the weights of an instance add up to what they did in ``truth``, so that its normalizers hold.

    Args:
        truth: with another assignment.
        levels: the predictions.
        num_classes: C.

    Returns:
        The positives, with ``qualities``.
    """
    before, sizes = truth.positives, [(int(x.logits.shape[2]), int(x.logits.shape[3])) for x in levels]
    grid = Grid.of(sizes, [level.stride for level in levels], levels[0].distances)
    boxes = torch.cat(list(truth.boxes)).to(grid.points.dtype)
    images = image_numbers(truth.boxes)
    cells, metrics, overlaps = _best(grid, boxes, images, truth.labels, levels)
    is_good = overlaps.amax(dim=1) >= _GOOD
    scores = torch.where((metrics > 0) & is_good[:, None], overlaps, 0)
    chosen = strongest(scores, cells, images, (len(truth.boxes), len(grid.points)))
    kept = before.numbers.new_full((len(before.labels),), len(boxes)).index_copy(0, before.numbers, before.instances)
    kept = grid.by_image(kept, len(truth.boxes))
    is_kept = (chosen == len(boxes)) & ~F.pad(is_good, (0, 1), value=True)[kept]
    found = grid.assignment(torch.where(is_kept, kept, chosen), boxes, truth.labels, num_classes)
    return _weighted(Positives.of(found, sizes, len(truth.boxes), num_classes), before, levels, is_good)


def alignment(probabilities: Tensor, overlaps: Tensor) -> Tensor:
    """``s^alpha u^beta`` of probabilities s of the class and IoUs u of the box, with alpha = 1 and beta = 6."""
    return probabilities * overlaps**6


def _best(
    grid: Grid, boxes: Tensor, images: Tensor, labels: Tensor, levels: Sequence[LevelPredictions]
) -> tuple[Tensor, Tensor, Tensor]:
    """The locations (G, m) of each box's image that are best aligned, their alignment (0 outside) and their IoU."""
    probabilities = torch.cat([level.logits.flatten(2) for level in levels], dim=2).sigmoid()
    distances = torch.cat([level.distances.flatten(2) for level in levels], dim=2).transpose(1, 2)
    found = []
    for part in torch.arange(len(boxes), device=boxes.device).split(max(1, AT_ONCE // (4 * len(grid.points)))):
        truth = grid.distances(boxes[part])
        overlaps = torch.where((truth > 0).all(dim=2), iou(distances[images[part]], truth), 0)
        metrics = alignment(probabilities[images[part], labels[part]], overlaps)
        best, cells = metrics.topk(min(_NUMBER, metrics.shape[1]), dim=1)
        found.append((cells, best, overlaps.gather(1, cells)))
    cells, metrics, overlaps = (torch.cat(parts) for parts in zip(*found, strict=True))
    return cells, metrics, overlaps


def _weighted(at: Positives, before: Positives, levels: Sequence[LevelPredictions], is_aligned: Tensor) -> Positives:
    """Positives with weights and qualities; ``is_aligned`` (G,) says of which instances alignment chose them."""
    probabilities = flat(level.logits for level in levels)[at.numbers, at.labels[at.numbers]].sigmoid()
    overlaps = iou(flat(level.distances for level in levels)[at.numbers], at.distances)
    metrics, nothing = alignment(probabilities, overlaps), overlaps.new_zeros(len(is_aligned))
    most, nearest = (nothing.scatter_reduce(0, at.instances, x, "amax")[at.instances] for x in (metrics, overlaps))
    own = is_aligned[at.instances]
    qualities = torch.where(own, metrics / most * nearest, overlaps)
    weights = torch.where(own, qualities, at.weights)
    sums = nothing.index_add(0, at.instances, weights)
    shares = nothing.index_add(0, before.instances, before.weights) / sums
    return replace(at, weights=weights * shares[at.instances], qualities=qualities)
