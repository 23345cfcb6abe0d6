"""Read the records of a COCO panoptic JSON that may have any fault: every field is checked before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from panoptic_blend.formats.columns import MAX_SEGMENT_ID
from panoptic_blend.formats.json_fields import Record, integer, records
from panoptic_blend.structures import Size

LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class Contents:
    """The records in the three lists of a parsed JSON; items that are not records are left out."""

    images: list[Record]
    annotations: list[Record]
    categories: list[Record]

    @classmethod
    def from_json(cls, content: Any) -> Contents:
        """Take the records from any parsed JSON; a missing list counts as empty."""
        return cls(*(records(content, key) for key in LISTS))

    @cached_property
    def is_thing(self) -> dict[int, bool | None]:
        """Category id -> ``isthing``, None if the category has no valid ``isthing``."""
        known: dict[int, bool | None] = {}
        for category in self.categories:
            if (number := integer(category, "id")) is not None:
                known.setdefault(number, flag(category, "isthing"))
        return known

    @cached_property
    def class_names(self) -> dict[int, str]:
        """Category id -> name as shown in a report."""
        return {number: brief(c.get("name")) for c in self.categories if (number := integer(c, "id")) is not None}

    @cached_property
    def image_by_id(self) -> dict[int, Record]:
        """Image id -> its first record."""
        return first_by(self.images, "id")

    @cached_property
    def annotation_by_image(self) -> dict[int, Record]:
        """Image id -> its first annotation."""
        return first_by(self.annotations, "image_id")


def first_by(records: list[Record], key: str) -> dict[int, Record]:
    """Map a whole-number field to its record, and to the first one if several records have the same number."""
    found: dict[int, Record] = {}
    for record in records:
        if (number := integer(record, key)) is not None:
            found.setdefault(number, record)
    return found


def segments(annotation: Record) -> Iterator[Record]:
    """Yield the segments of an annotation, without items that are not records."""
    yield from records(annotation, "segments_info")


def flag(record: Record, key: str) -> bool | None:
    """The value of a field that is 0 or 1 as a bool, otherwise None."""
    value = record.get(key)
    return bool(value) if isinstance(value, (int, float)) and value in (0, 1) else None


def segment_id(segment: Record) -> int | None:
    """The id of a segment if a PNG can hold it, otherwise None."""
    number = integer(segment, "id")
    return number if number is not None and 0 < number <= MAX_SEGMENT_ID else None


def size(image: Record) -> Size | None:
    """Height and width of an image record, None unless both are positive whole numbers."""
    height, width = integer(image, "height"), integer(image, "width")
    return (height, width) if height and width and min(height, width) > 0 else None


def image_label(record: Record, key: str = "id") -> str:
    """The name of an image in a report; for an annotation, ``key`` is ``image_id``."""
    number = integer(record, key)
    return f"image {number}" if number is not None else f"the image of {brief(record.get('file_name'))}"


def brief(value: object) -> str:
    """A value from a file as text of at most 80 characters."""
    text = repr(value[:80] if isinstance(value, (str, list)) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."
