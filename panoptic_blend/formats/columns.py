"""Annotations of any number as columns: compact, and shared by worker processes.

A worker that looks at a Python object changes its reference count and so copies its page of memory; what
lies in bytes and arrays stays shared.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, TypeVar, overload

from panoptic_blend.formats.json_fields import are_records, require_integer
from panoptic_blend.structures import PanopticBlendError

MAX_SEGMENT_ID = 2**24 - 1

T = TypeVar("T", covariant=True)


class Records(Sequence[T]):
    """Records that are put together when they are asked for."""

    @abstractmethod
    def record(self, index: int) -> T:
        """Record ``index``, which is not negative."""

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        places = range(len(self))[index]
        return self.record(places) if isinstance(places, int) else [self.record(place) for place in places]


class Texts(Records[str]):
    """Many short texts as one; any text that JSON can hold, lone surrogates too, comes back as it was."""

    def __init__(self, texts: Iterable[str]) -> None:
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        self._bytes = b"".join(encoded)
        self._offsets = array("q", accumulate(map(len, encoded), initial=0))

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def record(self, index: int) -> str:
        return self._bytes[self._offsets[index] : self._offsets[index + 1]].decode("utf-8", "surrogatepass")


def integers(values: list[int]) -> Sequence[int]:
    """Whole numbers in 8 bytes each, unless one of them is too large for that."""
    try:
        return array("q", values)
    except OverflowError:
        return values


@dataclass(frozen=True)
class Flaw:
    """What is wrong with the segments of an annotation, to be told with the annotation's name before it."""

    message: str


class SegmentColumns:
    """The segments of many annotations, one row each, in the order in which they are parsed.

    ``areas`` keeps their ``area`` too, which a data set measures for itself.
    """

    def __init__(self, *, areas: bool = False) -> None:
        self.areas = array("d") if areas else None
        self._ids, self._categories, self._is_crowd = array("i"), array("i"), array("b")
        self._category_places: dict[int, int] = {}  # ids may be of any size until they are known to be right

    def pack(self, record: dict[str, Any]) -> dict[str, Any]:
        """Move the segments of a parsed annotation to rows; other records are left as they are.

        As the ``object_hook`` of ``json.loads``, it does so before the next annotation is parsed: a big file never
        stands in memory as Python objects. A list of records ``segments_info`` becomes the `range` of its rows, or
        a `Flaw`.
        """
        if are_records(infos := record.get("segments_info")):
            start = len(self._ids)
            try:
                self._append(infos)
            except PanopticBlendError as error:
                record["segments_info"] = Flaw(str(error))
            else:
                record["segments_info"] = range(start, len(self._ids))
        return record

    def _append(self, infos: list[dict[str, Any]]) -> None:
        seen: set[int] = set()
        for i, info in enumerate(infos):
            segment_id = require_integer(info, "id", f"segments_info[{i}]")
            category_id = require_integer(info, "category_id", f"segment {segment_id}")
            if segment_id in seen:
                raise PanopticBlendError(f"segment {segment_id} is listed twice; ids are unique in an image")
            if not 0 < segment_id <= MAX_SEGMENT_ID:
                raise PanopticBlendError(f"segment id {segment_id}; ids are 1 to {MAX_SEGMENT_ID}, 0 is void")
            crowd = info.get("iscrowd", 0)
            if crowd not in (0, 1):
                raise PanopticBlendError(f"segment {segment_id}: `iscrowd` is {crowd!r}, not 0 or 1; correct it")
            area = _area(info, segment_id) if self.areas is not None else None
            seen.add(segment_id)
            if self.areas is not None:
                self.areas.append(math.nan if area is None else area)
            self._ids.append(segment_id)
            self._categories.append(self._category_places.setdefault(category_id, len(self._category_places)))
            self._is_crowd.append(crowd == 1)

    def rows(self, start: int, stop: int) -> Iterator[tuple[int, int, bool]]:
        """Segment id, category id and whether it is a crowd, for some rows."""
        category_ids = list(self._category_places)
        for i in range(start, stop):
            yield self._ids[i], category_ids[self._categories[i]], bool(self._is_crowd[i])


def _area(info: Mapping[str, Any], segment_id: int) -> float | None:
    area = info.get("area")
    if isinstance(area, bool) or not isinstance(area, int | float | None):
        raise PanopticBlendError(f"segment {segment_id}: `area` is {area!r}, not a number; correct it")
    return area
