"""Masks of instances in the image: probabilities that are stretched over boxes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from panoptic_blend.postprocessing.detection import Integers
from panoptic_blend.postprocessing.interpolation import Floats, reading
from panoptic_blend.structures import Array, Cutout, Size, as_array

if TYPE_CHECKING:
    from torch import Tensor

_TOGETHER = 16
"""Instances whose weights are computed at once."""

_BAND = 64
"""Columns of a mask that are computed at once."""


def paste(probabilities: Tensor | Array, boxes: Tensor | Array, size: Size) -> list[Cutout]:
    """Stretch mask probabilities (D, R, R) over their boxes (D, 4) in an image of ``size`` (height, width).

    A pixel reads the mask bilinearly at its center, ``(x + 0.5 - x0) / (x1 - x0)``, with zeros outside, and belongs to
    the instance from 0.5 on. Only pixels that touch the box are computed, because others stay below 0.5. Pixels that
    touch a box without width or height, as mmdetection keeps it, read the middle of the mask.
    """
    grids, sides = (as_array(x).astype(np.float32, copy=False) for x in (probabilities, boxes))
    empty = (sides[:, :2] == sides[:, 2:]).astype(np.float32)
    corners = np.concatenate([np.floor(sides[:, :2]) - empty, np.ceil(sides[:, 2:]) + empty], axis=1)
    corners = corners.clip(0, [size[1], size[0]] * 2).astype(int)
    cutouts = []
    for first in range(0, len(grids), _TOGETHER):
        part = slice(first, first + _TOGETHER)
        rows, columns = (_readings(corners[part, i::2], sides[part, i::2], grids.shape[-1]) for i in (1, 0))
        for grid, (_, down), across, (left, top, *_) in zip(
            grids[part], rows, columns, corners[part].tolist(), strict=True
        ):
            cutouts.append(Cutout(_stretched(down.T @ grid, *across), top, left))
    return cutouts


def _readings(pixels: Integers, sides: Floats, cells: int) -> Iterator[tuple[Floats, Floats]]:
    """Where pixels of an axis lie in cells of each box (end - first,), and by which weights (R, end - first) they read.

    Args:
        pixels: first and end (n, 2).
        sides: between which places the cells lie (n, 2).
    """
    half, counts = np.float32(0.5), pixels[:, 1] - pixels[:, 0]
    ends = counts.cumsum()
    numbers = np.arange(counts.sum()) - np.repeat(ends - pixels[:, 1], counts)
    low, extent = np.repeat(sides[:, 0], counts), np.repeat(sides[:, 1] - sides[:, 0], counts)
    shares = np.full(len(numbers), half)
    with np.errstate(over="ignore"):  # a box of almost no width
        np.divide(numbers.astype(np.float32) + half - low, extent, out=shares, where=extent > 0)
    places = (shares * cells - half).clip(-1, cells)
    weights = reading(places, cells)
    for count, end in zip(counts.tolist(), ends.tolist(), strict=True):
        yield places[end - count : end], weights[:, end - count : end]


def _stretched(lines: Floats, places: Floats, weights: Floats) -> npt.NDArray[np.bool_]:
    """The mask (h, w) of lines (h, R) whose pixels lie at ``places`` (w,) and have weights (R, w).

    It is computed in bands of columns, because a band of a wide mask reads few of the cells.
    """
    mask = np.empty((len(lines), len(places)), dtype=np.bool_)
    for first in range(0, len(places), _BAND):
        band = slice(first, first + _BAND)
        cells = slice(max(int(places[band][0]), 0), max(int(places[band][-1]) + 2, 0))
        np.greater_equal(lines[:, cells] @ weights[cells, band], 0.5, out=mask[:, band])
    return mask
