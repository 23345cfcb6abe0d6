"""Run lengths of maps, made and compared by the WebAssembly program ``runs.wat``, or by numpy where it cannot run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from panoptic_blend import webassembly

Number = TypeVar("Number", bound=np.number[Any])

_LARGE = 2**14
"""Pixels from which on the program is used: numpy needs no longer for less, and nothing is compiled."""


class SharedValues(NamedTuple):
    """The n pairs of values that two maps have at the same pixels: ``own`` and ``other`` (n,), and ``pixels`` (n,)."""

    own: npt.NDArray[np.integer]
    other: npt.NDArray[np.integer]
    pixels: npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Runs:
    """Run lengths of a map (H, W): n runs of equal pixels, each within one row.

    ``values`` (n,) are the values of the runs, ``starts`` (n,) their first positions in the flattened map.
    """

    values: npt.NDArray[np.integer]
    starts: npt.NDArray[np.int32]
    shape: tuple[int, int]

    @classmethod
    def from_pixels(cls, pixels: npt.NDArray[np.integer]) -> Runs:
        """Encode a map (H, W) as runs."""
        height, width = pixels.shape
        flat = pixels.ravel()
        if flat.dtype in _KINDS and flat.size >= _LARGE:
            found = _run("encode", [flat], [height, width], _RUN * flat.size)
            if found is not None:
                return cls.from_bytes(found, flat.dtype, (height, width))
        is_start = np.ones(flat.size, dtype=np.bool_)
        np.not_equal(flat[1:], flat[:-1], out=is_start[1:])
        is_start[:: width or 1] = True
        starts = np.flatnonzero(is_start).astype(np.int32)
        return cls(flat[starts], starts, (height, width))

    @classmethod
    def from_bytes(cls, runs: npt.NDArray[np.uint8], kind: npt.DTypeLike, shape: tuple[int, int]) -> Runs:
        """Decode the output of a program: start and value of each run, in 32 bits, where values are of ``kind``."""
        starts, values = runs.view(np.int32).reshape(-1, 2).T.copy()
        return cls(values.view(kind), starts, shape)

    @property
    def lengths(self) -> npt.NDArray[np.int32]:
        """Lengths of the runs (n,) in pixels."""
        return np.diff(self.starts, append=np.int32(self.shape[0] * self.shape[1]))

    def paint(self, values: npt.NDArray[Number]) -> npt.NDArray[Number]:
        """Decode to a map (H, W) in which the runs have ``values`` (n,)."""
        return np.repeat(values, self.lengths).reshape(self.shape)

    def overlay(self, other: Runs) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """Divide a map into m runs in each of which this encoding and another of the same shape are constant.

        Returns the index of the run in this encoding and in the other (m,), and the lengths (m,), which may be 0.
        """
        both = np.concatenate([self.starts, other.starts])
        order = np.argsort(both, kind="stable")  # merges the two ascending sequences in linear time
        own = np.cumsum(order < len(self.starts), dtype=np.int32) - 1
        others = np.arange(len(own), dtype=np.int32) - own - 1
        lengths = np.empty_like(both)
        np.subtract(both[order[1:]], both[order[:-1]], out=lengths[:-1])
        lengths[-1:] = self.shape[0] * self.shape[1] - both[order[-1:]]
        return own, others, lengths

    def shared(self, other: Runs) -> SharedValues:
        """The pairs of values of this map and of another of the same shape that share pixels, in any order."""
        pixels = self.shape[0] * self.shape[1]
        if pixels >= _LARGE and self.values.dtype in _KINDS and other.values.dtype in _KINDS:
            places = (2 * (len(self.values) + len(other.values)) - 1).bit_length()
            end = np.int32(pixels)
            both = [array for each in (self, other) for array in (np.append(each.starts, end), each.values)]
            found = _run("shared", both, [pixels, places], (_PAIR // 2 + _PLACE) << places)
            if found is not None:
                own, others, counts, _ = found.view(np.int32).reshape(-1, 4).T.copy()
                kinds = self.values.dtype, other.values.dtype
                return SharedValues(own.view(kinds[0]), others.view(kinds[1]), counts.astype(np.int64))
        own_run, other_run, lengths = self.overlay(other)
        own_values, rows = np.unique(self.values, return_inverse=True)
        other_values, columns = np.unique(other.values, return_inverse=True)
        keys, index = np.unique(rows[own_run] * len(other_values) + columns[other_run], return_inverse=True)
        pixels_of = np.bincount(index, lengths, len(keys)).astype(np.int64)
        keys, pixels_of = keys[pixels_of > 0], pixels_of[pixels_of > 0]  # parts of a map may be empty
        return SharedValues(own_values[keys // len(other_values)], other_values[keys % len(other_values)], pixels_of)

    def areas_and_boxes(self, count: int) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Areas (count,) and tight boxes (count, 4) of the values 1 to ``count``; no run may have a larger value.

        The box of a value without pixels is undefined.
        """
        lengths = self.lengths.astype(np.intp)
        areas = np.bincount(self.values, lengths, minlength=count + 1).astype(np.intp)
        top, left = np.divmod(self.starts.astype(np.intp), self.shape[1] or 1)
        boxes = np.tile([self.shape[1], self.shape[0], 0, 0], (count + 1, 1))
        np.minimum.at(boxes[:, 0], self.values, left)
        np.minimum.at(boxes[:, 1], self.values, top)
        np.maximum.at(boxes[:, 2], self.values, left + lengths)
        np.maximum.at(boxes[:, 3], self.values, top + 1)
        return areas[1:], boxes[1:]


_KINDS = (np.dtype(np.int32), np.dtype(np.uint32))
"""The values that the program knows."""

_RUN, _PAIR, _PLACE = 8, 16, 4
"""Bytes of a run, of a pair of values with its pixels, and of a place in the hash table of pairs."""


def _run(function: str, inputs: list[npt.NDArray[Any]], numbers: list[int], space: int) -> npt.NDArray[np.uint8] | None:
    return webassembly.run("panoptic_blend", "runs", function, inputs, numbers, space)
