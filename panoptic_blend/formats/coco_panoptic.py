"""Read and validate COCO panoptic JSON + PNG.

The format is that of the COCO 2018 panoptic task (Kirillov et al., Panoptic Segmentation, CVPR 2019).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_images import ImageRecords, read_images
from panoptic_blend.formats.columns import (
    InvalidSegments,
    LazySequence,
    SegmentColumns,
    SizeColumn,
    StringColumn,
    id_column,
    integer_column,
)
from panoptic_blend.formats.images import decode_segment_runs
from panoptic_blend.formats.json_fields import not_records, require_file_names, require_image_id, require_records
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.structures import ImageId, PanopticBlendError, PanopticMap, Segment, Size

KIND = "COCO panoptic JSON"


@dataclass(frozen=True)
class Annotation:
    """The segments of one image, whose areas and boxes are not measured yet, and the name of their PNG."""

    image_id: ImageId
    png: str
    segments: list[Segment]

    def read(
        self, source: Path, maps: Folder, size: Size | None = None, *, remedy: str = "remove it from the JSON"
    ) -> PanopticMap:
        """Read the PNG from ``maps``, validate it against the JSON ``source``, and measure the segments.

        Raises:
            PanopticBlendError: the PNG is unreadable, not of ``size`` (height, width), or disagrees with the JSON; the
                ``remedy`` is that for a segment without pixels.
        """
        png = maps.path / self.png
        runs = decode_segment_runs(maps.read(self.png), png, size)
        panoptic = PanopticMap.from_runs(runs, self.segments).measure()
        where = f"{source.name}: image {self.image_id}: segment"
        missing = [segment.id for segment in panoptic.segments if segment.area == 0]
        num_pixels = int(runs.lengths[runs.values != 0].sum())
        has_strays = sum(segment.area for segment in panoptic.segments if segment.id) < num_pixels
        if (missing or has_strays) and self._has_swapped_channels(runs.values):
            raise PanopticBlendError(
                f"{png}: red and blue are swapped, cv2.imwrite takes blue first; write the ids as R + 256 G + 256^2 B"
            )
        if missing:
            raise PanopticBlendError(f"{where} {missing[0]} is in the JSON but not in {png}; {remedy}")
        if has_strays:
            strays = np.setdiff1d(runs.values, [0, *(segment.id for segment in self.segments)])
            raise PanopticBlendError(f"{where} {strays[0]} is in {png} but not in the JSON; add it to the JSON")
        return panoptic

    def _has_swapped_channels(self, ids: npt.NDArray[np.integer]) -> bool:
        """Whether the ids are those of the JSON if the channels are reversed."""
        found = np.setdiff1d(ids, 0)
        return set((found & 0xFF00 | found >> 16 | (found & 255) << 16).tolist()) == {s.id for s in self.segments}


@dataclass(frozen=True)
class Image:
    """One image of a data set, with its annotation."""

    id: ImageId
    file_name: str
    size: Size
    """Height, width."""
    annotation: Annotation


class _PackedAnnotation(NamedTuple):
    """An annotation whose segments are the ``rows`` of a `SegmentColumns`."""

    image_id: ImageId
    png: str
    rows: range


class Annotations(LazySequence[Annotation]):
    """Annotations stored in columns, in the order of the file or of its images; all categories are in ``known``."""

    def __init__(self, packed: Sequence[_PackedAnnotation], segments: SegmentColumns, known: Categories) -> None:
        self.image_ids = id_column([p.image_id for p in packed])
        self.pngs = StringColumn(p.png for p in packed)
        self._starts = integer_column([p.rows.start for p in packed])
        self._stops = integer_column([p.rows.stop for p in packed])
        self._segments, self._known = segments, known

    def __len__(self) -> int:
        return len(self.image_ids)

    def areas(self, index: int) -> list[float]:
        """The ``area`` fields of the segments of one annotation, NaN where missing."""
        assert self._segments.areas is not None, "read with areas=True"
        return self._segments.areas[self._starts[index] : self._stops[index]].tolist()

    def thing_counts(self) -> list[int]:
        """The number of things, without crowds, in each annotation."""
        before = [0, *accumulate(self._segments.are_things(self._known.thing_ids))]
        return [before[stop] - before[start] for start, stop in zip(self._starts, self._stops, strict=True)]

    def class_counts(self) -> npt.NDArray[np.int32]:
        """The number of segments, without crowds, of each category in each annotation (images, categories)."""
        return self._segments.count_classes(self._starts, self._stops, self._known.places)

    def item(self, index: int) -> Annotation:
        own = self._starts[index], self._stops[index]
        segments = [
            Segment(segment_id, category_id, self._known.by_id[category_id].is_thing, score, 0, None, is_crowd)
            for (segment_id, category_id, is_crowd), score in zip(
                self._segments.rows(*own), self._segments.scores(*own), strict=True
            )
        ]
        return Annotation(self.image_ids[index], self.pngs[index], segments)


class Images(LazySequence[Image]):
    """Images stored in columns, in the order of the file; ``annotations`` are in the same order."""

    def __init__(self, records: ImageRecords, annotations: Annotations) -> None:
        self.ids, self.file_names = id_column(records.ids), StringColumn(records.file_names)
        self.sizes, self.annotations = SizeColumn(records.sizes), annotations

    def __len__(self) -> int:
        return len(self.ids)

    def item(self, index: int) -> Image:
        return Image(self.ids[index], self.file_names[index], self.sizes[index], self.annotations[index])


@dataclass(frozen=True)
class PanopticJson:
    """A validated annotation file: ``images`` in the order of the file, ``categories`` in the order of their ids."""

    path: Path
    categories: Categories
    images: Images


def read_panoptic_json(
    path: Path, *, areas: bool = False, pictures: bool = True, results: bool = False
) -> PanopticJson:
    """Read and validate the annotation file of a COCO panoptic data set.

    Args:
        areas: keep the ``area`` fields of the segments.
        pictures: require usable names of pictures; else a name may be missing, and is empty then.
        results: the file may be of predictions, in which 0 is a segment if it has a record.

    Raises:
        PanopticBlendError: the file is not COCO panoptic JSON or has no images, an id is used twice, a category is
            unknown, or an image or annotation has no counterpart.
    """
    segments = SegmentColumns(areas=areas, results=results)
    content = read_json(path, segments.pack)
    if isinstance(content, dict) and "annotations" in content and not {"images", "categories"} <= content.keys():
        raise PanopticBlendError(
            f"{path.name}: has `annotations` without `images` or `categories`, as results have; give the JSON of the "
            "data set, which is the first file of `pq` and `report`, and --truth of `draw` and `data export`"
        )
    images, records = (require_records(content, key, path.name, KIND) for key in ("images", "categories"))
    try:
        categories = Categories(records)
    except PanopticBlendError as error:
        raise PanopticBlendError(f"{path.name}: {error}") from None
    annotations = _by_image(_pack_annotations(content, segments, path, categories), path)
    read = read_images(images, path, pictures=pictures)
    for image_id in read.ids:
        if image_id not in annotations:
            raise PanopticBlendError(
                f"{path.name}: image {image_id} has no annotation; annotate it or remove it from `images`"
            )
    if strays := annotations.keys() - set(read.ids):
        raise PanopticBlendError(
            f"{path.name}: an annotation is of image {min(strays, key=str)}, which `images` lacks; add it there"
        )
    paired = Annotations([annotations[image_id] for image_id in read.ids], segments, categories)
    return PanopticJson(path, categories, Images(read, paired))


def read_annotations(path: Path, categories: Categories, owner: Path | None = None) -> Annotations:
    """Read and validate the ``annotations`` of a COCO panoptic JSON, of a data set or of results.

    ``categories`` are those of the file ``owner``, by default of this one; with an owner, these are results, in which 0
    is a segment if it has a record.

    Raises:
        PanopticBlendError: the file is not COCO panoptic JSON, or a category is not among ``categories``.
    """
    segments = SegmentColumns(results=owner is not None)
    packed = _pack_annotations(read_json(path, segments.pack), segments, path, categories, owner)
    return Annotations(packed, segments, categories)


def check_annotations(
    records: Iterable[dict[str, Any]],
    path: Path,
    categories: Categories,
    *,
    areas: bool = False,
    results: bool = False,
) -> Annotations:
    """Validate parsed ``annotations`` from the file ``path``, as `read_annotations` does.

    ``areas`` and ``results`` are as for `read_panoptic_json`.
    """
    segments = SegmentColumns(areas=areas, results=results)
    packed = [segments.pack(dict(record)) for record in records]
    return Annotations(_pack_annotations({"annotations": packed}, segments, path, categories), segments, categories)


def _pack_annotations(
    content: Any, segments: SegmentColumns, path: Path, categories: Categories, owner: Path | None = None
) -> list[_PackedAnnotation]:
    """The annotations of a JSON that was parsed with `SegmentColumns.pack`."""
    packed: list[tuple[ImageId, range]] = []
    wheres = []
    records = require_records(content, "annotations", path.name, KIND)
    for i, record in enumerate(records):
        where, rows = f"{path.name}: annotations[{i}]", record.get("segments_info")
        if not isinstance(rows, range | InvalidSegments):
            raise not_records("segments_info", where, KIND)
        image_id = require_image_id(record, "image_id", where)
        where = f"{path.name}: image {image_id}"
        if isinstance(rows, InvalidSegments):
            raise PanopticBlendError(f"{where}: {rows.message}")
        for segment_id, category_id, _ in segments.rows(rows.start, rows.stop):
            if category_id not in categories.by_id:
                known, remedy = "`categories`", "add it"
                if owner:
                    known, remedy = f"the `categories` of {owner.name}", "predict the classes of that file"
                raise PanopticBlendError(
                    f"{where}: segment {segment_id} has category {category_id}, which is not in {known} "
                    f"({categories[0].id} to {categories[-1].id}); {remedy}"
                )
        packed.append((image_id, rows))
        wheres.append(where)
    pngs = [_png_name(name) for name in require_file_names(records, wheres)]
    return [_PackedAnnotation(image_id, png, rows) for (image_id, rows), png in zip(packed, pngs, strict=True)]


def _png_name(name: str) -> str:
    """The name of a map, which cannot be a JPEG: mmdetection's JSON of ADE20K has the name of the photo instead."""
    path = PurePosixPath(name)
    return str(path.with_suffix(".png")) if path.suffix.lower() in {".jpg", ".jpeg"} else name


def _by_image(annotations: Iterable[_PackedAnnotation], path: Path) -> dict[ImageId, _PackedAnnotation]:
    result: dict[ImageId, _PackedAnnotation] = {}
    for annotation in annotations:
        if annotation.image_id in result:
            raise PanopticBlendError(f"{path.name}: image {annotation.image_id} has two annotations; keep one")
        result[annotation.image_id] = annotation
    return result
