"""Columns that hold many annotations compactly and in memory that worker processes share.

A worker process that reads a Python object changes its reference count and thereby copies its page of memory; bytes
and arrays stay shared.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from array import array
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar, overload

import numpy as np
import numpy.typing as npt

from panoptic_blend.formats.json_fields import are_records, require_integer
from panoptic_blend.structures import ImageId, PanopticBlendError, Size

MAX_SEGMENT_ID = 2**24 - 1

_HUGE = 1e100
"""No score is larger."""

T = TypeVar("T", covariant=True)


class LazySequence(Sequence[T]):
    """A sequence that builds its items on access."""

    @abstractmethod
    def item(self, index: int) -> T:
        """Build item ``index``, which is not negative."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        indices = range(len(self))[index]
        return self.item(indices) if isinstance(indices, int) else [self.item(i) for i in indices]


class StringColumn(LazySequence[str]):
    """Many short strings in one; every string that JSON can hold is preserved, including lone surrogates."""

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._bytes = b"".join(encoded)
        self._offsets = array("q", accumulate(map(len, encoded), initial=0))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def item(self, index: int) -> str:
        return self._bytes[self._offsets[index] : self._offsets[index + 1]].decode("utf-8", "surrogatepass")


def integer_column(values: list[int]) -> Sequence[int]:
    """Store integers in 8 bytes each; returns ``values`` unchanged if one is too large."""
    try:
        return array("q", values)
    except OverflowError:
        return values


def id_column(values: Sequence[ImageId]) -> Sequence[ImageId]:
    """Store image ids compactly if all are integers or all are texts; returns ``values`` unchanged otherwise."""
    numbers = [value for value in values if isinstance(value, int)]
    texts = [value for value in values if isinstance(value, str)]
    if len(numbers) == len(values):
        return integer_column(numbers)
    return StringColumn(texts) if len(texts) == len(values) else values


class SizeColumn(LazySequence[Size]):
    """Heights and widths; equal to every sequence of the same sizes."""

    def __init__(self, sizes: Iterable[Size]) -> None:
        heights, widths = zip(*sizes, strict=True)
        self._heights, self._widths = integer_column(list(heights)), integer_column(list(widths))

    def __len__(self) -> int:
        return len(self._heights)

    def item(self, index: int) -> Size:
        return self._heights[index], self._widths[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)


class DecimalColumn:
    """Many numbers, appended in groups and read as float64; those with at most two decimals take less memory.

    Blocks of ``block`` numbers are stored in hundredths, as integers of 16 or 32 bits, where that changes none of them.
    """

    def __init__(self, block: int = 2**16) -> None:
        self._block, self._open = block, array("d")
        self._blocks: list[npt.NDArray[Any]] = []

    @property
    def size(self) -> int:
        """The number of numbers."""
        return len(self._blocks) * self._block + len(self._open)

    def extend(self, numbers: array[float]) -> None:
        """Append an array of doubles."""
        self._open.extend(numbers)
        while len(self._open) >= self._block:
            self._blocks.append(_in_hundredths(np.array(self._open[: self._block])))
            del self._open[: self._block]

    def read(self, start: int, stop: int) -> npt.NDArray[np.float64]:
        """The numbers from index ``start`` up to ``stop``, as they were appended."""
        size, parts = self._block, []
        for number in range(start // size, -(-stop // size)):
            part = self._blocks[number] if number < len(self._blocks) else np.array(self._open)
            part = part[max(start - number * size, 0) : stop - number * size]
            parts.append(part if part.dtype == np.float64 else part / 100)
        return np.concatenate([np.zeros(0), *parts])


def _in_hundredths(numbers: npt.NDArray[np.float64]) -> npt.NDArray[Any]:
    """The numbers in hundredths as the smallest integers that hold all of them exactly; else unchanged."""
    with np.errstate(over="ignore", invalid="ignore"):  # of numbers that are not finite, or near to it
        hundredths = np.rint(numbers * 100)
    if (hundredths / 100 == numbers).all() and not np.signbit(numbers[numbers == 0]).any():
        for kind in (np.uint16, np.int32):
            if np.iinfo(kind).min <= hundredths.min() and hundredths.max() <= np.iinfo(kind).max:
                return hundredths.astype(kind)
    return numbers


@dataclass(frozen=True)
class InvalidSegments:
    """Error in the segments of an annotation; the message is to be prefixed with the name of the annotation."""

    message: str


class SegmentColumns:
    """The segments of many annotations, one row per segment, in the order in which they are parsed.

    ``areas`` stores the ``area`` of the segments too; data sets do not need it, because they measure areas. With
    ``results``, the id 0 is allowed, as results of DETR number segments from 0, and a ``score`` is kept. Several
    records of a segment that agree are one row, with the area of the last one, as COCO's script reads them.
    """

    def __init__(self, *, areas: bool = False, results: bool = False) -> None:
        self._first_id = 0 if results else 1
        self.areas = array("d") if areas else None
        self._scores = array("d") if results else None
        self._ids, self._categories, self._is_crowd = array("i"), array("i"), array("b")
        # category id -> number; ids may exceed 32 bits until they are validated
        self._category_numbers: dict[int, int] = {}

    def pack(self, record: dict[str, Any]) -> dict[str, Any]:
        """Move the segments of a parsed annotation to rows; other records are returned unchanged.

        As the ``object_hook`` of ``json.loads`` it is called before the next annotation is parsed, so that a large file
        is never in memory as Python objects. The list ``segments_info`` is replaced by the ``range`` of its rows, or
        by `InvalidSegments`.
        """
        if are_records(infos := record.get("segments_info")):
            start = len(self._ids)
            try:
                self._append(infos)
            except PanopticBlendError as error:
                record["segments_info"] = InvalidSegments(str(error))
            else:
                record["segments_info"] = range(start, len(self._ids))
        return record

    def _append(self, infos: list[dict[str, Any]]) -> None:
        rows: dict[int, int] = {}
        for i, info in enumerate(infos):
            segment_id = require_integer(info, "id", f"segments_info[{i}]")
            category_id = require_integer(info, "category_id", f"segment {segment_id}")
            if not self._first_id <= segment_id <= MAX_SEGMENT_ID:
                raise PanopticBlendError(f"segment id {segment_id} is not between 1 and {MAX_SEGMENT_ID}; 0 is void")
            crowd = info.get("iscrowd", 0)
            if crowd not in (0, 1):
                raise PanopticBlendError(f"segment {segment_id}: `iscrowd` is {crowd!r}, not 0 or 1; correct it")
            area = _area(info, segment_id) if self.areas is not None else None
            category = self._category_numbers.setdefault(category_id, len(self._category_numbers))
            row = rows.setdefault(segment_id, len(self._ids))
            if row < len(self._ids):
                if (self._categories[row], self._is_crowd[row]) != (category, crowd == 1):
                    raise PanopticBlendError(
                        f"segment {segment_id} is listed twice, with different `category_id` or `iscrowd`; "
                        "give each segment an id of its own"
                    )
                if self.areas is not None:
                    self.areas[row] = math.nan if area is None else area
                continue
            if self.areas is not None:
                self.areas.append(math.nan if area is None else area)
            if self._scores is not None:
                self._scores.append(_score(info))
            self._ids.append(segment_id)
            self._categories.append(category)
            self._is_crowd.append(crowd == 1)

    def rows(self, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
        """Yield segment id, category id and ``iscrowd`` of the rows ``start`` to ``stop``."""
        category_ids = list(self._category_numbers)
        for i in range(start, stop):
            yield self._ids[i], category_ids[self._categories[i]], bool(self._is_crowd[i])

    def scores(self, start: int, stop: int) -> list[float | None]:
        """The scores of the rows ``start`` to ``stop``, None where there is none."""
        if self._scores is None:
            return [None] * (stop - start)
        return [None if math.isnan(score) else score for score in self._scores[start:stop]]

    def count_classes(
        self, starts: Sequence[int], stops: Sequence[int], places: Mapping[int, int]
    ) -> npt.NDArray[np.int32]:
        """How many segments, without crowds, of each category the rows from each of ``starts`` to ``stops`` have.

        The column of a category id is its place in ``places``.
        """
        counts = np.zeros((len(starts), len(places)), dtype=np.int32)
        lengths = np.subtract(stops, starts, dtype=np.int64)
        rows = np.repeat(np.subtract(starts, np.cumsum(lengths) - lengths, dtype=np.int64), lengths)
        rows += np.arange(len(rows))
        columns = np.array([places[category_id] for category_id in self._category_numbers], dtype=np.int64)
        kept = ~np.array(self._is_crowd, dtype=np.bool_)[rows]
        images = np.repeat(np.arange(len(starts)), lengths)[kept]
        np.add.at(counts, (images, columns[np.array(self._categories, dtype=np.int64)[rows[kept]]]), 1)
        return counts

    def are_things(self, thing_ids: Container[int]) -> Iterator[bool]:
        """Yield for each row whether its segment is a thing, and no crowd."""
        flags = [category_id in thing_ids for category_id in self._category_numbers]
        return (flags[number] and not crowd for number, crowd in zip(self._categories, self._is_crowd, strict=True))


def _score(info: Mapping[str, Any]) -> float:
    """The score of a segment; NaN if it has none that is a finite number, as no figure depends on it."""
    score = info.get("score")
    if isinstance(score, bool) or not isinstance(score, int | float) or not abs(score) < _HUGE:
        return math.nan
    return float(score)


def _area(info: Mapping[str, Any], segment_id: int) -> float | None:
    area = info.get("area")
    if isinstance(area, bool) or not isinstance(area, int | float | None):
        raise PanopticBlendError(f"segment {segment_id}: `area` is {area!r}, not a number; correct it")
    try:
        return None if area is None else float(area)
    except OverflowError:
        raise PanopticBlendError(
            f"segment {segment_id}: `area` is a number of hundreds of digits; correct it"
        ) from None
