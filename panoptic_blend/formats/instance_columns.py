"""The annotations of a COCO instances JSON as columns, which hold many of them compactly."""

from __future__ import annotations

import math
from array import array
from itertools import chain
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.formats.coco_shapes import (
    BOX_ONLY,
    MalformedShapeError,
    Polygons,
    RunLengths,
    compressed,
    read_shape,
)
from panoptic_blend.formats.columns import DecimalColumn
from panoptic_blend.formats.json_fields import Record, require_image_id, require_integer
from panoptic_blend.structures import ImageId, PanopticBlendError, Size

KIND = "a COCO instances JSON"

_ANY_SIZE = 2**31, 2**31
"""Stands for the size of an image that is not known yet, in which no point is too far away."""

_MOST_PIXELS = 2**32
"""Pixels of masks are counted in 32 bits by pycocotools."""

_NO_BOX = [math.nan] * 4


class InstanceColumns:
    """The annotations of a file, one row each, in the order in which they are parsed.

    A mask is as it was given: polygons are numbers in ``points``, run lengths are texts in ``codes``. ``source`` names
    the file in messages.
    """

    def __init__(self, source: str) -> None:
        self._source = source
        self.image_numbers, self.category_numbers = array("i"), array("i")
        self.images: dict[ImageId, int] = {}
        self.categories: dict[int, int] = {}
        self.ids, self.is_crowd = array("q"), array("b")
        self.boxes, self.areas = array("d"), array("d")
        self.points = DecimalColumn()
        self.part_lengths, self.part_counts = array("i"), array("i")
        self.codes: dict[int, tuple[str, Size]] = {}
        self.malformed: list[tuple[int, MalformedShapeError]] = []

    def pack(self, record: Record) -> Any:
        """Move a parsed annotation to a row and return the number of the row; other records are returned unchanged.

        As the ``object_hook`` of ``json.loads`` it is called before the next annotation is parsed, so that a large file
        is never in memory as Python objects.
        """
        if "image_id" not in record or "category_id" not in record:
            return record
        row, given_id = len(self.ids), record.get("id")
        image_id, category_id = record["image_id"], record["category_id"]
        if type(image_id) is not int:
            image_id = require_image_id(record, "image_id", self._where(record))
        if type(category_id) is not int:
            category_id = require_integer(record, "category_id", self._where(record))
        crowd = record.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise PanopticBlendError(f"{self._where(record)}: `iscrowd` is {crowd!r}, not 0 or 1; correct it")
        self.image_numbers.append(self.images.setdefault(image_id, len(self.images)))
        self.category_numbers.append(self.categories.setdefault(category_id, len(self.categories)))
        self.is_crowd.append(crowd == 1)
        self._append_box(record)
        self._append_shape(record, row)
        self.ids.append(given_id if type(given_id) is int and 0 <= given_id < 2**63 else -1)
        return row

    def _where(self, record: Record) -> str:
        """The words that name the next row in messages."""
        given_id = record.get("id")
        return f"{self._source}: annotation {len(self.ids) if given_id is None else given_id}"

    def _append_box(self, record: Record) -> None:
        box, area = record.get("bbox"), record.get("area")
        if not _append(self.boxes, _NO_BOX if box is None else box, 4):
            form = "the numbers x, y, width, height"
            raise PanopticBlendError(f"{self._where(record)}: `bbox` is {box!r:.80}, not {form}; correct it")
        if not _append(self.areas, [math.nan if area is None else area], 1):
            raise PanopticBlendError(f"{self._where(record)}: `area` is {area!r:.80}, not a number; correct it")

    def _append_shape(self, record: Record, row: int) -> None:
        parts = record.get("segmentation")
        if isinstance(parts, list) and parts and all(map(_may_be_polygon, parts)):
            try:
                self._append_polygons(parts)
            except (TypeError, OverflowError):
                pass
            else:
                return
        try:
            shape = read_shape(record, _ANY_SIZE)
            if isinstance(shape, RunLengths) and math.prod(shape.size) >= _MOST_PIXELS:
                raise MalformedShapeError(f"an RLE of [height, width] {list(shape.size)}")
        except MalformedShapeError as error:
            self.malformed.append((row, error))
            shape = Polygons([], 0)
        if isinstance(shape, RunLengths):
            self.codes[row] = compressed(shape, shape.size).decode("ascii"), shape.size
            shape = Polygons([], 0)
        self._append_polygons([part.ravel().tolist() for part in shape.parts])

    def _append_polygons(self, parts: list[list[float]]) -> None:
        self.points.extend(array("d", parts[0] if len(parts) == 1 else chain.from_iterable(parts)))
        self.part_counts.append(len(parts))
        self.part_lengths.extend(map(len, parts))

    def has_boxes_only(self) -> bool:
        """Whether each annotation has a box and none has a mask."""
        return (
            bool(self.ids)
            and len(self.malformed) == len(self.ids)
            and all(error.kind == BOX_ONLY for _, error in self.malformed)
        )

    def require_read(self, listed: list[Any]) -> None:
        """Raise an error unless the ``listed`` annotations are the rows."""
        if listed == list(range(len(self.ids))):
            return
        for i, record in enumerate(listed):
            if isinstance(record, dict):
                if "segments_info" in record:
                    raise PanopticBlendError(f"annotations[{i}] has `segments_info`, as COCO panoptic has; give {KIND}")
                require_image_id(record, "image_id", f"annotations[{i}]")
                require_integer(record, "category_id", f"annotations[{i}]")
        raise PanopticBlendError(f"`annotations` holds other records, or its records stand elsewhere; is this {KIND}?")


def _append(column: array[float], values: Any, count: int) -> bool:
    """Append ``values`` to a column of doubles; return whether they are ``count`` numbers."""
    try:
        column.extend(values)
    except (TypeError, OverflowError):
        return False
    return len(values) == count


def _may_be_polygon(part: object) -> bool:
    return type(part) is list and len(part) >= 6 and not len(part) % 2


def numbers_of(column: array[Any]) -> npt.NDArray[Any]:
    """The numbers of an array of Python as one of numpy, in the same memory."""
    return np.frombuffer(column, dtype=column.typecode) if len(column) else np.zeros(0, column.typecode)
