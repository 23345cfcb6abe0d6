"""The panoptic files that Cityscapes' own scripts make, as COCO panoptic.

They are almost that: the ids in the PNGs and the categories are what COCO's are. What differs is that image ids are
names, that pictures lie in a folder for each city and the JSON says their names without it, and with ``_gtFine`` in
them. Here images are numbered in the order of the JSON, from 1, and PNGs called as their pictures. Segments are
numbered anew; their pixels, categories (train ids or label ids, whichever the JSON has) and crowds stay.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from panoptic_blend.convert.painting import LabeledRegion, Labels
from panoptic_blend.convert.records import size_of
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.files import inside, read_json, require_file
from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_panoptic import Annotation, check_annotations
from panoptic_blend.formats.images import read_picture
from panoptic_blend.formats.json_fields import require_records, require_text
from panoptic_blend.structures import Cutout, PanopticBlendError

KIND = "the panoptic JSON of Cityscapes"
PICTURE = "_leftImg8bit"


def read_cityscapes(path: Path, pictures: Path, maps: Path | None = None) -> LabeledSource:
    """What ``cityscapes_panoptic_{split}.json`` labels in the folder ``pictures``, of one split or of all.

    Args:
        maps: the folder of its PNGs; by default beside the JSON, under its name.

    Raises:
        PanopticBlendError: the JSON is another one, or files are missing.
    """
    content, folder = read_json(path), maps or path.with_suffix("")
    images, annotations, listed = (
        require_records(content, key, path.name, KIND) for key in ("images", "annotations", "categories")
    )
    for place, option in ((pictures, "--pictures"), (folder, "--maps")):
        if not place.is_dir():
            raise PanopticBlendError(f"{place}: no such folder; say with {option} where it is")
    try:
        categories = Categories(listed)
    except PanopticBlendError as error:
        raise PanopticBlendError(f"{path.name}: {error}") from None
    sizes = _sizes(images, path)
    numbers = {name: number for number, name in enumerate(sizes, start=1)}
    drawn = _annotations(annotations, numbers, path, categories)
    found = _pictures(pictures)
    items = []
    for name, size in sizes.items():
        if name not in found:
            raise PanopticBlendError(f"{path.name}: image {name}: no {name}{PICTURE}.* below {pictures}; add it")
        if name not in drawn:
            raise PanopticBlendError(f"{path.name}: image {name} has no annotation; add it or take the image out")
        picture = found[name]
        require_file(inside(folder, drawn[name].png), f"{path.name} names it, so add it or check --maps")
        read = partial(_labels, picture, size, drawn[name], path, Folder(folder), categories)
        items.append(Item(numbers[name], picture.relative_to(pictures).as_posix(), picture, read))
    if not items:
        raise PanopticBlendError(f"{path.name}: `images` is empty; there is nothing to convert")
    return LabeledSource(path, [pictures, folder], categories, items)


def _sizes(images: list[dict[str, Any]], path: Path) -> dict[str, tuple[int, int]]:
    """Image id -> size, in the order of the file."""
    sizes: dict[str, tuple[int, int]] = {}
    for i, image in enumerate(images):
        name = require_text(image, "id", f"{path.name}: images[{i}]")
        if name in sizes:
            raise PanopticBlendError(f"{path.name}: image {name} is listed twice; keep one")
        sizes[name] = size_of(image, ("height", "width"), f"{path.name}: image {name}")
    return sizes


def _annotations(
    annotations: list[dict[str, Any]], numbers: Mapping[str, int], path: Path, categories: Categories
) -> dict[str, Annotation]:
    """Image id -> annotation, checked as any of COCO panoptic once the ids are numbers."""
    names = [require_text(record, "image_id", f"{path.name}: annotations[{i}]") for i, record in enumerate(annotations)]
    for name, count in Counter(names).items():
        if name not in numbers:
            raise PanopticBlendError(f"{path.name}: an annotation is of image {name}, which `images` lacks; add it")
        if count > 1:
            raise PanopticBlendError(f"{path.name}: image {name} has {count} annotations; keep one")
    numbered = [{**record, "image_id": numbers[name]} for record, name in zip(annotations, names, strict=True)]
    return dict(zip(names, check_annotations(numbered, path, categories), strict=True))


def _pictures(folder: Path) -> dict[str, Path]:
    """Image id -> picture, in whatever city's folder."""
    return {path.stem.removesuffix(PICTURE): path for path in sorted(folder.rglob(f"*{PICTURE}.*"))}


def _labels(
    picture: Path, size: tuple[int, int], annotation: Annotation, source: Path, maps: Folder, categories: Categories
) -> Labels:
    read_picture(picture, size)  # that it is one, and of this size
    panoptic = annotation.read(source, maps, size)
    regions = []
    for segment in panoptic.segments:
        assert segment.box is not None  # a segment without pixels is refused above
        left, top, right, bottom = segment.box
        mask = panoptic.segment_ids[top:bottom, left:right] == np.int32(segment.id)
        regions.append(LabeledRegion(categories.by_id[segment.category], Cutout(mask, top, left), segment.is_crowd))
    return Labels(size, regions)
