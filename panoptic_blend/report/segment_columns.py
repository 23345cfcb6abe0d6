"""The segments of all images of a result set in columns, from which the page shows and counts single segments."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.metrics.causes import Cause
from panoptic_blend.metrics.details import SIZES

NO_CAUSE = 255

_TYPES = {
    "lines": "<u2",
    "outcomes": "u1",
    "causes": "u1",
    "ious": "<f4",
    "others": "<u2",
    "areas": "<u4",
    "scores": "<f4",
    "boxes": "<u2",
    "ignorable": "u1",
}
"""The types of the columns in the page; `SegmentEntry` says what they hold."""


@dataclass(frozen=True)
class SegmentEntry:
    """One segment: ``line`` is the index (1..C) of its class, ``other`` that of its match or of the nearest one, or 0.

    ``outcome`` and ``cause`` are indices, the latter ``NO_CAUSE`` without an error. ``iou`` is that with the match or
    with the nearest segment, ``score`` NaN if there is none, ``box`` x0, y0, x1, y1 in pixels of the page.
    ``ignorable`` says of a prediction that PQ ignores it unless it matches.
    """

    line: int
    outcome: int
    cause: int
    iou: float
    other: int
    area: int
    score: float
    box: tuple[int, int, int, int]
    ignorable: bool = False


class SegmentColumns:
    """The segments of a result set, added image by image in the order of the page: those of the truth come first."""

    def __init__(self) -> None:
        self._counts: list[tuple[int, int]] = []
        self._parts: dict[str, list[npt.NDArray[Any]]] = {name: [] for name in _TYPES}

    def add(self, truth: Sequence[SegmentEntry], prediction: Sequence[SegmentEntry]) -> None:
        """Add the segments of the next image."""
        self._counts.append((len(truth), len(prediction)))
        entries = [*truth, *prediction]
        columns: dict[str, list[Any]] = {
            "lines": [entry.line for entry in entries],
            "outcomes": [entry.outcome for entry in entries],
            "causes": [entry.cause for entry in entries],
            "ious": [entry.iou for entry in entries],
            "others": [entry.other for entry in entries],
            "areas": [entry.area for entry in entries],
            "scores": [entry.score for entry in entries],
            "boxes": [length for entry in entries for length in entry.box],
            "ignorable": [entry.ignorable for entry in entries],
        }
        for name, column in columns.items():
            self._parts[name].append(np.array(column, _TYPES[name]))

    def content(self) -> dict[str, Any]:
        """The columns for the page, packed, and the ``counts`` of truth and prediction in each image."""
        packed = {name: _packed(self._column(name)) for name in _TYPES}
        return packed | {"counts": _packed(np.array(self._counts, "<u2"))}

    def has_scores(self) -> bool:
        """Whether a segment has a score."""
        return not bool(np.isnan(self._column("scores")).all())

    def errors_by_size(self) -> list[list[int]]:
        """The numbers of small, medium and large segments with an error of each cause, in the order of `Cause`."""
        causes, areas = self._column("causes"), self._column("areas").astype(np.int64)
        in_size = [(low <= areas) & (areas < high) for low, high in SIZES.values()]
        return [[int(np.sum(mask & (causes == place))) for mask in in_size] for place in range(len(Cause))]

    def _column(self, name: str) -> npt.NDArray[Any]:
        return np.concatenate([np.zeros(0, _TYPES[name]), *self._parts[name]])


def _packed(numbers: npt.NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(numbers.tobytes(), 6)).decode("ascii")
