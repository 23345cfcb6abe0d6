"""From raw predictions to the instances of one image: decoding, non-maximum suppression, sizes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor
from torchvision.ops import batched_nms, roi_align

from panoptic_blend.models.batching import uploaded
from panoptic_blend.models.fcos import LevelPredictions
from panoptic_blend.structures import Size


@dataclass(frozen=True)
class Candidates:
    """Scored boxes of one image, in pixels of the network's input, not clipped to it."""

    boxes: Tensor
    """(D, 4)"""
    scores: Tensor
    """(D,) square root of class probability times center-ness, or class probability alone."""
    labels: Tensor
    """(D,) int64 in 0..C-1."""
    places: Tensor
    """(D, 4) int64: level, image, row, column of the location that predicted each box."""

    def __getitem__(self, index: Tensor) -> Candidates:
        return Candidates(*(getattr(self, field.name)[index] for field in fields(self)))


@dataclass(frozen=True)
class Instances:
    """The instances that a branch found in one image, best first, in pixels of the network's input."""

    boxes: Tensor
    """(D, 4), not necessarily clipped to the image."""
    scores: Tensor
    """(D,)"""
    labels: Tensor
    """(D,) int64 in 0..C-1."""
    probabilities: Tensor
    """(D, R, R) mask probabilities, stretched over the box."""
    bases: Tensor | None = None
    """(K, h, w), covering the image, if masks were blended from bases."""
    attentions: Tensor | None = None
    """(D, K, M, M) raw scores, if masks were blended by attentions."""
    places: Tensor | None = None
    """(D, 4) int64: level, image, row, column of the location that found each, if locations do."""
    factors: Tensor | None = None
    """(D,) by what the scores were multiplied, if they were."""


def decode(
    levels: Sequence[LevelPredictions], image: int, score_threshold: float = 0.05, limit: int = 1000
) -> Candidates:
    """Candidates of image number ``image``: at most ``limit`` (location, class) pairs per level.

    A pair needs ``p = sigmoid(class) * sigmoid(centerness) > score_threshold``; its score is ``sqrt(p)``. Without
    center-ness, the score is ``p = sigmoid(class)``. Of equal pairs at the limit the first stays, by class, row and
    column. All levels are decoded together, because a GPU would wait for the number of pairs of each.
    """
    products = torch.cat([_products(x, image).flatten() for x in levels])
    pairs = _places(products > score_threshold)
    values = products[pairs]
    table = uploaded(_layout(levels), pairs).T
    level = torch.searchsorted(table[0].contiguous(), pairs, right=True) - 1
    if len(pairs) > limit:
        best = _best_of_levels(values, level, len(levels), limit)
        pairs, values, level = pairs[best], values[best], level[best]
    first_pair, first_cell, cells, columns, stride = table[:, level]
    within = pairs - first_pair
    label, cell = within // cells, within % cells
    row, column = cell // columns, cell % columns
    distances = torch.cat([x.distances[image].flatten(1) for x in levels], dim=1)[:, first_cell + cell].T
    distances = distances * stride[:, None]
    point = torch.stack([column, row], dim=1) * stride[:, None] + (stride // 2)[:, None]
    boxes = torch.cat([point - distances[:, :2], point + distances[:, 2:]], dim=1)
    places = torch.stack([level, torch.full_like(row, image), row, column], dim=1)
    return Candidates(boxes, values if levels[0].centerness is None else values.sqrt(), label, places)


def _products(level: LevelPredictions, image: int) -> Tensor:
    """Class probabilities (C, h, w), times center-ness if there is any."""
    probabilities = level.logits[image].sigmoid()
    return probabilities if level.centerness is None else probabilities * level.centerness[image].sigmoid()


def _layout(levels: Sequence[LevelPredictions]) -> list[list[int]]:
    """For each level its first (class, location) pair, its first location, and its locations, columns and stride."""
    rows, pair, cell = [], 0, 0
    for level in levels:
        classes, height, width = level.logits.shape[1:]
        rows.append([pair, cell, height * width, width, level.stride])
        pair, cell = pair + classes * height * width, cell + height * width
    return rows


def _best_of_levels(values: Tensor, level: Tensor, number: int, limit: int) -> Tensor:
    """The indices of the ``limit`` largest ``values`` (n,) of each of ``number`` levels; of equal ones the first."""
    order = values.argsort(descending=True, stable=True)
    order = order[level[order].argsort(stable=True)]
    sorted_level = level[order]
    first = torch.searchsorted(sorted_level, torch.arange(number, device=level.device))
    rank = torch.arange(len(order), device=level.device) - first[sorted_level]
    return order[_places(rank < limit)]


def suppress(candidates: Candidates, nms: float = 0.6, limit: int = 100) -> Candidates:
    """Class-wise non-maximum suppression, best first; at most ``limit``, but ties with the last stay."""
    boxes = candidates.boxes.float()
    if len(boxes) > 0:  # classes are moved apart by the largest coordinate, which negative ones would undo
        boxes = boxes - boxes.min()
    keep = batched_nms(boxes, candidates.scores.float(), candidates.labels, nms)
    kept = candidates[keep]
    if len(keep) > limit:
        kept = kept[_places(kept.scores >= kept.scores[limit - 1])]
    return kept


def _places(mask: Tensor) -> Tensor:
    """The indices of the true elements of a mask (n,), for which a GPU waits once, and not in every indexing."""
    return mask.nonzero().squeeze(1)


def rescale(boxes: Tensor, from_size: Size, to_size: Size) -> Tensor:
    """Scale boxes (D, 4) from an image of one (height, width) to another, and clip them to it."""
    (h, w), (to_h, to_w) = from_size, to_size
    factors, limits = uploaded([[to_w / w, to_h / h] * 2, [to_w, to_h] * 2], boxes)
    return torch.minimum((boxes * factors).clamp(min=0), limits)


def to_output(found: Instances, from_size: Size, to_size: Size) -> Instances:
    """Move instances from an image of one (height, width) to another; boxes are clipped, empty ones left out."""
    boxes = rescale(found.boxes, from_size, to_size)
    visible = _places((boxes[:, 2:] > boxes[:, :2]).all(dim=1))
    return _rows(replace(found, boxes=boxes, places=None), visible)


def rescore(found: Instances, factors: Tensor) -> Instances:
    """Multiply the scores of instances by ``factors`` (D,); best first."""
    scores = found.scores * factors.to(found.scores.dtype)
    order = scores.argsort(descending=True, stable=True)
    return _rows(replace(found, scores=scores, factors=factors), order)


def _rows(found: Instances, numbers: Tensor) -> Instances:
    """The instances of these ``numbers``, in their order."""
    per_instance = ("boxes", "scores", "labels", "probabilities", "attentions", "places", "factors")
    kept = {name: value[numbers] for name in per_instance if (value := getattr(found, name)) is not None}
    return replace(found, **kept)


def cut_masks(masks: Tensor, numbers: Tensor, boxes: Tensor, size: int) -> Tensor:
    """Cut masks out at boxes and resample them: the targets of a mask head, the opposite of `paste`.

    Args:
        masks: (G, H, W) bool.
        numbers: (D,) the mask of each box.
        boxes: (D, 4).
        size: R.

    Returns:
        (D, R, R) bool (Mask R-CNN, section 3.1).
    """
    rois = torch.cat([numbers[:, None].to(boxes.dtype), boxes], dim=1)
    values: Tensor = roi_align(masks[:, None].to(boxes.dtype), rois, size, aligned=True)
    return values.squeeze(1) >= 0.5
