"""Masks of instances in the image: probabilities that are stretched over boxes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from panoptic_blend.structures import Array, Cutout, Size, as_array

if TYPE_CHECKING:
    from torch import Tensor


def paste(probabilities: Tensor | Array, boxes: Tensor | Array, size: Size) -> list[Cutout]:
    """Stretch mask probabilities (D, R, R) over their boxes (D, 4) in an image of ``size`` (height, width).

    A pixel reads the mask bilinearly at its center, ``(x + 0.5 - x0) / (x1 - x0)``, with zeros outside, and belongs to
    the instance from 0.5 on. Only pixels that touch the box are computed, because others stay below 0.5. Pixels that
    touch a box without width or height, as mmdetection keeps it, read the middle of the mask.
    """
    grids, sides = (as_array(x).astype(np.float32, copy=False) for x in (probabilities, boxes))
    empty = (sides[:, :2] == sides[:, 2:]).astype(np.float32)
    corners = np.concatenate([np.floor(sides[:, :2]) - empty, np.ceil(sides[:, 2:]) + empty], axis=1)
    corners = corners.clip(0, [size[1], size[0]] * 2).astype(int).tolist()
    cutouts = []
    for grid, (x0, y0, x1, y1), (left, top, right, bottom) in zip(grids, sides, corners, strict=True):
        rows, columns = _reading(top, bottom, y0, y1, len(grid)), _reading(left, right, x0, x1, len(grid))
        cutouts.append(Cutout(rows @ grid @ columns.T >= 0.5, top, left))
    return cutouts


def _reading(first: int, end: int, low: np.float32, high: np.float32, cells: int) -> npt.NDArray[np.float32]:
    """Weights (end - first, R) by which pixels of one axis read the R cells that lie between ``low`` and ``high``."""
    half = np.float32(0.5)
    distances = np.arange(first, end, dtype=np.float32) + half - low
    shares = distances / (high - low) if high > low else np.full_like(distances, half)
    centers = shares * cells - half
    return np.maximum(1 - np.abs(centers[:, None] - np.arange(cells, dtype=np.float32)), 0)
