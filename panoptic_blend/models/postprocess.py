"""From raw predictions to instances of one image: decoding, suppression, pasting of masks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
import torch.nn.functional as F
from torch import Tensor
from torchvision.ops import batched_nms

from panoptic_blend.models.fcos import LevelPredictions


@dataclass(frozen=True)
class Candidates:
    """Scored boxes of one image, in pixels of the network's input, not clipped to it."""

    boxes: Tensor
    """(D, 4)"""
    scores: Tensor
    """(D,) square root of class probability times centre-ness."""
    labels: Tensor
    """(D,) int64 in 0..C-1."""
    places: Tensor
    """(D, 4) int64: level, image, row, column of the location each comes from."""

    def __getitem__(self, index: Tensor) -> Candidates:
        return Candidates(*(getattr(self, field.name)[index] for field in fields(self)))


def decode(
    levels: Sequence[LevelPredictions], image: int, score_threshold: float = 0.05, limit: int = 1000
) -> Candidates:
    """Candidates of image number ``image``: at most ``limit`` (location, class) pairs per level.

    A pair needs ``p = sigmoid(class) * sigmoid(centerness) > score_threshold``; its score is ``sqrt(p)``.
    """
    parts = [_decode_level(level, i, image, score_threshold, limit) for i, level in enumerate(levels)]
    return Candidates(*(torch.cat([getattr(part, field.name) for part in parts]) for field in fields(Candidates)))


def _decode_level(level: LevelPredictions, number: int, image: int, threshold: float, limit: int) -> Candidates:
    products = level.logits[image].sigmoid() * level.centerness[image].sigmoid()
    label, row, column = (products > threshold).nonzero(as_tuple=True)
    values, best = products[label, row, column].topk(min(limit, len(label)), sorted=False)
    label, row, column = label[best], row[best], column[best]
    distances = level.distances[image][:, row, column].T * level.stride
    point = torch.stack([column, row], dim=1) * level.stride + level.stride // 2
    boxes = torch.cat([point - distances[:, :2], point + distances[:, 2:]], dim=1)
    places = torch.stack([torch.full_like(row, number), torch.full_like(row, image), row, column], dim=1)
    return Candidates(boxes, values.sqrt(), label, places)


def suppress(candidates: Candidates, nms: float = 0.6, limit: int = 100) -> Candidates:
    """Class-wise non-maximum suppression, best first; at most ``limit``, but ties with the last stay."""
    boxes = candidates.boxes.float()
    if len(boxes) > 0:  # classes are moved apart by the largest coordinate, which negative ones would undo
        boxes = boxes - boxes.min()
    keep = batched_nms(boxes, candidates.scores.float(), candidates.labels, nms)
    kept = candidates[keep]
    if len(keep) > limit:
        kept = kept[kept.scores >= kept.scores[limit - 1]]
    return kept


def rescale(boxes: Tensor, from_size: tuple[int, int], to_size: tuple[int, int]) -> Tensor:
    """Boxes (D, 4) of a picture of one (height, width), moved to another and clipped to it."""
    (h, w), (to_h, to_w) = from_size, to_size
    scaled = boxes * boxes.new_tensor([to_w / w, to_h / h, to_w / w, to_h / h])
    return torch.minimum(scaled.clamp(min=0), boxes.new_tensor([to_w, to_h, to_w, to_h]))


def paste(probabilities: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Masks (D, H, W) bool of ``size`` (H, W) from (D, R, R) probabilities stretched over their clipped boxes.

    A pixel reads the mask bilinearly at its centre, ``(x + 0.5 - x0) / (x1 - x0)``, zero outside.
    Only pixels that touch the box are computed: beyond it the value stays below one half.
    """
    height, width = size
    masks = torch.zeros(len(boxes), height, width, dtype=torch.bool, device=boxes.device)
    corners = torch.cat([boxes[:, :2].floor(), boxes[:, 2:].ceil()], dim=1).long().tolist()
    for mask, probability, box, (x0, y0, x1, y1) in zip(masks, probabilities, boxes, corners, strict=True):
        x = (torch.arange(x0, x1, device=boxes.device) + 0.5 - box[0]) / (box[2] - box[0]) * 2 - 1
        y = (torch.arange(y0, y1, device=boxes.device) + 0.5 - box[1]) / (box[3] - box[1]) * 2 - 1
        grid = torch.stack([x.expand(len(y), -1), y[:, None].expand(-1, len(x))], dim=-1)
        values = F.grid_sample(probability[None, None], grid[None], align_corners=False)
        mask[y0:y1, x0:x1] = values[0, 0] >= 0.5
    return masks
