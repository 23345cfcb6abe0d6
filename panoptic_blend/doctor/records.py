"""Read the records of a COCO panoptic JSON that may have any fault: every field is checked before it is used."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from panoptic_blend.formats.columns import MAX_SEGMENT_ID
from panoptic_blend.formats.json_fields import Record, file_names, integer, records, require_image_id
from panoptic_blend.structures import ImageId, PanopticBlendError, Size

LISTS = ("images", "annotations", "categories")


@dataclass(frozen=True)
class Contents:
    """The records in the three lists of a parsed JSON; items that are not records are left out."""

    images: list[Record]
    annotations: list[Record]
    categories: list[Record]

    @classmethod
    def from_json(cls, content: Any) -> Contents:
        """Take the records from any parsed JSON, with file names as `local_names`; a missing list counts as empty."""
        images, annotations, categories = (records(content, key) for key in LISTS)
        return cls(_with_local_names(images), _with_local_names(annotations), categories)

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
    def image_by_id(self) -> dict[ImageId, Record]:
        """Image id -> its first record."""
        return first_by(self.images, "id")

    @cached_property
    def annotation_by_image(self) -> dict[ImageId, Record]:
        """Image id -> its first annotation."""
        return first_by(self.annotations, "image_id")


def _with_local_names(found: list[Record]) -> list[Record]:
    names = file_names(found)
    return [
        {**record, "file_name": name} if name not in ("", record.get("file_name")) else record
        for record, name in zip(found, names, strict=True)
    ]


def first_by(records: list[Record], key: str) -> dict[ImageId, Record]:
    """Map the id of an image to its record, and to the first one if several records have the same id."""
    found: dict[ImageId, Record] = {}
    for record in records:
        if (image := identifier(record, key)) is not None:
            found.setdefault(image, record)
    return found


def identifier(record: Record, key: str) -> ImageId | None:
    """The id of an image, a number or a text, None if the value is anything else."""
    try:
        return require_image_id(record, key, "")
    except PanopticBlendError:
        return None


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
    image = identifier(record, key)
    return f"image {image}" if image is not None else f"the image of {brief(record.get('file_name'))}"


def brief(value: object) -> str:
    """A value from a file as text of at most 80 characters."""
    text = repr(value[:80] if isinstance(value, (str, list)) else value)
    return text if len(text) <= 80 else f"{text[:77]}..."
