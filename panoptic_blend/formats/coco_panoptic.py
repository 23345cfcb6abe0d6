"""COCO panoptic JSON + PNG: reading with checks.

Kirillov et al., Panoptic Segmentation, CVPR 2019; the format is that of the COCO 2018 panoptic task.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from panoptic_blend.files import read_json
from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.columns import Flaw, Records, SegmentColumns, Texts, integers
from panoptic_blend.formats.images import decode_segment_ids
from panoptic_blend.formats.json_fields import not_records, require_file_name, require_integer, require_records
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Segment

KIND = "COCO panoptic JSON"


@dataclass(frozen=True)
class Annotation:
    """The segments of one image, with areas and boxes still unknown, and the PNG that holds them."""

    image_id: int
    png: str
    segments: list[Segment]

    def read(self, source: Path, maps: Folder, size: tuple[int, int] | None = None) -> PanopticMap:
        """Read the PNG from ``maps``, check it against the JSON ``source``, and measure the segments.

        Raises:
            PanopticBlendError: the PNG is unreadable, not of ``size``, or disagrees with the JSON.
        """
        ids = decode_segment_ids(maps.read(self.png), maps.path / self.png, size)
        panoptic = PanopticMap.measured(ids, self.segments)
        where = f"{source.name}: image {self.image_id}: segment"
        for segment in panoptic.segments:
            if segment.area == 0:
                raise PanopticBlendError(f"{where} {segment.id} is in the JSON and not in {self.png}; remove it there")
        if sum(segment.area for segment in panoptic.segments) < np.count_nonzero(ids):
            strays = np.unique(ids[(panoptic.index() == 0) & (ids != 0)])
            raise PanopticBlendError(f"{where} {strays[0]} is in {self.png} and not in the JSON; add it there")
        return panoptic


@dataclass(frozen=True)
class Image:
    """One picture of a data set, with its annotation."""

    id: int
    file_name: str
    size: tuple[int, int]
    """Height, width."""
    annotation: Annotation


class _Packed(NamedTuple):
    """What is kept of one annotation: ``rows`` are those of its segments."""

    image_id: int
    png: str
    rows: range


class Annotations(Records[Annotation]):
    """Annotations in columns, in the order of their file or of its images; ``known`` has all their categories."""

    def __init__(self, packed: Sequence[_Packed], segments: SegmentColumns, known: Categories) -> None:
        self.image_ids, self.pngs = integers([p.image_id for p in packed]), Texts([p.png for p in packed])
        self._starts, self._stops = integers([p.rows.start for p in packed]), integers([p.rows.stop for p in packed])
        self._segments, self._known = segments, known

    def __len__(self) -> int:
        return len(self.image_ids)

    def areas(self, index: int) -> list[float]:
        """The areas that the file states for the segments of one annotation, NaN where it does not."""
        assert self._segments.areas is not None, "read with areas=True"
        return self._segments.areas[self._starts[index] : self._stops[index]].tolist()

    def record(self, index: int) -> Annotation:
        segments = [
            Segment(segment_id, category_id, self._known.by_id[category_id].is_thing, None, 0, None, is_crowd)
            for segment_id, category_id, is_crowd in self._segments.rows(self._starts[index], self._stops[index])
        ]
        return Annotation(self.image_ids[index], self.pngs[index], segments)


class Images(Records[Image]):
    """Pictures in columns, in the order of their file; ``annotations`` are in the same order."""

    def __init__(
        self, ids: list[int], file_names: Sequence[str], sizes: Sequence[tuple[int, int]], annotations: Annotations
    ) -> None:
        self.ids, self.file_names, self.annotations = integers(ids), Texts(file_names), annotations
        self._heights, self._widths = (integers([size[side] for size in sizes]) for side in (0, 1))

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def sizes(self) -> list[tuple[int, int]]:
        """Height and width of every picture."""
        return list(zip(self._heights, self._widths, strict=True))

    def record(self, index: int) -> Image:
        size = self._heights[index], self._widths[index]
        return Image(self.ids[index], self.file_names[index], size, self.annotations[index])


@dataclass(frozen=True)
class PanopticJson:
    """A checked annotation file: ``images`` in the order of the file, ``categories`` in the order of ids."""

    path: Path
    categories: Categories
    images: Images


def read_panoptic_json(path: Path, *, areas: bool = False) -> PanopticJson:
    """Read and check the annotation file of a COCO panoptic data set; ``areas`` keeps those it states.

    Raises:
        PanopticBlendError: not COCO panoptic, empty, ids used twice, unknown categories, or images and
            annotations that do not pair up.
    """
    segments = SegmentColumns(areas=areas)
    content = read_json(path, segments.pack)
    images, records = (require_records(content, key, path.name, KIND) for key in ("images", "categories"))
    try:
        categories = Categories(records)
    except PanopticBlendError as error:
        raise PanopticBlendError(f"{path.name}: {error}") from None
    annotations = _by_image(_packed(content, segments, path, categories), path)
    if not images:
        raise PanopticBlendError(f"{path.name}: `images` is empty; a data set needs at least one")
    result: dict[int, tuple[str, tuple[int, int]]] = {}
    for i, record in enumerate(images):
        image_id = require_integer(record, "id", f"{path.name}: images[{i}]")
        where = f"{path.name}: image {image_id}"
        if image_id in result:
            raise PanopticBlendError(f"{where} is listed twice; image ids are unique")
        if image_id not in annotations:
            raise PanopticBlendError(f"{where} has no annotation; annotate it or remove it from `images`")
        size = require_integer(record, "height", where), require_integer(record, "width", where)
        result[image_id] = require_file_name(record, where), size
    strays = annotations.keys() - result.keys()
    if strays:
        raise PanopticBlendError(f"{path.name}: annotation of image {min(strays)}, which `images` lacks; add it there")
    paired = Annotations([annotations[image_id] for image_id in result], segments, categories)
    file_names, sizes = zip(*result.values(), strict=True)
    return PanopticJson(path, categories, Images(list(result), file_names, sizes, paired))


def read_annotations(path: Path, categories: Categories) -> Annotations:
    """Read and check the ``annotations`` of a COCO panoptic JSON, of a data set or of results.

    Raises:
        PanopticBlendError: not COCO panoptic, or categories that are not among ``categories``.
    """
    segments = SegmentColumns()
    return Annotations(_packed(read_json(path, segments.pack), segments, path, categories), segments, categories)


def check_annotations(records: Iterable[dict[str, Any]], path: Path, categories: Categories) -> Annotations:
    """As `read_annotations`, of ``annotations`` that are parsed already and came from ``path``."""
    segments = SegmentColumns()
    packed = [segments.pack(dict(record)) for record in records]
    return Annotations(_packed({"annotations": packed}, segments, path, categories), segments, categories)


def _packed(content: Any, segments: SegmentColumns, path: Path, categories: Categories) -> list[_Packed]:
    """What `Annotations` are made of, from a JSON whose segments are packed."""
    result = []
    for i, record in enumerate(require_records(content, "annotations", path.name, KIND)):
        place, rows = f"{path.name}: annotations[{i}]", record.get("segments_info")
        if not isinstance(rows, range | Flaw):
            raise not_records("segments_info", place, KIND)
        image_id = require_integer(record, "image_id", place)
        where = f"{path.name}: image {image_id}"
        if isinstance(rows, Flaw):
            raise PanopticBlendError(f"{where}: {rows.message}")
        for segment_id, category_id, _ in segments.rows(rows.start, rows.stop):
            if category_id not in categories.by_id:
                known = f"{categories[0].id} to {categories[-1].id}"
                raise PanopticBlendError(
                    f"{where}: segment {segment_id} has category {category_id}, which `categories` ({known}) lacks; "
                    "add it"
                )
        result.append(_Packed(image_id, require_file_name(record, where), rows))
    return result


def _by_image(annotations: Iterable[_Packed], path: Path) -> dict[int, _Packed]:
    result: dict[int, _Packed] = {}
    for annotation in annotations:
        if annotation.image_id in result:
            raise PanopticBlendError(f"{path.name}: image {annotation.image_id} has two annotations; keep one")
        result[annotation.image_id] = annotation
    return result
