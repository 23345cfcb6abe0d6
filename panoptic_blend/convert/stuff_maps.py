"""Read stuff from gray PNGs with one value per class; the instances come from another file."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from panoptic_blend.convert.painting import LabeledRegion
from panoptic_blend.files import read_bytes, require_file
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import decode_values
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.formats.names import locate
from panoptic_blend.structures import Category, Cutout, PanopticBlendError, is_integer

DEFAULT_IGNORE = 255
"""The value that means void if neither the table nor the user says otherwise."""


@dataclass(frozen=True, eq=False)
class StuffMaps:
    """A folder of gray PNGs, named like the pictures, and the meaning of their values: stuff, or None for void."""

    folder: Path
    table: Path
    classes: Mapping[int, Category | None]

    def regions(self, picture: str, size: tuple[int, int]) -> list[LabeledRegion]:
        """One region for every value in the PNG of a picture.

        Raises:
            PanopticBlendError: the PNG is missing, not gray, not of ``size`` (height, width), or has an unknown value.
        """
        path = locate(self.folder, str(PurePosixPath(picture).with_suffix(".png")))
        require_file(path, "every picture needs a stuff PNG, so add it or remove the picture")
        values = decode_values(read_bytes(path), path, size)
        found = np.unique(values).tolist()
        unknown = [value for value in found if value not in self.classes]
        if unknown:
            raise PanopticBlendError(
                f"{path}: value {unknown[0]} is not in {self.table.name}; add it there, with null if it means void"
            )
        return [LabeledRegion(self.classes[value], Cutout.from_mask(values == value)) for value in found]


def read_stuff(folder: Path, table: Path, ignore: int | None, things: Categories) -> tuple[StuffMaps, Categories]:
    """Return the stuff maps in ``folder``, and the categories of instances and stuff together.

    ``table`` is a JSON that names the values of the maps: ``{"1": "road", "2": "sky", "0": null}``, or a COCO JSON with
    the values as the ids of its ``categories``. The value ``ignore``, null, and values of thing classes are void,
    because things come from the instances. If ``ignore`` is None, 255 is void unless the table names it. The id of a
    stuff class is its value; if any value is the id of another category, all stuff ids are shifted behind the ids of
    the instances.
    """
    if not folder.is_dir():
        raise PanopticBlendError(f"{folder}: no such folder of stuff PNGs; check --stuff-maps")
    names = value_names(read_json(table), table)
    if ignore is None:
        names.setdefault(DEFAULT_IGNORE, None)
    elif names.setdefault(ignore, None) is not None:
        raise PanopticBlendError(
            f"{table}: names the value {ignore} {names[ignore]!r}, and --ignore-value {ignore} makes it void; "
            "leave out one of the two"
        )
    known = {category.name: category for category in things}
    new = {value: name for value, name in sorted(names.items()) if name is not None and name not in known}
    if len(set(new.values())) < len(new):
        raise PanopticBlendError(f"{table}: two values have the same name; give each class one value")
    shift = things[-1].id + 1 if set(new) & {category.id for category in things} else 0
    added = {value: Category(value + shift, name, False) for value, name in new.items()}
    classes: dict[int, Category | None] = {}
    for value, name in names.items():
        category = added.get(value) or (known[name] if name is not None else None)
        classes[value] = None if category is None or category.is_thing else category
    return StuffMaps(folder, table, classes), Categories([*things, *added.values()])


def value_names(content: Any, table: Path) -> dict[int, str | None]:
    """Value -> name, None for void, from either format of the table."""
    if isinstance(content, dict) and isinstance(content.get("categories"), list):
        pairs = [(c.get("id"), c.get("name")) for c in content["categories"] if isinstance(c, dict)]
    elif isinstance(content, dict):
        pairs = [(int(key) if key.isascii() and key.isdigit() else None, name) for key, name in content.items()]
    else:
        pairs = []
    names = {value: name for value, name in pairs if is_integer(value) and 0 <= value < 2**16}
    if not pairs or len(names) < len(pairs) or not all(name is None or isinstance(name, str) for _, name in pairs):
        raise PanopticBlendError(
            f'{table}: does not name values; write {{"1": "road", "2": "sky", "0": null}} or give `categories`'
        )
    return names
