"""Semantic classes of the pixels from the logits of a network at a stride."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from panoptic_blend.postprocessing.interpolation import Floats, resizing, tiles
from panoptic_blend.structures import Size

_TILE = 64
"""Side of the square tiles in which classes are computed, in pixels: few classes have a chance in one tile."""

_MARGIN = 1e-4
"""By how much of the largest logit a class must be behind everywhere in a tile to be left out: far above rounding."""


def semantic_classes(logits: Floats, stride: int, size: Size, output_size: Size) -> npt.NDArray[np.int64]:
    """Upsample logits (S + 1, h, w) by ``stride``, cut off the padding, resize, and take the best class (appendix A).

    The three steps are linear, so one matrix for the rows and one for the columns do all of them. A pixel is a mean of
    cells of its tile, so a class that is behind another in all these cells is the best of no pixel there. Returns
    (H, W) int64; of equal classes the first.
    """
    rows, columns = (
        list(tiles(resizing(cells, stride, side, output_side, logits.dtype), _TILE))
        for cells, side, output_side in zip(logits.shape[1:], size, output_size, strict=True)
    )
    classes = np.zeros(output_size, dtype=np.int64)
    for i, (down, vertical) in enumerate(rows):
        band = classes[i * _TILE : (i + 1) * _TILE]
        for j, (along, horizontal) in enumerate(columns):
            band[:, j * _TILE : (j + 1) * _TILE] = _best(logits[:, vertical, horizontal], down, along)
    return classes


def _best(cells: Floats, down: Floats, along: Floats) -> npt.NDArray[np.intp] | np.intp:
    """The best class of each pixel (n, m) from cells (S + 1, h, w) and weights (n, h) and (m, w)."""
    flat = cells.reshape(len(cells), -1)
    highest = flat.max(axis=1)
    reach = flat.min(axis=1).max()
    possible = np.flatnonzero(highest >= reach - _MARGIN * max(abs(reach), 1))
    if len(possible) == 1:
        return possible[0]
    values = down @ cells[possible] @ along.T
    best, leader = values[0], np.zeros(values.shape[1:], dtype=np.intp)
    for number in range(1, len(values)):
        is_better = values[number] > best
        np.copyto(leader, number, where=is_better)
        np.maximum(best, values[number], out=best)
    return possible[leader]
