"""Columns that hold the detections of a file of COCO results, checked as they are parsed."""

from __future__ import annotations

import math
from array import array
from collections import Counter
from collections.abc import Collection, Mapping
from typing import Any, TypeGuard

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from panoptic_blend.formats.coco_shapes import MalformedShapeError, RunLengths, compressed, read_shape
from panoptic_blend.formats.json_fields import require_image_id, require_integer
from panoptic_blend.formats.run_lengths import first_invalid
from panoptic_blend.instances import FoundInstances, mask_areas, run_lengths
from panoptic_blend.structures import ImageId, PanopticBlendError, Size, is_integer

Record = dict[str, Any]

FORM = "COCO results are a list with a record for each detection: image_id, category_id, score, bbox or segmentation"

_HUGE = 1e100
"""No score, length or position is larger."""

_SLACK = 2
"""Pixels by which boxes may leave their image."""

_NO_BOX = (math.nan,) * 4


class ResultColumns:
    """The results of a file in rows, in the order of the file, without those of other images or categories.

    Args:
        name: the name of the file, for messages.
        sizes: height and width of each image of the truth.
        category_ids: those of the truth.
        owner: the name of the file of the truth.
    """

    def __init__(self, name: str, sizes: Mapping[ImageId, Size], category_ids: Collection[int], owner: str) -> None:
        self._name, self._owner, self._sizes, self._category_ids = name, owner, sizes, frozenset(category_ids)
        self._numbers = {image_id: number for number, image_id in enumerate(sizes)}
        self.images = array("q")
        """For each row, the place of its image in ``sizes``."""
        self._categories, self._scores, self._boxes, self._pixels = array("q"), array("d"), array("d"), array("q")
        self._masks: list[bytes] = []
        self._places = array("q")
        self.total, self._error = 0, ""
        self.has_boxes = self.has_masks = False
        """Whether the first result has a box, and whether all have masks."""
        self.additional, self.unknown = Counter[ImageId](), Counter[int]()
        """The number of results of images and of categories that the truth lacks."""

    def pack(self, record: Record) -> Record | None:
        """Move a result to a row and return None; other records are returned unchanged.

        As the ``object_hook`` of ``json.loads`` it is called before the next result is parsed, so that a large file is
        never in memory as Python objects. `finish` raises the first error, as it knows what the file is.
        """
        if "image_id" not in record:
            return record
        if not self._error:
            try:
                self._append(record, f"{self._name}: results[{self.total}]")
            except PanopticBlendError as error:
                self._error = str(error)
        self.total += 1
        return None

    def _append(self, record: Record, where: str) -> None:
        image_id, category_id = require_image_id(record, "image_id", where), _category(record, where)
        score, box, shape = _score(record, where), _box(record, where), record.get("segmentation")
        if self.total == 0:
            self.has_boxes, self.has_masks = box is not None, bool(shape)
        if not (box or shape):
            raise PanopticBlendError(f"{where} has neither a `bbox` nor a `segmentation`; write at least one")
        if not box and self.has_boxes:
            raise PanopticBlendError(f"{where} has no `bbox`, and the first result has one; write it for all or none")
        if bool(shape) != self.has_masks:
            differ = "a `segmentation`, and the first has none" if shape else "no `segmentation`, unlike the first"
            raise PanopticBlendError(f"{where} has {differ}; write it for all or none")
        if image_id not in self._numbers:
            self.additional[image_id] += 1
            return
        if category_id not in self._category_ids:
            self.unknown[category_id] += 1
            return
        height, width = size = self._sizes[image_id]
        if shape:
            self._masks.append(_mask(record, size, where))
        self.images.append(self._numbers[image_id])
        self._categories.append(category_id)
        self._scores.append(score)
        self._boxes.extend(box or _NO_BOX)
        self._places.append(self.total)
        self._pixels.append(height * width)

    def finish(self, content: Any) -> None:
        """Check the parsed file, of which `pack` has moved the results away, and the masks.

        Raises:
            PanopticBlendError: the file is no list of results, or a result is malformed.
        """
        if not isinstance(content, list):
            keys = ", ".join(f"`{key}`" for key in list(content)[:3]) if isinstance(content, dict) else ""
            raise PanopticBlendError(f"{self._name}: is {'an object with ' + keys if keys else 'no list'}; {FORM}")
        strays = [i for i, item in enumerate(content) if item is not None]
        if strays:
            raise PanopticBlendError(f"{self._name}: results[{strays[0]}] has no `image_id`; {FORM}")
        if self.total != len(content):
            raise PanopticBlendError(f"{self._name}: records with an `image_id` stand inside of others; {FORM}")
        if self._error:
            raise PanopticBlendError(self._error)
        if (self.additional or self.unknown) and not self.images:
            raise PanopticBlendError(f"{self._name}: {self._mismatch()}")
        if self.has_masks and (row := first_invalid(self._masks, self._pixels)) is not None:
            raise self._malformed(row)

    def box_doubt(self) -> str | None:
        """What the boxes seem to be instead of x, y, width and height in pixels; None if they look sound."""
        if not self.has_boxes or not self.images:
            return None
        boxes = np.frombuffer(self._boxes, np.float64).reshape(-1, 4)
        borders = np.array(list(self._sizes.values()))[np.frombuffer(self.images, np.int64), ::-1] + _SLACK
        leave = (boxes[:, :2] + boxes[:, 2:] > borders).any(axis=1)
        fit_as_corners = ((boxes[:, :2] <= boxes[:, 2:]) & (boxes[:, 2:] <= borders)).all(axis=1)
        if leave.mean() > 0.5 and fit_as_corners.mean() > 0.9:
            return "most boxes leave their image, and would fit as x0, y0, x1, y1; COCO's are x, y, width, height"
        if np.quantile(np.abs(boxes), 0.99) <= 1:
            return "all boxes lie within one pixel, as fractions of the image do; COCO's are in pixels"
        return None

    def _mismatch(self) -> str:
        """Why all results are of other images or categories than the truth."""
        if not self.additional:
            return (
                f"no result has a category of {self._owner}: theirs are {_listed(self.unknown)} and those of the truth "
                f"{_listed(self._category_ids)}; write the ids of the truth"
            )
        example, known = next(iter(self.additional)), next(iter(self._sizes), None)
        if isinstance(example, str) != isinstance(known, str):
            kinds = ("texts", "numbers") if isinstance(example, str) else ("numbers", "texts")
            return (
                f"image ids are {kinds[0]}, such as {example!r}, and those of {self._owner} {kinds[1]}, such as "
                f"{known!r}; write the same in both"
            )
        return (
            f"no result is of an image of {self._owner}: image ids are such as {example!r} here and {known!r} there; "
            "check that both are of the same split"
        )

    def _malformed(self, row: int) -> PanopticBlendError:
        """The error of a row whose mask does not fill its picture."""
        size = list(self._sizes.values())[self.images[row]]
        segmentation = {"size": list(size), "counts": self._masks[row].decode()}
        try:
            read_shape({"segmentation": segmentation}, size)
            error = MalformedShapeError("an RLE with unreadable `counts`")
        except MalformedShapeError as found:
            error = found
        return _malformed(error, f"{self._name}: results[{self._places[row]}]")

    def positions(self, rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        """The positions of ``rows`` (D,) in the list of the file."""
        positions: npt.NDArray[np.int64] = np.frombuffer(self._places, np.int64)[rows]
        return positions

    def found(self, rows: npt.NDArray[np.int64], size: Size) -> FoundInstances:
        """The detections of ``rows`` (D,), of an image of ``size``."""
        boxes = np.frombuffer(self._boxes, np.float64).reshape(-1, 4)[rows]
        masks = [self._masks[row] for row in rows] if self.has_masks else None
        areas = boxes[:, 2] * boxes[:, 3]
        if masks and not self.has_boxes:
            records = run_lengths(size, masks)
            areas, boxes = mask_areas(records), np.where(np.isnan(boxes), coco.toBbox(records), boxes)
        return FoundInstances(
            size=size,
            category_ids=np.frombuffer(self._categories, np.int64)[rows],
            scores=np.frombuffer(self._scores, np.float64)[rows],
            boxes=boxes,
            masks=masks,
            areas=areas,
        )


def _listed(ids: Collection[int]) -> str:
    return ", ".join(map(str, sorted(ids)[:5])) + (", ..." if len(ids) > 5 else "")


def _category(record: Record, where: str) -> int:
    value = record.get("category_id")
    if is_integer(value):
        return value
    if isinstance(value, str) and value.strip().isdigit():
        raise PanopticBlendError(f"{where}: `category_id` is the text {value!r}; write it as a number, without quotes")
    return require_integer(record, "category_id", where)


def _score(record: Record, where: str) -> float:
    value = record.get("score")
    if _is_number(value):
        return float(value)
    if value is None:
        raise PanopticBlendError(f"{where} has no `score`; each result needs one (annotations of a data set have none)")
    remedy = "write it as a number, without quotes" if isinstance(value, str) else "correct it"
    raise PanopticBlendError(f"{where}: `score` is {value!r}, not a finite number; {remedy}")


def _box(record: Record, where: str) -> list[float] | None:
    value = record.get("bbox")
    if value is None or value == []:
        return None
    if not isinstance(value, list) or len(value) != 4 or not all(map(_is_number, value)):
        raise PanopticBlendError(f"{where}: `bbox` is {value!r}, not four numbers x, y, width, height; correct it")
    return value


def _is_number(value: object) -> TypeGuard[float]:
    """Whether a JSON value is a number that is neither infinite nor, written as an integer, as good as that."""
    return isinstance(value, float | int) and not isinstance(value, bool) and abs(value) < _HUGE


def _mask(record: Record, size: Size, where: str) -> bytes:
    """The compressed run lengths of a result, whose counts are checked later if they are compressed in the file."""
    segmentation = record["segmentation"]
    if isinstance(segmentation, dict) and isinstance(counts := segmentation.get("counts"), str):
        if counts.startswith(("b'", 'b"')):
            raise PanopticBlendError(f"{where}: `counts` are bytes printed by Python, b'...'; write `counts.decode()`")
        if segmentation.get("size") == list(size) and counts.isascii():
            return counts.encode()
    try:
        shape = read_shape(record, size)
        if isinstance(shape, RunLengths) and shape.size != size:
            detail = f"an RLE of [height, width] {list(shape.size)} in a picture of {list(size)}"
            raise MalformedShapeError("an RLE of another size than its picture", detail)
    except MalformedShapeError as error:
        raise _malformed(error, where) from None
    return compressed(shape, size)


def _malformed(error: MalformedShapeError, where: str) -> PanopticBlendError:
    return PanopticBlendError(f"{where} has {error.detail}; correct the program that wrote it")
