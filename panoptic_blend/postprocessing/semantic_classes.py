"""Semantic classes of the pixels from the logits of a network at a stride."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple, Self

import numpy as np
import numpy.typing as npt
from numpy.lib.stride_tricks import sliding_window_view

from panoptic_blend.postprocessing.detection import Integers
from panoptic_blend.postprocessing.interpolation import Floats, resizing, tiles
from panoptic_blend.structures import Size

_TILE = 16
"""Side of the square tiles in which classes are computed, in pixels: few classes have a chance in one tile."""

_MARGIN = 1e-4
"""By how much of the largest logit a class must be behind everywhere in a tile to be left out: far above rounding."""

_AT_ONCE = 2**10
"""Tiles whose pixels are compared at once: 1 MB of values of one class."""

Bools = npt.NDArray[np.bool_]


def semantic_classes(logits: Floats, stride: int, size: Size, output_size: Size) -> npt.NDArray[np.int64]:
    """Upsample logits (S + 1, h, w) by ``stride``, cut off the padding, resize, and take the best class (appendix A).

    The three steps are linear, so one matrix for the rows and one for the columns do all of them. A pixel is a mean of
    cells of its tile, so a class that is behind another in all these cells is the best of no pixel there. Returns
    (H, W) int64; of equal classes the first.
    """
    rows, columns = (
        _tiles_of(cells, stride, side, output_side, logits.dtype)
        for cells, side, output_side in zip(logits.shape[1:], size, output_size, strict=True)
    )
    possible = _possible(logits, rows, columns)
    classes = np.empty((len(possible), _TILE, len(possible[0]), _TILE), dtype=np.min_scalar_type(len(logits)))
    classes[:] = possible.argmax(axis=2)[:, None, :, None]
    numbers = possible.sum(axis=2)
    i, j = np.nonzero(numbers > 1)
    order = np.argsort(-numbers[i, j], kind="stable")
    for first in range(0, len(order), _AT_ONCE):
        part = order[first : first + _AT_ONCE]
        row, column = i[part], j[part]
        classes[row, :, column] = _best(logits, possible[row, column], rows.at(row), columns.at(column))
    return classes.reshape(len(possible) * _TILE, -1)[: output_size[0], : output_size[1]].astype(np.int64)


class _Tiles(NamedTuple):
    """Tiles of an axis: the first cell that each reads (n,), and weights (n, `_TILE`, r) of r cells from there on."""

    starts: Integers
    weights: Floats

    def at(self, places: Integers) -> Self:
        """The tiles at ``places``."""
        return type(self)(self.starts[places], self.weights[places])


@lru_cache(maxsize=16)
def _tiles_of(cells: int, stride: int, side: int, output_side: int, dtype: npt.DTypeLike) -> _Tiles:
    """The tiles of an axis for `resizing`, kept for the next picture; pixels that the last tile lacks have zeros."""
    weights = resizing(cells, stride, side, output_side, dtype)
    parts = list(tiles(weights, _TILE))
    reach = max(part.shape[1] for part, _ in parts)
    starts = np.array([min(window.start, cells - reach) for _, window in parts])
    padded = np.zeros((len(parts), _TILE, reach), dtype=dtype)
    for target, start, (part, window) in zip(padded, starts.tolist(), parts, strict=True):
        target[: len(part), window.start - start : window.stop - start] = part
    return _Tiles(starts, padded)


def _possible(logits: Floats, rows: _Tiles, columns: _Tiles) -> Bools:
    """Whether each class can be the best of a pixel in each tile: (rows, columns, S + 1)."""
    found = np.empty((len(rows.starts), len(columns.starts), len(logits)), dtype=np.bool_)
    for number, start in enumerate(rows.starts.tolist()):
        window = logits[:, start : start + rows.weights.shape[2]]
        reach = _extreme(np.minimum, window.min(axis=1), columns).max(axis=0)
        highest = _extreme(np.maximum, window.max(axis=1), columns)
        found[number] = (highest >= reach - _MARGIN * np.maximum(np.abs(reach), 1)).T
    return found


def _extreme(best: np.ufunc, values: Floats, axis: _Tiles) -> Floats:
    """The minimum or maximum of ``values`` (S + 1, cells) in the cells of each of n tiles: (S + 1, n).

    That of twice as many neighbors is that of two halves, and two such runs, which may overlap, make up a tile.
    """
    reach, width = axis.weights.shape[2], 1
    while 2 * width <= reach:
        values, width = best(values[:, :-width], values[:, width:]), 2 * width
    return best(values[:, axis.starts], values[:, axis.starts + reach - width])


def _best(logits: Floats, possible: Bools, rows: _Tiles, columns: _Tiles) -> npt.NDArray[np.unsignedinteger]:
    """The best of the possible classes (n, S + 1) of each pixel (n, `_TILE`, `_TILE`) of n tiles.

    The tiles are sorted by their number of classes, those with most first. A class is compared with the best of those
    before it, so of equal ones the first stays; a later class has a larger number.
    """
    tile, kind = np.nonzero(possible)
    rank = np.arange(len(tile)) - np.searchsorted(tile, tile)
    ranked = np.split(kind[np.argsort(rank, kind="stable")], np.cumsum(np.bincount(rank))[:-1])
    windows = sliding_window_view(logits, (rows.weights.shape[2], columns.weights.shape[2]), axis=(1, 2))
    down, along = rows.weights, columns.weights.swapaxes(1, 2).copy()
    best = np.full((len(possible), _TILE, _TILE), -np.inf, dtype=logits.dtype)
    leader = np.zeros(best.shape, dtype=np.min_scalar_type(len(logits)))
    for kinds in ranked:  # of the first tiles, because those have most classes
        n = len(kinds)
        values = down[:n] @ windows[kinds, rows.starts[:n], columns.starts[:n]] @ along[:n]
        is_better = values > best[:n]
        np.maximum(leader[:n], is_better * kinds.astype(leader.dtype)[:, None, None], out=leader[:n])
        np.maximum(best[:n], values, out=best[:n])
    return leader
