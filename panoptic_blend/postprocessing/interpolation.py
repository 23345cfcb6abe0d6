"""Linear interpolation along one axis as a matrix, by torch's rule for centers of pixels (``align_corners=False``)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating]


def interpolated(rows: Floats, length: int, scale: float) -> Floats:
    """Resample the ``rows`` (n, c) to (length, c), in their type.

    Args:
        scale: distance of two results in rows; result i lies at row ``(i + 1/2) * scale - 1/2``, but not beyond the
            first and last row.
    """
    kind = rows.dtype.type
    centers = np.maximum((np.arange(length, dtype=rows.dtype) + kind(0.5)) * kind(scale) - kind(0.5), kind(0))
    low = np.minimum(centers.astype(np.intp), len(rows) - 1)
    high = np.minimum(low + 1, len(rows) - 1)
    share = np.minimum(centers - low.astype(rows.dtype), kind(1))[:, None]
    return rows[low] * (kind(1) - share) + rows[high] * share


def reading(places: Floats, cells: int) -> Floats:
    """Weights (cells, n) by which ``places`` (n,) read the cells of an axis: ``max(1 - |place - cell|, 0)``.

    Places are from -1 to ``cells``; these two read nothing.
    """
    low = np.floor(places)
    columns, first = np.arange(len(places)), low.astype(np.intp) + 1
    weights = np.zeros((cells + 3, len(places)), dtype=places.dtype)  # a cell in front and two behind read nothing
    weights[first, columns] = np.maximum(1 - np.abs(places - low), 0)
    weights[first + 1, columns] = np.maximum(1 - np.abs(places - (low + 1)), 0)
    return weights[1:-2]


def resizing(cells: int, stride: int, side: int, output_side: int, dtype: npt.DTypeLike = np.float32) -> Floats:
    """The matrix (output_side, cells) that upsamples by ``stride``, cuts to ``side`` and resizes to ``output_side``."""
    upsampled = interpolated(np.eye(cells, dtype=dtype), cells * stride, 1 / stride)
    return interpolated(upsampled[:side], output_side, side / output_side)


def tiles(weights: Floats, size: int) -> Iterator[tuple[Floats, slice]]:
    """Parts of weights (n, cells) of ``size`` rows, each cut to the cells that its rows read, with their slice."""
    for first in range(0, len(weights), size):
        part = weights[first : first + size]
        read = np.flatnonzero(part.any(axis=0))
        window = slice(int(read[0]), int(read[-1]) + 1)
        yield part[:, window], window
