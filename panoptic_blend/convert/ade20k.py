"""Convert ADE20K as its scene parsing challenge has it (ADEChallengeData2016) to COCO panoptic.

``annotations/SPLIT/NAME.png`` has the place of the class in ``objectInfo150.txt``, 0 for none of these; the column
``Stuff`` says which classes are stuff. Green of ``annotations_instance/SPLIT/NAME.png`` is the number of the instance,
and red its class in another table, which is not needed.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path

import numpy as np

from panoptic_blend.config.yaml_text import decode_text
from panoptic_blend.convert.class_maps import regions_of
from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.painting import Labels
from panoptic_blend.convert.picture_folder import by_stem
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.files import read_bytes, require_file
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import decode_values, read_picture
from panoptic_blend.structures import Category, PanopticBlendError

SPLITS = "training", "validation"
TABLE = "objectInfo150.txt"


def read_ade20k(root: Path, split: str) -> LabeledSource:
    """Read a split; ids of classes are those of the table, and a class has the first of its names.

    Raises:
        PanopticBlendError: the table is none, or a picture or map is missing.
    """
    categories = _categories(root / TABLE)
    folder, maps, instances = (root / kind / split for kind in ("images", "annotations", "annotations_instance"))
    if not instances.is_dir():
        raise PanopticBlendError(f"{instances}: no such folder; fetch the instances of the challenge too")
    items = []
    for number, (stem, name) in enumerate(sorted(by_stem(folder).items()), start=1):
        for path in (maps, instances):
            require_file(path / f"{stem}.png", f"the picture {name} needs it")
        read = partial(_labels, folder / name, maps / f"{stem}.png", instances / f"{stem}.png", categories.by_id)
        items.append(Item(number, name, folder / name, read))
    if not items:
        raise PanopticBlendError(f"{folder}: has no pictures; give the folder ADEChallengeData2016")
    return LabeledSource(root, [root], categories, items)


def _categories(table: Path) -> Categories:
    """The classes of a table with the columns Idx, Ratio, Train, Val, Stuff and Name, separated by tabs."""
    lines = [line.split("\t") for line in decode_text(read_bytes(table), table).splitlines() if line.strip()]
    rows = [[cell.strip() for cell in line] for line in lines if line[0].strip() != "Idx"]
    if not rows or not all(len(row) >= 6 and row[0].isdigit() and row[-2] in {"0", "1"} for row in rows):
        raise PanopticBlendError(f"{table}: has not the columns Idx, Ratio, Train, Val, Stuff and Name; fetch it again")
    return Categories(Category(int(row[0]), row[-1].partition(",")[0], row[-2] == "0") for row in rows)


def _labels(picture: Path, map_path: Path, instance_path: Path, by_id: Mapping[int, Category]) -> Labels:
    height, width = read_picture(picture).shape[:2]
    notes, size = Notes(), (height, width)
    classes = decode_values(read_bytes(map_path), map_path, size)
    colors = read_picture(instance_path, size).astype(np.int32)
    instances = np.where(colors[:, :, 1] > 0, colors[:, :, 0] << 8 | colors[:, :, 1], 0)
    return Labels(size, regions_of(classes, instances, by_id, str(map_path), notes), notes)
