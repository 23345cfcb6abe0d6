"""Convert a COCO instances JSON, with or without stuff PNGs, to COCO panoptic."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from panoptic_blend.convert.coco_annotations import (
    DEFAULT_RULES,
    DrawnOn,
    Instance,
    Malformed,
    Rules,
    read_instances,
    region_of,
)
from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.orientation import STORED_SIZE, upright_size
from panoptic_blend.convert.painting import Labels
from panoptic_blend.convert.picture_folder import PictureFolder
from panoptic_blend.convert.records import size_of
from panoptic_blend.convert.stuff_maps import StuffMaps, read_stuff
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_images import not_listed
from panoptic_blend.formats.json_fields import require_image_id, require_records, require_text
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.formats.name_lists import suggestion
from panoptic_blend.structures import ImageId, PanopticBlendError, Size


@dataclass(frozen=True)
class Stuff:
    """A folder of gray PNGs, the JSON that names their values, and the value that means void, by default 255."""

    maps: Path
    classes: Path
    ignore: int | None = None


def read_coco_instances(
    path: Path,
    pictures: Path,
    stuff_names: Collection[str],
    stuff: Stuff | None,
    rules: Rules = DEFAULT_RULES,
) -> LabeledSource:
    """Read a COCO instances JSON whose pictures are in the folder ``pictures``.

    Categories are things, except those in ``stuff_names`` and those with ``isthing: 0``; they keep their ids.

    Raises:
        PanopticBlendError: the JSON is not COCO instances, an id has no record, a shape is malformed, or files are
            missing.
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
    folder, notes, malformed, items = PictureFolder(pictures), Notes(), Malformed(path.name, pictures), []
    for i, image in enumerate(images):
        image_id = require_image_id(image, "id", f"{path.name}: images[{i}]")
        where = f"{path.name}: image {image_id}"
        name, size = require_text(image, "file_name", where), size_of(image, ("height", "width"), where)
        found = folder.find(name)
        if found is None:
            raise PanopticBlendError(f"{where}: {pictures / name}: no such file; add it or remove the image")
        if found != name:
            notes.add("pictures were found under another name than that in the JSON", f"{name} as {found}")
        instances = list(read_instances(annotations_of[image_id], found, size, categories, path.name, rules, malformed))
        read = partial(_labels, pictures / found, found, size, instances, maps, rules)
        items.append(Item(image_id, found, pictures / found, read))
    if not items:
        raise PanopticBlendError(f"{path.name}: `images` is empty; there is nothing to convert")
    malformed.settle(rules.skip_malformed, notes)
    return LabeledSource(path, [pictures, *([stuff.maps] if stuff else [])], categories, items, notes)


def _categories(listed: Sequence[Mapping[str, Any]], stuff_names: Collection[str], path: Path) -> Categories:
    names = [str(record.get("name")) for record in listed]
    for name in stuff_names:
        if name not in names:
            raise PanopticBlendError(
                f"{path.name}: --stuff {name}: no category has this name; {suggestion(name, names)}"
            )
    try:
        return Categories(
            {**record, "isthing": 0 if record.get("name") in stuff_names else record.get("isthing", 1)}
            for record in listed
        )
    except PanopticBlendError as error:
        raise PanopticBlendError(f"{path.name}: {error}") from None


def _by_image(
    annotations: Sequence[dict[str, Any]], images: Sequence[Mapping[str, Any]], path: Path
) -> dict[ImageId, list[dict[str, Any]]]:
    """Image id -> its annotations, in the order of the file."""
    result: dict[ImageId, list[dict[str, Any]]] = {}
    for i, image in enumerate(images):
        image_id = require_image_id(image, "id", f"{path.name}: images[{i}]")
        if image_id in result:
            raise PanopticBlendError(f"{path.name}: image {image_id} is listed twice; image ids are unique")
        result[image_id] = []
    for i, annotation in enumerate(annotations):
        image_id = require_image_id(annotation, "image_id", f"{path.name}: annotations[{i}]")
        if image_id not in result:
            raise not_listed(image_id, result, f"{path.name}: annotations[{i}]")
        result[image_id].append(annotation)
    return result


def _labels(
    picture: Path, name: str, annotated: Size, instances: Sequence[Instance], maps: StuffMaps | None, rules: Rules
) -> Labels:
    notes = Notes()
    size = _size_drawn_on(picture, name, annotated, rules.drawn_on, notes)
    regions = maps.regions(name, size) if maps else []
    regions += [region_of(instance, size, rules, notes) for instance in instances]
    return Labels(size, regions, notes)


def _size_drawn_on(picture: Path, name: str, annotated: Size, drawn_on: DrawnOn, notes: Notes) -> Size:
    """The size (height, width) of the picture on which shapes were drawn; raises if the picture has another size."""
    upright = upright_size(picture, annotated)
    if upright == annotated:
        return annotated
    remedy = "; for the upright one, add --drawn-on upright" if drawn_on == "stored" else ""
    notes.add(f"{STORED_SIZE} the {drawn_on} picture{remedy}", name)
    return annotated if drawn_on == "stored" else upright
