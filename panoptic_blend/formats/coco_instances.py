"""Read and validate COCO instances JSON: boxes, masks that may overlap, and crowds.

The format is that of the COCO detection task (Lin et al., Microsoft COCO, ECCV 2014).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_images import ImageRecords, not_listed, read_images
from panoptic_blend.formats.coco_shapes import (
    MAX_OUTLINE,
    REACH,
    MalformedShapeError,
    Polygons,
    compressed,
    read_shape,
)
from panoptic_blend.formats.columns import LazySequence, SizeColumn, StringColumn, id_column
from panoptic_blend.formats.instance_columns import KIND, InstanceColumns, numbers_of
from panoptic_blend.formats.json_fields import require_records
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.instances import TrueInstances, mask_areas, run_lengths
from panoptic_blend.structures import PanopticBlendError, Size

_CHUNK = 2**20
"""Coordinates that are checked at once."""


@dataclass(frozen=True)
class InstancesJson:
    """A validated annotation file: ``images`` in the order of the file; all ``categories`` are things."""

    path: Path
    categories: Categories
    images: InstanceImages


def read_instances_json(path: Path, *, pictures: bool = True, masks: bool = True) -> InstancesJson:
    """Read and validate a COCO instances JSON. Images without annotations are images, too.

    Args:
        pictures: require usable names of pictures; else a name may be missing, and is empty then.
        masks: require masks; else a file in which no annotation has one is read, too.

    Raises:
        PanopticBlendError: the file is not COCO instances JSON or has no images, an id of an image is used twice, an
            annotation is of an image or a category that the file lacks, or an annotation has no valid box or mask.
    """
    annotations = InstanceColumns(path.name)
    content = read_json(path, annotations.pack)
    images, records, listed = (
        require_records(content, "images", path.name, KIND),
        require_records(content, "categories", path.name, KIND),
        content.get("annotations"),
    )
    try:
        categories = Categories({**record, "isthing": 1} for record in records)
        if not isinstance(listed, list):
            raise PanopticBlendError(f"no list of records `annotations`; this is not {KIND}")
        annotations.require_read(listed)
    except PanopticBlendError as error:
        raise PanopticBlendError(f"{path.name}: {error}") from None
    read = read_images(images, path, pictures=pictures)
    rows = _Rows(annotations, read, categories, path, needs_masks=masks)
    return InstancesJson(path, categories, InstanceImages(read, rows))


class InstanceImages(LazySequence[TrueInstances]):
    """Images stored in columns, in the order of the file; an item is the instances of an image, in their order."""

    def __init__(self, records: ImageRecords, rows: _Rows) -> None:
        self.ids, self.file_names = id_column(records.ids), StringColumn(records.file_names)
        self.sizes, self._rows = SizeColumn(records.sizes), rows

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def has_masks(self) -> bool:
        """Whether the annotations have masks; without any, those of the items are empty lists."""
        return self._rows.has_masks

    def annotation_ids(self, index: int) -> npt.NDArray[np.int64]:
        """The ids of the annotations (G,) of an image, -1 where they are no numbers."""
        return self._rows.ids[self._rows.of(index)]

    def instance_counts(self) -> npt.NDArray[np.int64]:
        """The number of instances, without crowds, of each image."""
        return self._rows.instance_counts()

    def class_counts(self, places: Mapping[int, int]) -> npt.NDArray[np.int32]:
        """The number of instances, without crowds, of each category in each image.

        The result is (images, categories); the column of a category id is its place in ``places``.
        """
        return self._rows.class_counts(places)

    def doubts(self) -> list[str]:
        """What is odd about the ids and areas of the annotations, and what becomes of the figures of AP."""
        return self._rows.doubts()

    def item(self, index: int) -> TrueInstances:
        return self._rows.instances(index, self.sizes[index])


class _Rows:
    """The annotations of a file as arrays, sorted by image, with their masks as they were given."""

    def __init__(
        self, read: InstanceColumns, images: ImageRecords, categories: Categories, path: Path, *, needs_masks: bool
    ) -> None:
        places = {image_id: place for place, image_id in enumerate(images.ids)}
        for image_id in read.images:
            if image_id not in places:
                raise not_listed(image_id, places, f"{path.name}: an annotation")
        for category_id in read.categories:
            if category_id not in categories.by_id:
                raise PanopticBlendError(
                    f"{path.name}: an annotation has category {category_id}, which `categories` lacks; add it there"
                )
        place = np.array([places[image_id] for image_id in read.images], np.int64)[numbers_of(read.image_numbers)]
        self._order = np.argsort(place, kind="stable").astype(np.int32)
        self._starts = np.searchsorted(place[self._order], np.arange(len(images.ids) + 1)).astype(np.int32)
        self.ids = numbers_of(read.ids)[self._order]
        self._categories = np.array(list(read.categories), np.int64)[numbers_of(read.category_numbers)][self._order]
        self._is_crowd = numbers_of(read.is_crowd).astype(np.bool_)[self._order]
        self._boxes, self._areas = (
            numbers_of(read.boxes).reshape(-1, 4)[self._order],
            numbers_of(read.areas)[self._order],
        )
        self._points, self._part_counts = read.points, numbers_of(read.part_counts)
        self._first_parts = np.cumsum(self._part_counts) - self._part_counts
        self._part_ends = np.cumsum(numbers_of(read.part_lengths), dtype=np.int64)
        self._code_rows = np.array(list(read.codes), np.int32)
        self._codes = StringColumn(code for code, _ in read.codes.values())
        self.has_masks = needs_masks or not read.has_boxes_only()
        self._require_valid(read, images, place, path)

    def of(self, index: int) -> slice:
        """The rows of an image."""
        return slice(int(self._starts[index]), int(self._starts[index + 1]))

    def instance_counts(self) -> npt.NDArray[np.int64]:
        before = np.concatenate([[0], np.cumsum(~self._is_crowd, dtype=np.int64)])
        counts: npt.NDArray[np.int64] = np.diff(before[self._starts])
        return counts

    def class_counts(self, places: Mapping[int, int]) -> npt.NDArray[np.int32]:
        counts = np.zeros((len(self._starts) - 1, len(places)), dtype=np.int32)
        images = np.repeat(np.arange(len(counts)), np.diff(self._starts))
        columns = np.array([places[i] for i in self._categories.tolist()], dtype=np.int64)
        np.add.at(counts, (images[~self._is_crowd], columns[~self._is_crowd]), 1)
        return counts

    def instances(self, index: int, size: Size) -> TrueInstances:
        rows = self.of(index)
        boxes, areas, masks = self._boxes[rows], self._areas[rows], list[bytes]()
        if self.has_masks:
            masks = [self._mask(row, size) for row in self._order[rows].tolist()]
        else:
            areas = np.where(np.isnan(areas), boxes[:, 2] * boxes[:, 3], areas)
        if np.isnan(boxes).any() or np.isnan(areas).any():  # missing ones are those of the masks
            found = run_lengths(size, masks)
            boxes = np.where(np.isnan(boxes), coco.toBbox(found), boxes)
            areas = np.where(np.isnan(areas), mask_areas(found), areas)
        return TrueInstances(size, self._categories[rows], boxes, masks, areas, self._is_crowd[rows])

    def doubts(self) -> list[str]:
        ids, box_areas = self.ids[self.ids >= 0], self._boxes[:, 2] * self._boxes[:, 3]
        same, shares = len(ids) - len(np.unique(ids)), self._areas[box_areas > 0] / box_areas[box_areas > 0]
        doubts = {
            "an annotation has id 0; where it is found, pycocotools counts a false detection": 0 in ids,
            f"{same:,} of {len(ids):,} annotations have the id of another one, which pycocotools takes instead": same,
            "most `area`s are less than 1% of their box or larger than it, so AP_S, AP_M and AP_L are of other sizes": (
                ((shares < 0.01) | (shares > 1.5)).sum() > len(shares) / 2
            ),
        }
        return [doubt for doubt, holds in doubts.items() if holds]

    def _mask(self, row: int, size: Size) -> bytes:
        if not self._part_counts[row]:
            return self._codes[int(np.searchsorted(self._code_rows, row))].encode("ascii")
        return compressed(Polygons(self._polygons(row), 0), size)

    def _polygons(self, row: int) -> list[npt.NDArray[np.float64]]:
        first, count = int(self._first_parts[row]), int(self._part_counts[row])
        ends = [int(self._part_ends[first - 1]) if first else 0, *self._part_ends[first : first + count].tolist()]
        numbers = self._points.read(ends[0], ends[-1])
        return [part.reshape(-1, 2) for part in np.split(numbers, np.subtract(ends[1:-1], ends[0]))]

    def _reaches(self, ends: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
        """The largest coordinate of every row without its sign, infinite for NaN; the numbers of a row end at ``ends``.

        Many rows are read at once, but not all of them.
        """
        reaches, starts = np.zeros(len(ends)), np.concatenate([[0], ends[:-1]])
        filled = np.flatnonzero(ends > starts)
        for rows in np.split(filled, np.searchsorted(ends[filled], np.arange(_CHUNK, self._points.size, _CHUNK))):
            if len(rows):
                first = int(starts[rows[0]])
                numbers = np.abs(self._points.read(first, int(ends[rows[-1]])))
                numbers[np.isnan(numbers)] = np.inf
                reaches[rows] = np.maximum.reduceat(numbers, starts[rows] - first)
        return reaches

    def _require_valid(
        self, read: InstanceColumns, images: ImageRecords, place: npt.NDArray[np.int64], path: Path
    ) -> None:
        """Raise an error if boxes or masks are malformed, which partly shows only with the size of their image."""
        is_infinite = np.isinf(self._boxes).any(axis=1) | np.isinf(self._areas)
        is_negative = (self._boxes[:, 2:] < 0).any(axis=1) | (self._areas < 0)
        for i in np.flatnonzero(is_infinite | is_negative).tolist():
            fault = "`bbox` or `area` is infinite" if is_infinite[i] else "width, height or `area` is negative"
            raise PanopticBlendError(f"{path.name}: annotation {self.ids[i]}: {fault}; correct it")
        malformed = list(read.malformed) if self.has_masks else []
        for row, (_, size) in read.codes.items():
            if size != (own := images.sizes[place[row]]):
                detail = f"an RLE of [height, width] {list(size)} in a picture of {list(own)}"
                malformed.append((row, MalformedShapeError("an RLE of another size than its picture", detail)))
        ends = np.append(self._part_ends, 0)[self._first_parts + self._part_counts - 1]
        reaches, sides = self._reaches(ends), np.array(images.sizes, np.float64).max(axis=1)
        is_doubtful = (reaches > REACH * sides[place]) | (np.diff(ends, prepend=0) * reaches > MAX_OUTLINE)
        for row in np.flatnonzero(is_doubtful).tolist():
            parts = [part.ravel().tolist() for part in self._polygons(row)]
            try:
                read_shape({"segmentation": parts}, images.sizes[place[row]])
            except MalformedShapeError as error:
                malformed.append((row, error))
        if malformed:
            row, first = min(malformed, key=lambda item: item[0])
            others = f", and {len(malformed) - 1} more have no valid mask either" if len(malformed) > 1 else ""
            raise PanopticBlendError(
                f"{path.name}: annotation {read.ids[row]} of {images.file_names[place[row]]} has {first.detail}"
                f"{others}; correct the file or remove these annotations"
            )
