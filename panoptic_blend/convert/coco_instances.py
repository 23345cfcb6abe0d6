"""Convert a COCO instances JSON, with or without stuff PNGs, to COCO panoptic."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from panoptic_blend.convert.coco_masks import cutout_of
from panoptic_blend.convert.painting import LabeledRegion, Labels
from panoptic_blend.convert.records import size_of
from panoptic_blend.convert.stuff_maps import StuffMaps, read_stuff
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.files import inside, read_json, require_file
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import read_picture
from panoptic_blend.formats.json_fields import require_file_name, require_integer, require_records
from panoptic_blend.structures import PanopticBlendError


@dataclass(frozen=True)
class Stuff:
    """A folder of gray PNGs, the JSON that names their values, and the value that means void."""

    maps: Path
    classes: Path
    ignore: int = 255


def read_coco_instances(path: Path, pictures: Path, stuff_names: Collection[str], stuff: Stuff | None) -> LabeledSource:
    """Read a COCO instances JSON whose pictures are in the folder ``pictures``.

    Categories are things, except those in ``stuff_names`` and those with ``isthing: 0``; they keep their ids.

    Raises:
        PanopticBlendError: the JSON is not COCO instances, an id has no record, or files are missing.
    """
    content = read_json(path)
    if not pictures.is_dir():
        raise PanopticBlendError(f"{pictures}: no such folder of pictures; check --pictures")
    images, annotations, listed = (
        require_records(content, key, path.name, "a COCO instances JSON")
        for key in ("images", "annotations", "categories")
    )
    categories = _categories(listed, stuff_names, path)
    maps = None
    if stuff:
        maps, categories = read_stuff(stuff.maps, stuff.classes, stuff.ignore, categories)
    annotations_of = _by_image(annotations, images, path)
    items = []
    for i, image in enumerate(images):
        image_id = require_integer(image, "id", f"{path.name}: images[{i}]")
        where = f"{path.name}: image {image_id}"
        name, size = require_file_name(image, where), size_of(image, ("height", "width"), where)
        picture = inside(pictures, name)
        require_file(picture, f"{where} names it, so add it or remove the image")
        read = partial(_labels, picture, name, size, annotations_of[image_id], categories, maps, path.name)
        items.append(Item(image_id, name, picture, read))
    if not items:
        raise PanopticBlendError(f"{path.name}: `images` is empty; there is nothing to convert")
    return LabeledSource(path, [pictures, *([stuff.maps] if stuff else [])], categories, items)


def _categories(listed: Sequence[Mapping[str, Any]], stuff_names: Collection[str], path: Path) -> Categories:
    names = [str(record.get("name")) for record in listed]
    for name in stuff_names:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1)
            hint = f"did you mean {close[0]}?" if close else f"choose from {', '.join(names[:20])}"
            raise PanopticBlendError(f"{path.name}: --stuff {name}: no category has this name; {hint}")
    try:
        return Categories(
            {**record, "isthing": 0 if record.get("name") in stuff_names else record.get("isthing", 1)}
            for record in listed
        )
    except PanopticBlendError as error:
        raise PanopticBlendError(f"{path.name}: {error}") from None


def _by_image(
    annotations: Sequence[dict[str, Any]], images: Sequence[Mapping[str, Any]], path: Path
) -> dict[int, list[dict[str, Any]]]:
    """Image id -> its annotations, in the order of the file."""
    result: dict[int, list[dict[str, Any]]] = {
        require_integer(image, "id", f"{path.name}: images[{i}]"): [] for i, image in enumerate(images)
    }
    for i, annotation in enumerate(annotations):
        image_id = require_integer(annotation, "image_id", f"{path.name}: annotations[{i}]")
        if image_id not in result:
            raise PanopticBlendError(
                f"{path.name}: annotations[{i}] is for image {image_id}, which `images` lacks; add it there"
            )
        result[image_id].append(annotation)
    return result


def _labels(
    picture: Path,
    name: str,
    size: tuple[int, int],
    annotations: Sequence[Mapping[str, Any]],
    categories: Categories,
    maps: StuffMaps | None,
    source: str,
) -> Labels:
    read_picture(picture, size)  # raises if it cannot be decoded or has another size
    regions = maps.regions(name, size) if maps else []
    for i, annotation in enumerate(annotations):
        where = f"{source}: annotation {annotation.get('id', i)} of {name}"
        category_id = require_integer(annotation, "category_id", where)
        if category_id not in categories.by_id:
            raise PanopticBlendError(f"{where}: category {category_id}, which `categories` lacks; add it there")
        crowd = annotation.get("iscrowd", 0)
        if crowd not in (0, 1):
            raise PanopticBlendError(f"{where}: `iscrowd` is {crowd!r}, not 0 or 1; correct it")
        cutout = cutout_of(annotation.get("segmentation"), size, where)
        regions.append(LabeledRegion(categories.by_id[category_id], cutout, bool(crowd)))
    return Labels(size, regions)
