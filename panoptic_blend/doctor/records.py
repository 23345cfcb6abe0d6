"""The records of a COCO panoptic JSON that may be wrong anywhere: every field is looked at before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from panoptic_blend.files import inside
from panoptic_blend.formats.columns import MAX_SEGMENT_ID
from panoptic_blend.structures import PanopticBlendError, Size, is_integer

Record = dict[str, Any]

LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class Contents:
    """What of a parsed JSON is records; everything else in it has been reported and is passed over."""

    images: list[Record]
    annotations: list[Record]
    categories: list[Record]

    @classmethod
    def from_json(cls, content: Any) -> Contents:
        """Of any parsed JSON."""
        return cls(*(_records(content, key) for key in LISTS))

    @cached_property
    def is_thing(self) -> dict[int, bool | None]:
        """Category id -> `isthing`, None where the category does not say it."""
        known: dict[int, bool | None] = {}
        for category in self.categories:
            if (number := integer(category, "id")) is not None:
                known.setdefault(number, flag(category, "isthing"))
        return known

    @cached_property
    def class_names(self) -> dict[int, str]:
        """Category id -> name, for reports."""
        return {number: brief(c.get("name")) for c in self.categories if (number := integer(c, "id")) is not None}

    @cached_property
    def image_by_id(self) -> dict[int, Record]:
        """Image id -> its first record."""
        return first_by(self.images, "id")

    @cached_property
    def annotation_by_image(self) -> dict[int, Record]:
        """Image id -> the first annotation of it."""
        return first_by(self.annotations, "image_id")


def first_by(records: list[Record], key: str) -> dict[int, Record]:
    """Records by a field that is a whole number; of several with one number the first."""
    found: dict[int, Record] = {}
    for record in records:
        if (number := integer(record, key)) is not None:
            found.setdefault(number, record)
    return found


def _records(content: Any, key: str) -> list[Record]:
    value = content.get(key) if isinstance(content, dict) else None
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def segments(annotation: Record) -> Iterator[Record]:
    """The segments of an annotation that are records."""
    yield from _records(annotation, "segments_info")


def integer(record: Record, key: str) -> int | None:
    """A field that is a whole number, else None."""
    value = record.get(key)
    return value if is_integer(value) else None


def flag(record: Record, key: str) -> bool | None:
    """A field that is 0 or 1, else None."""
    value = record.get(key)
    return bool(value) if isinstance(value, (int, float)) and value in (0, 1) else None


def segment_id(segment: Record) -> int | None:
    """The id of a segment if a PNG can hold it, else None."""
    number = integer(segment, "id")
    return number if number is not None and 0 < number <= MAX_SEGMENT_ID else None


def file_name(record: Record) -> str | None:
    """A file name that stays in its folder, else None."""
    value = record.get("file_name")
    return value if isinstance(value, str) and stays_inside(value) else None


def stays_inside(name: str) -> bool:
    """Whether a name from a file leads nowhere else."""
    try:
        inside(Path(), name)
    except (PanopticBlendError, ValueError):  # an empty name
        return False
    return True


def size(image: Record) -> Size | None:
    """Height and width of an image record, None unless both are numbers of pixels."""
    height, width = integer(image, "height"), integer(image, "width")
    return (height, width) if height and width and min(height, width) > 0 else None


def place(record: Record, key: str = "id") -> str:
    """How a report calls an image, or an annotation by its ``image_id``."""
    number = integer(record, key)
    return f"image {number}" if number is not None else f"the image of {brief(record.get('file_name'))}"


def brief(value: object) -> str:
    """A value from a file, short enough for a line."""
    text = repr(value[:80] if isinstance(value, (str, list)) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."
