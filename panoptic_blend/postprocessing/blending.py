"""Masks of instances from bases and attentions (BlendMask, section 3); the rules are those of `models.blender`."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from panoptic_blend.postprocessing.detection import Integers, sigmoid
from panoptic_blend.postprocessing.interpolation import Floats, interpolated, reading


@dataclass(frozen=True, eq=False)
class TopLayer:
    """The 3x3 convolution that predicts attentions, which is evaluated only where there are instances.

    Args:
        weight: (K * M * M, channels, 3, 3).
        bias: (K * M * M,).
        num_bases: K.
    """

    weight: Floats
    bias: Floats
    num_bases: int

    def at(self, features: Sequence[Floats], places: Integers) -> Floats:
        """Attentions (D, K, M, M) at ``places`` (D, 3): level, row, column of ``features`` (channels, h, w)."""
        outputs, channels, *_ = self.weight.shape
        patches = np.zeros((len(places), channels, 3, 3), dtype=self.weight.dtype)
        for patch, (level, row, column) in zip(patches, places.tolist(), strict=True):
            _, height, width = features[level].shape
            top, left, bottom, right = max(row - 1, 0), max(column - 1, 0), min(row + 2, height), min(column + 2, width)
            inside = slice(top - row + 1, bottom - row + 1), slice(left - column + 1, right - column + 1)
            patch[:, *inside] = features[level][:, top:bottom, left:right]
        scores = patches.reshape(len(places), channels * 9) @ self.weight.reshape(outputs, channels * 9).T + self.bias
        side = math.isqrt(outputs // self.num_bases)
        return scores.reshape(len(places), self.num_bases, side, side)


def crop(bases: Floats, boxes: Floats, size: int, stride: int, pooling: Literal["align", "pool"]) -> Floats:
    """Crop bases (K, h, w) at ``stride`` to boxes (D, 4), in pixels of the input: (D, K, R, R), eq. 1."""
    crops = np.empty((len(boxes), len(bases), size, size), dtype=bases.dtype)
    scaled = boxes.astype(bases.dtype) * bases.dtype.type(1 / stride)
    if pooling == "align":
        _align(bases, scaled, crops)
    else:
        for target, box in zip(crops, scaled, strict=True):
            _pooled(bases, box, target)
    return crops


def _align(bases: Floats, boxes: Floats, crops: Floats) -> None:
    """RoIAlign (Mask R-CNN, section 3) with one sample in the center of each cell, and zeros outside of the bases.

    Interpolation is linear in each axis, so a matrix for the rows and one for the columns do it.
    """
    rows, columns = (
        _readings(boxes[:, axis], boxes[:, axis + 2], crops.shape[-1], side)
        for axis, side in ((1, bases.shape[1]), (0, bases.shape[2]))
    )
    for target, (vertical, down), (horizontal, along) in zip(crops, rows, columns, strict=True):
        np.matmul(down.T @ bases[:, vertical, horizontal], along, out=target)


def _readings(starts: Floats, ends: Floats, size: int, side: int) -> Iterator[tuple[slice, Floats]]:
    """Which of the ``side`` cells of an axis are read by R samples between each start and end: a slice and weights."""
    half = starts.dtype.type(0.5)
    samples, firsts, lasts = np.arange(size, dtype=starts.dtype) + half, starts - half, ends - half
    places = firsts[:, None] + samples * ((lasts - firsts) / size)[:, None]
    centers = places.clip(0, side - 1)
    windows = zip(centers.min(axis=1).astype(int).tolist(), centers.max(axis=1).astype(int).tolist(), strict=True)
    centers[(places < -1) | (places > side)] = -1  # where they read nothing
    weights = reading(centers.ravel(), side).reshape(side, *centers.shape)
    for number, (first, last) in enumerate(windows):
        window = slice(first, last + 2)
        yield window, weights[window, number]


def _pooled(bases: Floats, box: Floats, target: Floats) -> None:
    """RoIPool (Fast R-CNN, section 2.1): the maximum of each quantized cell, 0 for a cell outside of the bases."""
    size = target.shape[-1]
    columns, rows = (
        _bins(box[axis], box[axis + 2], size, side) for axis, side in ((0, bases.shape[2]), (1, bases.shape[1]))
    )
    target[:] = 0
    for i, (top, bottom) in enumerate(rows):
        if bottom > top:
            line = bases[:, top:bottom].max(axis=1)
            for j, (left, right) in enumerate(columns):
                if right > left:
                    target[:, i, j] = line[:, left:right].max(axis=1)


def _bins(start: np.floating, end: np.floating, size: int, side: int) -> list[tuple[int, int]]:
    """The first and end cell of each of R bins between two places of an axis, which are rounded away from zero."""
    first, last = (int(math.copysign(math.floor(abs(place) + 0.5), place)) for place in (start, end))
    step = np.float32(max(last - first + 1, 1)) / np.float32(size)
    lows = np.floor(np.arange(size, dtype=np.float32) * step).astype(int) + first
    ends = np.ceil(np.arange(1, size + 1, dtype=np.float32) * step).astype(int) + first
    return list(zip(np.clip(lows, 0, side).tolist(), np.clip(ends, 0, side).tolist(), strict=True))


def blend(crops: Floats, attentions: Floats, interpolation: Literal["bilinear", "nearest"]) -> Floats:
    """Mask probabilities (D, R, R) of crops (D, K, R, R) weighed by attentions (D, K, M, M), eq. 2-4.

    With K = 1 a probability is ``sigmoid(a'_d) * sigmoid(r_d)``.
    """
    resized = _resized(attentions, crops.shape[-1], interpolation)
    if crops.shape[1] == 1:
        return sigmoid(resized[:, 0]) * sigmoid(crops[:, 0])
    resized -= resized.max(axis=1, keepdims=True)
    weights = np.exp(resized, out=resized)
    total = weights.sum(axis=1)
    weights *= crops
    return sigmoid(weights.sum(axis=1) / total)


def _resized(attentions: Floats, size: int, interpolation: Literal["bilinear", "nearest"]) -> Floats:
    side = attentions.shape[-1]
    if interpolation == "nearest":
        cells = np.arange(size) * side // size
        return attentions[:, :, cells[:, None], cells]
    weights = interpolated(np.eye(side, dtype=attentions.dtype), size, side / size)
    return weights @ (attentions @ weights.T)


def maskness(probabilities: Floats) -> Floats:
    """The mean of the mask probabilities (D, R, R) that are above 0.5: (D,), and 0 where none is."""
    inside = probabilities > 0.5
    total: Floats = (probabilities * inside).sum(axis=(1, 2))
    return total / np.maximum(inside.sum(axis=(1, 2)), 1).astype(total.dtype)


def assemble(crops: Floats) -> Floats:
    """Mask probabilities (D, R, R) of crops (D, K, R, R) of which each of M x M cells shows its own, K = M * M."""
    num_bases, size = crops.shape[1], crops.shape[-1]
    side = math.isqrt(num_bases)
    cell = np.arange(size) * side // size
    rows, columns = np.indices((size, size))
    return sigmoid(crops[:, cell[:, None] * side + cell, rows, columns])
