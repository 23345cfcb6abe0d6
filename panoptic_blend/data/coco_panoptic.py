"""COCO panoptic JSON + PNG: reading with checks.

Kirillov et al., Panoptic Segmentation, CVPR 2019; the format is that of the COCO 2018 panoptic task.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from panoptic_blend.data.categories import Categories
from panoptic_blend.data.images import read_segment_ids
from panoptic_blend.files import inside, read_json
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Segment, is_integer

MAX_SEGMENT_ID = 2**24 - 1


@dataclass(frozen=True)
class Annotation:
    """The segments of one image, with areas and boxes still unknown, and the PNG that holds them."""

    image_id: int
    png: str
    segments: list[Segment]

    def read(self, source: Path, folder: Path, size: tuple[int, int] | None = None) -> PanopticMap:
        """Read the PNG, check it against the JSON ``source``, and measure the segments.

        Raises:
            PanopticBlendError: the PNG is unreadable, not of ``size``, or disagrees with the JSON.
        """
        ids = read_segment_ids(inside(folder, self.png), size)
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


@dataclass(frozen=True)
class PanopticJson:
    """A checked annotation file: ``images`` in the order of the file, ``categories`` in the order of ids."""

    path: Path
    categories: Categories
    images: list[Image]


def read_panoptic_json(path: Path) -> PanopticJson:
    """Read and check the annotation file of a COCO panoptic data set.

    Raises:
        PanopticBlendError: not COCO panoptic, empty, ids used twice, unknown categories, or images and
            annotations that do not pair up.
    """
    content = read_json(path)
    images, records = (_records(content, key, path.name) for key in ("images", "categories"))
    try:
        categories = Categories(records)
    except PanopticBlendError as error:
        raise PanopticBlendError(f"{path.name}: {error}") from None
    annotations = _by_image(read_annotations(content, path, categories), path)
    if not images:
        raise PanopticBlendError(f"{path.name}: `images` is empty; a data set needs at least one")
    result: list[Image] = []
    seen: set[int] = set()
    for i, record in enumerate(images):
        image_id = _integer(record, "id", f"{path.name}: images[{i}]")
        where = f"{path.name}: image {image_id}"
        if image_id in seen:
            raise PanopticBlendError(f"{where} is listed twice; image ids are unique")
        if image_id not in annotations:
            raise PanopticBlendError(f"{where} has no annotation; annotate it or remove it from `images`")
        size = _integer(record, "height", where), _integer(record, "width", where)
        result.append(Image(image_id, _file_name(record, where), size, annotations[image_id]))
        seen.add(image_id)
    strays = annotations.keys() - seen
    if strays:
        raise PanopticBlendError(f"{path.name}: annotation of image {min(strays)}, which `images` lacks; add it there")
    return PanopticJson(path, categories, result)


def read_annotations(content: Any, path: Path, categories: Categories) -> list[Annotation]:
    """The ``annotations`` of a parsed COCO panoptic JSON, of a data set or of results."""
    records = _records(content, "annotations", path.name)
    return [_annotation(record, f"{path.name}: annotations[{i}]", path, categories) for i, record in enumerate(records)]


def _annotation(record: Mapping[str, Any], place: str, path: Path, categories: Categories) -> Annotation:
    infos = _records(record, "segments_info", place)
    image_id = _integer(record, "image_id", place)
    where = f"{path.name}: image {image_id}"
    segments: dict[int, Segment] = {}
    for i, info in enumerate(infos):
        segment_id = _integer(info, "id", f"{where}: segments_info[{i}]")
        category_id = _integer(info, "category_id", f"{where}: segment {segment_id}")
        if segment_id in segments:
            raise PanopticBlendError(f"{where}: segment {segment_id} is listed twice; ids are unique in an image")
        if not 0 < segment_id <= MAX_SEGMENT_ID:
            raise PanopticBlendError(f"{where}: segment id {segment_id}; ids are 1 to {MAX_SEGMENT_ID}, 0 is void")
        if category_id not in categories.by_id:
            known = f"{categories[0].id} to {categories[-1].id}"
            raise PanopticBlendError(
                f"{where}: segment {segment_id} has category {category_id}, which `categories` ({known}) lacks; add it"
            )
        crowd, is_thing = info.get("iscrowd", 0), categories.by_id[category_id].is_thing
        if crowd not in (0, 1):
            raise PanopticBlendError(f"{where}: segment {segment_id}: `iscrowd` is {crowd!r}, not 0 or 1; correct it")
        segments[segment_id] = Segment(segment_id, category_id, is_thing, None, 0, None, bool(crowd))
    return Annotation(image_id, _file_name(record, where), list(segments.values()))


def _by_image(annotations: Iterable[Annotation], path: Path) -> dict[int, Annotation]:
    result: dict[int, Annotation] = {}
    for annotation in annotations:
        if annotation.image_id in result:
            raise PanopticBlendError(f"{path.name}: image {annotation.image_id} has two annotations; keep one")
        result[annotation.image_id] = annotation
    return result


def _records(content: Any, key: str, where: str) -> list[dict[str, Any]]:
    value = content.get(key) if isinstance(content, dict) else None
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise PanopticBlendError(f"{where}: no list of records `{key}`; this is not COCO panoptic JSON")
    return value


def _integer(record: Mapping[str, Any], key: str, where: str) -> int:
    value = record.get(key)
    if not is_integer(value):
        raise PanopticBlendError(f"{where}: `{key}` is {value!r}, not a whole number; correct it")
    return value


def _file_name(record: Mapping[str, Any], where: str) -> str:
    value = record.get("file_name")
    if not isinstance(value, str):
        raise PanopticBlendError(f"{where}: `file_name` is {value!r}, not a file name; correct it")
    try:
        inside(Path(), value)
    except PanopticBlendError as error:
        raise PanopticBlendError(f"{where}: {error}") from None
    return value
