"""Convert folders of PNGs with the class, and the instance, of each pixel to COCO panoptic.

The PNGs are gray or have a palette, of at most 16 bits. Classes and instances are in two folders, or in one whose
values are ``class * divisor + instance``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from panoptic_blend.convert.class_maps import Map, regions_of
from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.painting import Labels
from panoptic_blend.convert.picture_folder import by_stem
from panoptic_blend.convert.stuff_maps import DEFAULT_IGNORE, value_names
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.files import read_bytes
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import decode_values, read_picture
from panoptic_blend.formats.json_fields import integer, records
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.formats.name_lists import suggestion
from panoptic_blend.formats.names import locate
from panoptic_blend.structures import Category, PanopticBlendError, Size


@dataclass(frozen=True)
class MaskFolders:
    """The folder of ``classes``, and that of ``instances`` or the ``divisor`` of the values; without, all is stuff.

    ``first`` is the number of the first instance; pixels of a thing below it are a crowd.
    """

    classes: Path
    instances: Path | None = None
    divisor: int | None = None
    first: int = 1

    def read(self, name: str, size: Size) -> tuple[Map, Map]:
        """Classes and instances (H, W) of the PNG ``name``; instances are 0 where these are not known."""
        path = locate(self.classes, name)
        values = decode_values(read_bytes(path), path, size)
        if self.divisor is not None:
            values = values.astype(np.int64)  # a divisor may be larger than all values of 8 or 16 bits
            return values // self.divisor, values % self.divisor + (1 - self.first)
        if self.instances is None:
            return values, np.zeros(size, np.uint16)
        path = locate(self.instances, name)
        return values, decode_values(read_bytes(path), path, size)


def read_id_masks(folders: MaskFolders, table: Path, pictures: Path, stuff: Collection[str] = ()) -> LabeledSource:
    """Read the PNGs of a folder, each of the picture with its name but for the suffix.

    Args:
        table: the JSON that names the values, ``{"1": "road", "2": "sky", "0": null}``, null for void; or a COCO JSON
            with the values as the ids of its ``categories``, whose ``isthing`` counts. The value 0 means no label and
            255 void, unless they are named.
        stuff: names of classes that are stuff; all others are things where the table does not say.

    Raises:
        PanopticBlendError: a folder, a picture or a PNG is missing, or there are things without instances.
    """
    meanings, categories = _meanings(table, stuff)
    if categories.thing_ids and folders.instances is None and folders.divisor is None:
        thing = categories.by_id[categories.thing_ids[0]].name
        raise PanopticBlendError(
            f"{table}: {thing} is a thing, whose instances the classes do not tell; give --instances or --divisor, "
            "or name it in --stuff"
        )
    return labeled_source(folders, meanings, categories, pictures, table)


def labeled_source(
    folders: MaskFolders,
    meanings: Mapping[int, Category | None],
    categories: Categories,
    pictures: Path,
    source: Path,
) -> LabeledSource:
    """The pictures of the PNGs in a folder; ``source`` names it in errors."""
    for folder in filter(None, (folders.classes, folders.instances, pictures)):
        if not folder.is_dir():
            raise PanopticBlendError(f"{folder}: no such folder; check the path")
    named = by_stem(pictures)
    names = {stem: name for stem, name in by_stem(folders.classes).items() if name.lower().endswith(".png")}
    if not names:
        raise PanopticBlendError(f"{folders.classes}: has no PNGs; give the folder of the class maps")
    items = []
    for number, stem in enumerate(names, start=1):
        if stem not in named:
            raise PanopticBlendError(f"{folders.classes / stem}.png: no picture {stem}.* in {pictures}; add it")
        read = partial(_labels, folders, meanings, pictures / named[stem], f"{stem}.png")
        items.append(Item(number, named[stem], pictures / named[stem], read))
    notes = Notes()
    notes.add("pictures have no PNG of classes and were left out", count=len(named.keys() - names.keys()))
    read_from = [folder for folder in (folders.classes, folders.instances, pictures) if folder]
    return LabeledSource(source, read_from, categories, items, notes)


def _labels(folders: MaskFolders, meanings: Mapping[int, Category | None], picture: Path, name: str) -> Labels:
    height, width = read_picture(picture).shape[:2]
    notes, size = Notes(), (height, width)
    classes, instances = folders.read(name, size)
    return Labels(size, regions_of(classes, instances, meanings, str(folders.classes / name), notes), notes)


def _meanings(table: Path, stuff: Collection[str]) -> tuple[dict[int, Category | None], Categories]:
    """The categories by value, None for void, and all categories; the ids of these are the values."""
    content = read_json(table)
    names = value_names(content, table)
    for name in stuff:
        if name not in names.values():
            known = [known for known in names.values() if known is not None]
            raise PanopticBlendError(f"{table}: --stuff {name}: no class has this name; {suggestion(name, known)}")
    told = {value: record for record in records(content, "categories") if (value := integer(record, "id")) is not None}
    try:
        categories = Categories(
            {
                "id": value,
                "name": name,
                "isthing": 0 if name in stuff else told.get(value, {}).get("isthing", 1),
                "color": told.get(value, {}).get("color"),
            }
            for value, name in names.items()
            if name is not None
        )
    except PanopticBlendError as error:
        raise PanopticBlendError(f"{table}: {error}") from None
    meanings: dict[int, Category | None] = {value: categories.by_id.get(value) for value in names}
    meanings.setdefault(DEFAULT_IGNORE, None)
    return meanings, categories
