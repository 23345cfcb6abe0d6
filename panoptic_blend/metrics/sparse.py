"""Tables of counts of which only the nonzero entries are stored."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

_DENSE_FACTOR, _DENSE_LIMIT = 32, 2**22
"""A table is counted in a dense array up to so many cells for each counted item, and never above the limit: there,
sorting the items is faster and takes less memory."""


@dataclass(frozen=True, eq=False)
class SparseTable:
    """A table (R, C) of counts; ``entries`` (n, 3) int32 are row, column and count of those above 0, row by row."""

    entries: npt.NDArray[np.int32]
    shape: tuple[int, int]

    @classmethod
    def count(
        cls,
        rows: Integers,
        columns: Integers,
        shape: tuple[int, int],
        times: npt.NDArray[np.integer[Any]] | None = None,
    ) -> SparseTable:
        """Count the items at ``rows`` and ``columns`` (m,), each as often as ``times`` (m,) says, by default once."""
        keys, size = rows * shape[1] + columns, math.prod(shape)
        if size <= min(_DENSE_FACTOR * keys.size, _DENSE_LIMIT):
            counts = np.bincount(keys, times, minlength=size)
            found = np.flatnonzero(counts)
            return cls._at(found, counts[found], shape)
        found, inverse = np.unique(keys, return_inverse=True)
        counts = np.bincount(inverse, times, minlength=len(found))
        return cls._at(found[counts > 0], counts[counts > 0], shape)

    @classmethod
    def from_dense(cls, table: Integers) -> SparseTable:
        """Store a table (R, C)."""
        found = np.flatnonzero(table)
        return cls._at(found, table.ravel()[found], (table.shape[0], table.shape[1]))

    @classmethod
    def _at(cls, keys: npt.NDArray[np.intp], counts: npt.NDArray[Any], shape: tuple[int, int]) -> SparseTable:
        entries = np.empty((keys.size, 3), dtype=np.int32)
        entries[:, 0], entries[:, 1] = np.divmod(keys, shape[1])
        entries[:, 2] = counts
        return cls(entries, shape)

    @property
    def rows(self) -> Integers:
        """Rows of the entries (n,)."""
        return self.entries[:, 0].astype(np.int64)

    @property
    def columns(self) -> Integers:
        """Columns of the entries (n,)."""
        return self.entries[:, 1].astype(np.int64)

    @property
    def counts(self) -> Integers:
        """Counts of the entries (n,)."""
        return self.entries[:, 2].astype(np.int64)

    def dense(self) -> Integers:
        """The whole table (R, C)."""
        table = np.zeros(self.shape, dtype=np.int64)
        table[self.entries[:, 0], self.entries[:, 1]] = self.entries[:, 2]
        return table

    def row_sums(self) -> Integers:
        """Sums of the rows (R,)."""
        return sums(self.rows, self.counts, self.shape[0])

    def column_sums(self) -> Integers:
        """Sums of the columns (C,)."""
        return sums(self.columns, self.counts, self.shape[1])

    def first_row(self) -> Integers:
        """Row 0 as a dense array (C,)."""
        first = self.entries[:, 0] == 0
        return sums(self.columns[first], self.counts[first], self.shape[1])

    def at(self, rows: Integers, columns: Integers) -> Integers:
        """The counts at ``rows`` and ``columns`` (m,)."""
        keys, wanted = self.rows * self.shape[1] + self.columns, rows * self.shape[1] + columns
        places = np.searchsorted(keys, wanted)
        is_stored = np.append(keys, -1)[places] == wanted
        return np.where(is_stored, np.append(self.counts, 0)[places], 0)


def sums(groups: Integers, values: Integers, size: int) -> Integers:
    """Sums of ``values`` (n,) by ``groups`` (n,), which are numbers below ``size``: (size,)."""
    return np.bincount(groups, values, size).astype(np.int64)


def contains(groups: Integers, is_true: npt.NDArray[np.bool_], size: int) -> npt.NDArray[np.bool_]:
    """Whether a group has a member that ``is_true`` (n,): (size,), with ``groups`` as for `sums`."""
    found = np.zeros(size, dtype=np.bool_)
    found[groups[is_true]] = True
    return found
