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

_AT_ONCE = 2**12
"""Pairs of a tile and a class whose values are computed at once: 4 MB of them."""

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
    places = np.nonzero(numbers > 1)
    order = np.argsort(-numbers[places], kind="stable")
    batch = np.cumsum(numbers[places][order]) // _AT_ONCE
    for part in np.split(order, np.flatnonzero(np.diff(batch)) + 1):
        i, j = places[0][part], places[1][part]
        classes[i, :, j] = _best(logits, possible[i, j], rows.at(i), columns.at(j))
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
    lowest = highest = logits.swapaxes(0, 1)
    for axis in rows, columns:
        windows = [slice(start, start + axis.weights.shape[2]) for start in axis.starts.tolist()]
        pairs = [(lowest[window].min(axis=0), highest[window].max(axis=0)) for window in windows]
        # the next axis comes first, and the classes last
        lowest, highest = (np.stack(values).transpose(2, 0, 1).copy() for values in zip(*pairs, strict=True))
    reach = lowest.max(axis=0, keepdims=True)
    found: Bools = highest >= reach - _MARGIN * np.maximum(np.abs(reach), 1)
    return found.transpose(2, 1, 0).copy()


def _best(logits: Floats, possible: Bools, rows: _Tiles, columns: _Tiles) -> npt.NDArray[np.unsignedinteger]:
    """The best of the possible classes (n, S + 1) of each pixel (n, `_TILE`, `_TILE`) of n tiles.

    The tiles are sorted by their number of classes, those with most first. A class is compared with the best of those
    before it, so of equal ones the first stays; a later class has a larger number.
    """
    tile, kind = np.nonzero(possible)
    rank = np.arange(len(tile)) - np.searchsorted(tile, tile)
    order = np.argsort(rank, kind="stable")
    tile, kind = tile[order], kind[order]
    windows = sliding_window_view(logits, (rows.weights.shape[2], columns.weights.shape[2]), axis=(1, 2))
    cells = windows[kind, rows.starts[tile], columns.starts[tile]]
    values = rows.weights[tile] @ cells @ columns.weights[tile].swapaxes(1, 2)
    numbers = kind.astype(np.min_scalar_type(len(logits)))[:, None, None]
    _, first, lengths = np.unique(rank[order], return_index=True, return_counts=True)
    best = values[: len(possible)]
    leader = np.repeat(np.repeat(numbers[: len(possible)], _TILE, axis=1), _TILE, axis=2)
    for start, length in zip(first[1:].tolist(), lengths[1:].tolist(), strict=True):
        rivals = slice(start, start + length)
        is_better = values[rivals] > best[:length]
        np.maximum(leader[:length], is_better * numbers[rivals], out=leader[:length])
        np.maximum(best[:length], values[rivals], out=best[:length])
    return leader
