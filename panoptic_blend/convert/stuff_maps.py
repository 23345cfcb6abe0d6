"""Stuff as grey PNGs, one value per class, beside instances that come from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.convert.painting import LabeledRegion
from panoptic_blend.files import inside, read_bytes, read_json, require_file
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import decode_pixels
from panoptic_blend.structures import Category, Cutout, PanopticBlendError, is_integer


@dataclass(frozen=True, eq=False)
class StuffMaps:
    """A folder of grey PNGs, named as the pictures are, and what their values mean: stuff, or None for void."""

    folder: Path
    table: Path
    classes: Mapping[int, Category | None]

    def regions(self, picture: str, size: tuple[int, int]) -> list[LabeledRegion]:
        """One region for every value in the PNG of a picture.

        Raises:
            PanopticBlendError: no PNG, not a grey one of ``size`` (height, width), or with values not in the table.
        """
        path = inside(self.folder, str(PurePosixPath(picture).with_suffix(".png")))
        require_file(path, "every picture needs its stuff PNG, so add it or take the picture out")
        values = _read_grey(path, size)
        found = np.unique(values).tolist()
        strange = [value for value in found if value not in self.classes]
        if strange:
            raise PanopticBlendError(
                f"{path}: value {strange[0]} is not in {self.table.name}; add it there, with null for no class"
            )
        return [LabeledRegion(self.classes[value], Cutout.from_mask(values == value)) for value in found]


def read_stuff(folder: Path, table: Path, ignore: int, things: Categories) -> tuple[StuffMaps, Categories]:
    """The maps in ``folder``, whose values the JSON ``table`` names, and all categories together.

    ``table`` is ``{"1": "road", "2": "sky", "0": null}`` or a COCO JSON, whose ``categories`` have the values as
    ids. Values that mean a thing, ``ignore`` and null are void: instances say where things are. Stuff keeps its value
    as its id where no thing has it; if any has, all stuff follows after the ids of the instances.
    """
    if not folder.is_dir():
        raise PanopticBlendError(f"{folder}: no such folder of stuff PNGs; check --stuff-maps")
    names = _names(read_json(table), table)
    names[ignore] = None
    known = {category.name: category for category in things}
    new = {value: name for value, name in sorted(names.items()) if name is not None and name not in known}
    if len(set(new.values())) < len(new):
        raise PanopticBlendError(f"{table}: two values have one name; give each class one value")
    shift = things[-1].id + 1 if set(new) & {category.id for category in things} else 0
    added = {value: Category(value + shift, name, False) for value, name in new.items()}
    classes: dict[int, Category | None] = {}
    for value, name in names.items():
        category = added.get(value) or (known[name] if name is not None else None)
        classes[value] = None if category is None or category.is_thing else category
    return StuffMaps(folder, table, classes), Categories([*things, *added.values()])


def _names(content: Any, table: Path) -> dict[int, str | None]:
    """Value -> name, None for void, of either kind of table."""
    if isinstance(content, dict) and isinstance(content.get("categories"), list):
        pairs = [(c.get("id"), c.get("name")) for c in content["categories"] if isinstance(c, dict)]
    elif isinstance(content, dict):
        pairs = [(int(key) if key.isascii() and key.isdigit() else None, name) for key, name in content.items()]
    else:
        pairs = []
    names = {value: name for value, name in pairs if is_integer(value) and 0 <= value < 2**16}
    if not pairs or len(names) < len(pairs) or not all(name is None or isinstance(name, str) for _, name in pairs):
        raise PanopticBlendError(
            f'{table}: no table of stuff; write {{"1": "road", "2": "sky", "0": null}} or give a JSON with `categories`'
        )
    return names


def _read_grey(path: Path, size: tuple[int, int]) -> npt.NDArray[np.integer]:
    values = decode_pixels(read_bytes(path), cv2.IMREAD_UNCHANGED)
    if values is None:
        raise PanopticBlendError(f"{path}: cannot be decoded; it is cut short or not a PNG, so write it again")
    if values.ndim != 2:
        raise PanopticBlendError(f"{path}: has colours or a palette; save the class values as a grey PNG")
    if values.shape != size:
        height, width = values.shape
        raise PanopticBlendError(
            f"{path}: {width} x {height} pixels, its picture {size[1]} x {size[0]}; write it in the picture's size"
        )
    return values
