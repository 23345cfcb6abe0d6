"""From raw predictions of FCOS to the boxes of one image: decoding, and non-maximum suppression.

The rules are those of `models.postprocess`, whose comments and sources apply.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import numpy.typing as npt

from panoptic_blend.postprocessing.interpolation import Floats
from panoptic_blend.structures import Size

Integers = npt.NDArray[np.integer]


@dataclass(frozen=True, eq=False)
class Level:
    """The predictions of one image at every location of a pyramid level, as in `models.fcos.LevelPredictions`."""

    stride: int
    logits: Floats
    """(C, h, w)"""
    distances: Floats
    """(4, h, w)"""
    centerness: Floats | None
    """(1, h, w)"""
    features: Floats
    """(channels, h, w)"""


@dataclass(frozen=True, eq=False)
class Candidates:
    """Scored boxes of one image, in pixels of the network's input, not clipped to it."""

    boxes: Floats
    """(D, 4)"""
    scores: Floats
    """(D,) square root of class probability times center-ness, or class probability alone."""
    labels: Integers
    """(D,) int64 in 0..C-1."""
    places: Integers
    """(D, 3) int64: level, row, column of the location that predicted each box."""

    def __getitem__(self, index: Integers) -> Candidates:
        return Candidates(*(getattr(self, field.name)[index] for field in fields(self)))


def sigmoid(values: Floats) -> Floats:
    """``1 / (1 + exp(-x))`` in the type of ``values``."""
    with np.errstate(over="ignore"):
        return 1 / (1 + np.exp(-values))


def decode(levels: Sequence[Level], score_threshold: float, limit: int) -> Candidates:
    """Candidates: at most ``limit`` (location, class) pairs per level.

    A pair needs ``p = sigmoid(class) * sigmoid(centerness) > score_threshold``; its score is ``sqrt(p)``. Without
    center-ness, the score is ``p = sigmoid(class)``. Of equal pairs at the limit the first stays, by class, row and
    column.
    """
    parts = [_decode_level(level, number, score_threshold, limit) for number, level in enumerate(levels)]
    return Candidates(*(np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(Candidates)))


def _decode_level(level: Level, number: int, threshold: float, limit: int) -> Candidates:
    _, height, width = level.logits.shape
    pairs = np.flatnonzero(level.logits > _least_logit(threshold))
    products = sigmoid(level.logits.ravel()[pairs])
    if level.centerness is not None:
        products *= sigmoid(level.centerness.ravel()[pairs % (height * width)])
    is_candidate = products > threshold
    pairs, products = pairs[is_candidate], products[is_candidate]
    best = _largest(products, limit)
    label, row, column = np.unravel_index(pairs[best], (len(level.logits), height, width))
    distances = level.distances[:, row, column].T * level.stride
    point = np.stack([column, row], axis=1).astype(distances.dtype) * level.stride + level.stride // 2
    boxes = np.concatenate([point - distances[:, :2], point + distances[:, 2:]], axis=1)
    places = np.stack([np.full_like(row, number), row, column], axis=1)
    scores = products[best] if level.centerness is None else np.sqrt(products[best])
    return Candidates(boxes, scores, label, places)


def _least_logit(threshold: float) -> float:
    """A logit below that of every class that can exceed the threshold, because center-ness is at most 1."""
    with np.errstate(divide="ignore"):
        return float(np.log(threshold) - np.log1p(-min(threshold, 1.0))) - 1e-3


def _largest(values: Floats, limit: int) -> Integers:
    """Indices of the ``limit`` largest values; of equal ones the first."""
    if len(values) <= limit:
        return np.arange(len(values))
    reaching = np.flatnonzero(values >= np.partition(values, -limit)[-limit])
    return reaching[np.argsort(-values[reaching], kind="stable")[:limit]]


_TOGETHER = 1000
"""Up to this number torchvision's ``batched_nms`` moves classes apart, whose rounding counts; beyond it does not."""

_BLOCK = 64
"""Candidates that are compared with one another at once."""


def suppress(candidates: Candidates, nms: float, limit: int) -> Candidates:
    """Class-wise non-maximum suppression, best first; at most ``limit``, but ties with the last stay.

    Order and rounding are those of torchvision's ``batched_nms`` on a CPU. Of equal scores the first comes first;
    beyond 1,000 boxes torchvision leaves their order open.
    """
    order = np.argsort(-candidates.scores, kind="stable")
    ranked = candidates[order]
    boxes = ranked.boxes.astype(np.float32)
    if len(boxes) > 0:
        boxes = boxes - boxes.min()
    if 0 < len(boxes) <= _TOGETHER:
        boxes = boxes + (ranked.labels.astype(np.float32) * (boxes.max() + np.float32(1)))[:, None]
    return ranked[_kept(boxes, ranked.scores, ranked.labels, nms, limit)]


def _kept(boxes: Floats, scores: Floats, labels: Integers, nms: float, limit: int) -> Integers:
    """The numbers of the boxes that stay, of boxes (D, 4) that are sorted by their scores.

    They are taken in blocks: what the kept ones suppress goes, and the rest of a block suppress one another in turn.
    """
    corners = np.ascontiguousarray(boxes.T)
    kept = np.zeros(0, dtype=np.intp)
    for first in range(0, len(boxes), _BLOCK):
        if len(kept) >= limit and scores[first] < scores[kept[limit - 1]]:
            break
        block = np.arange(first, min(first + _BLOCK, len(boxes)))
        block = block[~_suppresses(kept, block, corners, labels, nms).any(axis=0)]
        rivals, stays = _suppresses(block, block, corners, labels, nms), np.ones(len(block), dtype=np.bool_)
        for number in range(len(block)):
            if stays[number]:
                stays[number + 1 :] &= ~rivals[number, number + 1 :]
        kept = np.concatenate([kept, block[stays]])
    return kept if len(kept) <= limit else kept[scores[kept] >= scores[kept[limit - 1]]]


def _suppresses(
    ones: Integers, others: Integers, corners: Floats, labels: Integers, nms: float
) -> npt.NDArray[np.bool_]:
    """Whether boxes number ``ones`` (n,) of corners (4, D) suppress ``others`` (m,) if they are better: (n, m) bool."""
    own, rivals = corners[:, ones, None], corners[:, None, others]
    sides = np.minimum(own[2:], rivals[2:])
    sides -= np.maximum(own[:2], rivals[:2])
    common = np.maximum(sides, 0).prod(axis=0)
    areas = (own[2:] - own[:2]).prod(axis=0) + (rivals[2:] - rivals[:2]).prod(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):  # two boxes without area
        overlaps = common / (areas - common)
    return (overlaps > np.float64(nms)) & (labels[ones, None] == labels[others])


def rescale(boxes: Floats, from_size: Size, to_size: Size) -> Floats:
    """Scale boxes (D, 4) from an image of one (height, width) to another, and clip them to it."""
    (height, width), (to_height, to_width) = from_size, to_size
    factors = np.array([to_width / width, to_height / height] * 2, dtype=boxes.dtype)
    return np.clip(boxes * factors, 0, np.array([to_width, to_height] * 2, dtype=boxes.dtype))
