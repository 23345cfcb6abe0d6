"""The overlaps of a result set as plain arrays, image after image, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.overlaps import Comparison, SegmentTable
from panoptic_blend.metrics.sparse import SparseTable

Arrays = Mapping[str, npt.NDArray[Any]]

_COLUMNS = {"truth": 4, "prediction": 4, "overlaps": 3, "boundary": 3}
"""The arrays of a result set beside ``counts``, with their numbers of columns. Segments have id, category, area and
whether they are a crowd; overlaps are as in `SparseTable`. ``counts`` has the numbers of rows of each image, and
``scores`` those of the predicted segments, NaN for none."""

NAMES = ("counts", "scores", *_COLUMNS)
"""The names of all arrays of a result set."""


def pack(details: PanopticDetails) -> Arrays:
    """The arrays of a result set, image after image."""
    rows: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in _COLUMNS}
    for _, found in details.comparisons():
        rows["truth"].append(_segments(found.truth))
        rows["prediction"].append(_segments(found.prediction))
        rows["overlaps"].append(found.overlaps.entries)
        rows["boundary"].append(found.boundary.entries if found.boundary else np.zeros((0, 3), np.int32))
    counts = np.array([[len(array) for array in arrays] for arrays in rows.values()], dtype=np.int64)
    stacked = {
        name: np.concatenate([np.zeros((0, _COLUMNS[name]), np.int64), *arrays]).astype(np.int64)
        for name, arrays in rows.items()
    }
    scores = [_scores(found.prediction) for _, found in details.comparisons()]
    return {
        "counts": counts.reshape(len(_COLUMNS), -1).T,
        "scores": np.concatenate([np.zeros(0), *scores]),
        **stacked,
    }


def _segments(table: SegmentTable) -> npt.NDArray[np.int64]:
    return np.stack([table.ids, table.categories, table.areas, table.is_crowd.astype(np.int64)], axis=1)


def _scores(table: SegmentTable) -> npt.NDArray[np.float64]:
    return np.full(len(table.ids), np.nan) if table.scores is None else table.scores


def unpack(arrays: Arrays, boundary: bool) -> Iterator[Comparison]:
    """The comparisons of all images; ValueError for arrays that do not fit together."""
    counts = arrays["counts"]
    for name, columns in (*_COLUMNS.items(), ("counts", len(_COLUMNS))):
        if arrays[name].dtype != np.int64 or arrays[name].ndim != 2 or arrays[name].shape[1] != columns:
            raise ValueError(f"shape of {name}")
        if name != "counts" and counts[:, list(_COLUMNS).index(name)].sum() != len(arrays[name]):
            raise ValueError(f"rows of {name}")
    scores = arrays["scores"]
    if scores.dtype != np.float64 or scores.shape != arrays["prediction"].shape[:1]:
        raise ValueError("scores")
    if counts.size and counts.min() < 0:
        raise ValueError("counts")
    ends = np.cumsum(counts, axis=0)
    for start, end in zip((ends - counts).tolist(), ends.tolist(), strict=True):
        parts = {n: arrays[n][low:high] for n, low, high in zip(_COLUMNS, start, end, strict=True)}
        predicted = slice(start[1], end[1])  # the second of the columns
        truth, prediction = _table(parts["truth"]), _table(parts["prediction"], scores[predicted])
        size = len(truth.ids) + 1, len(prediction.ids) + 1
        edges = _sparse(parts["boundary"], (size[0] + 1, size[1])) if boundary else None
        yield Comparison(truth, prediction, _sparse(parts["overlaps"], size), edges)


def _table(rows: npt.NDArray[np.int64], scores: npt.NDArray[np.float64] | None = None) -> SegmentTable:
    return SegmentTable(rows[:, 0].copy(), rows[:, 1].copy(), rows[:, 2].copy(), rows[:, 3] != 0, scores)


def _sparse(entries: npt.NDArray[np.int64], shape: tuple[int, int]) -> SparseTable:
    keys = entries[:, 0] * shape[1] + entries[:, 1]
    outside = (entries[:, :2] < 0) | (entries[:, :2] >= shape)
    if outside.any() or (np.diff(keys) <= 0).any() or (entries[:, 2] < 1).any() or (entries[:, 2] >= 2**31).any():
        raise ValueError("overlaps")
    return SparseTable(entries.astype(np.int32), shape)
