"""Convert the panoptic files that Cityscapes' own scripts write to COCO panoptic.

Segment ids in the PNGs and categories are already in COCO's format. Three details differ: image ids are names; the
pictures lie in one folder per city, which the JSON leaves out; and the file names in the JSON contain ``_gtFine``. The
converted images are numbered from 1 in the order of the JSON, and each PNG is named after its picture. Segments get new
ids; their pixels, categories (train ids or label ids, as in the JSON) and crowd flags stay.
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
from panoptic_blend.files import inside, require_file
from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_panoptic import Annotation, check_annotations
from panoptic_blend.formats.images import read_picture
from panoptic_blend.formats.json_fields import require_records, require_text
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.listing import list_files
from panoptic_blend.structures import Cutout, PanopticBlendError

KIND = "the panoptic JSON of Cityscapes"
PICTURES, PICTURE = "leftImg8bit", "_leftImg8bit"
"""The folder of the pictures, and how the name of each ends."""


def read_cityscapes(path: Path, pictures: Path | None = None, maps: Path | None = None) -> LabeledSource:
    """Read ``cityscapes_panoptic_{split}.json`` and find its pictures.

    Args:
        pictures: the folder ``leftImg8bit``, or the folder of the split in it; by default the first, where Cityscapes
            has it.
        maps: the folder of PNGs; by default the one beside the JSON that has the same name.

    Raises:
        PanopticBlendError: the JSON has another format, or files are missing.
    """
    content, folder = read_json(path), maps or path.with_suffix("")
    pictures = pictures or path.absolute().parent.parent / PICTURES
    images, annotations, listed = (
        require_records(content, key, path.name, KIND) for key in ("images", "annotations", "categories")
    )
    for required, option in ((pictures, "--pictures"), (folder, "--maps")):
        if not required.is_dir():
            raise PanopticBlendError(f"{required}: no such folder; give its path with {option}")
    try:
        categories = Categories(listed)
    except PanopticBlendError as error:
        raise PanopticBlendError(f"{path.name}: {error}") from None
    sizes = _sizes(images, path)
    numbers = {name: number for number, name in enumerate(sizes, start=1)}
    annotation_of = _annotations(annotations, numbers, path, categories)
    picture_of = pictures_of(pictures)
    items = []
    for name, size in sizes.items():
        if name not in picture_of:
            raise PanopticBlendError(f"{path.name}: image {name}: no {name}{PICTURE}.* below {pictures}; add it")
        if name not in annotation_of:
            raise PanopticBlendError(f"{path.name}: image {name} has no annotation; add one, or remove the image")
        picture, annotation = picture_of[name], annotation_of[name]
        require_file(inside(folder, annotation.png), f"{path.name} names it, so add it or check --maps")
        read = partial(_labels, picture, size, annotation, path, Folder(folder), categories)
        items.append(Item(numbers[name], picture.relative_to(pictures).as_posix(), picture, read))
    if not items:
        raise PanopticBlendError(f"{path.name}: `images` is empty; there is nothing to convert")
    return LabeledSource(path, [pictures, folder], categories, items)


def _sizes(images: list[dict[str, Any]], path: Path) -> dict[str, tuple[int, int]]:
    """Image id -> size (height, width), in the order of the file."""
    sizes: dict[str, tuple[int, int]] = {}
    for i, image in enumerate(images):
        name = require_text(image, "id", f"{path.name}: images[{i}]")
        if name in sizes:
            raise PanopticBlendError(f"{path.name}: image {name} is listed twice; keep one record")
        sizes[name] = size_of(image, ("height", "width"), f"{path.name}: image {name}")
    return sizes


def _annotations(
    annotations: list[dict[str, Any]], numbers: Mapping[str, int], path: Path, categories: Categories
) -> dict[str, Annotation]:
    """Image id -> annotation, checked like COCO panoptic after the ids are replaced by numbers."""
    names = [require_text(record, "image_id", f"{path.name}: annotations[{i}]") for i, record in enumerate(annotations)]
    for name, count in Counter(names).items():
        if name not in numbers:
            raise PanopticBlendError(f"{path.name}: an annotation is for image {name}, which `images` lacks; add it")
        if count > 1:
            raise PanopticBlendError(f"{path.name}: image {name} has {count} annotations; keep one")
    numbered = [{**record, "image_id": numbers[name]} for record, name in zip(annotations, names, strict=True)]
    return dict(zip(names, check_annotations(numbered, path, categories), strict=True))


def pictures_of(folder: Path) -> dict[str, Path]:
    """Name without its end -> picture, found in any city's folder."""
    paths = list_files(folder, recursive=True).paths
    return {path.stem.removesuffix(PICTURE): path for path in paths if path.stem.endswith(PICTURE)}


def _labels(
    picture: Path, size: tuple[int, int], annotation: Annotation, source: Path, maps: Folder, categories: Categories
) -> Labels:
    read_picture(picture, size)  # raises if it cannot be decoded or has another size
    panoptic = annotation.read(source, maps, size)
    regions = []
    for segment in panoptic.segments:
        assert segment.box is not None  # `read` refuses a segment without pixels
        left, top, right, bottom = segment.box
        mask = panoptic.segment_ids[top:bottom, left:right] == np.int32(segment.id)
        regions.append(LabeledRegion(categories.by_id[segment.category], Cutout(mask, top, left), segment.is_crowd))
    return Labels(size, regions)
