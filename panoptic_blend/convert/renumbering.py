"""Ids of an existing data set for converted pictures and classes, so that both can be compared image by image."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

from panoptic_blend.convert.cityscapes import PICTURE
from panoptic_blend.convert.painting import Labels
from panoptic_blend.convert.writing import LabeledSource
from panoptic_blend.files import printable
from panoptic_blend.formats.coco_panoptic import PanopticJson, read_panoptic_json
from panoptic_blend.formats.names import photo_name
from panoptic_blend.structures import Category, ImageId, PanopticBlendError


def renumbered(source: LabeledSource, path: Path) -> LabeledSource:
    """Give pictures and classes the ids that those of the same names have in the COCO panoptic JSON ``path``.

    A picture is found by its file name, or without its folders if only one has that name. The names that pictures have
    in Cityscapes' layout, also those that ``data export --to cityscapes`` gives them, count as the names without
    ``_gtFine`` and ``_leftImg8bit``. The categories become those of ``path``.

    Raises:
        PanopticBlendError: ``path`` is missing or broken, lacks a picture or class of the source, or has a class as
            stuff that is a thing in the source, or the other way round.
    """
    model = read_panoptic_json(path)
    images = _images(model)
    items = []
    for item in source.items:
        found = next((images[key] for key in _keys(item.name) if key in images), [])
        if len(found) != 1:
            seen = f"{len(found)} pictures" if found else "no picture"
            raise PanopticBlendError(
                f"{source.path}: {printable(item.name)}: {path.name} has {seen} of that name; "
                "convert only the split and the pictures of that file, or leave --like out"
            )
        items.append((item, found[0]))
    classes = _classes(source, model)
    renamed = [replace(item, image_id=id, labels=partial(_relabeled, item.labels, classes)) for item, id in items]
    return replace(source, categories=model.categories, items=renamed)


def _images(model: PanopticJson) -> Mapping[str, list[ImageId]]:
    """The ids of all images by their file names, and by these without folders."""
    found: dict[str, list[ImageId]] = {}
    for image_id, name in zip(model.images.ids, model.images.file_names, strict=True):
        for key in _keys(name):
            found.setdefault(key, []).append(image_id)
    return found


def _keys(name: str) -> list[str]:
    """A name of a picture, what it is without its folders, and as an export for Cityscapes joins these to one name."""
    path = PurePosixPath(photo_name(name))
    path = path.with_name(f"{path.stem.removesuffix(PICTURE)}{path.suffix}")
    return list(dict.fromkeys((str(path), path.name, "_".join(path.parts))))


def _classes(source: LabeledSource, model: PanopticJson) -> Mapping[int, Category]:
    """The class of the model for each category id of the source."""
    known = {category.name: category for category in model.categories}
    for category in source.categories:
        other = known.get(category.name)
        name = printable(category.name)
        if other is None:
            raise PanopticBlendError(
                f"{source.path}: class {name} is not in {model.path.name}; add it to the `categories` there, or leave "
                "--like out"
            )
        if other.is_thing != category.is_thing:
            kind, there = ("a thing", "stuff") if category.is_thing else ("stuff", "a thing")
            raise PanopticBlendError(
                f"{source.path}: class {name} is {kind}, and {there} in {model.path.name}; correct --stuff"
            )
    return {category.id: known[category.name] for category in source.categories}


def _relabeled(read: Callable[[], Labels], classes: Mapping[int, Category]) -> Labels:
    labels = read()
    regions = [
        replace(region, category=classes[region.category.id]) if region.category else region
        for region in labels.regions
    ]
    return replace(labels, regions=regions)
