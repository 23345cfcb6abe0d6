"""Convert the folders of Cityscapes to COCO panoptic: ``gtFine/SPLIT/CITY/``, and pictures in ``leftImg8bit``.

A picture has ``NAME_gtFine_instanceIds.png`` or, where these are missing, ``NAME_gtFine_polygons.json``, as the
labeling tool writes it, or only ``NAME_gtFine_labelIds.png``, in which things are not told apart and become crowds. The
result is that of Cityscapes' own scripts: the classes that are evaluated have their label ids, all others are void, and
groups are crowds.
"""

from __future__ import annotations

from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np
import numpy.typing as npt

from panoptic_blend.convert.cityscapes import PICTURE, PICTURES, pictures_of
from panoptic_blend.convert.cityscapes_labels import CATEGORIES, GROUP, IDS_PER_CLASS, LABELS, MEANINGS, divided
from panoptic_blend.convert.class_maps import regions_of
from panoptic_blend.convert.labelme_shapes import cutout_of
from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.painting import Labels
from panoptic_blend.convert.records import size_of
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.files import read_bytes
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import decode_values, read_picture
from panoptic_blend.formats.json_fields import require_records, require_text
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.formats.name_lists import suggestion
from panoptic_blend.listing import list_files
from panoptic_blend.structures import PanopticBlendError, Size

FINE = "gtFine"
_HIDDEN = "test"
"""The split whose labels are not published."""
_ENDS = "_instanceIds.png", "_polygons.json", "_labelIds.png"
"""How the names of labels end, those to be preferred first."""

_LICENSE_PLATE = "license plate"


def cityscapes_splits(root: Path) -> list[str]:
    """The splits of a folder with ``gtFine`` that have labels; raises PanopticBlendError if there is none."""
    folders = sorted(path for path in (root / FINE).glob("*") if path.is_dir() and path.name != _HIDDEN)
    names = [folder.name for folder in folders if any(any(folder.glob(f"*/*{end}")) for end in _ENDS)]
    if not names:
        raise PanopticBlendError(
            f"{root / FINE}: has no split with *_gtFine{_ENDS[0]} in folders of cities; give the folder of Cityscapes"
        )
    return names


def read_cityscapes_folder(folder: Path, pictures: Path | None = None) -> LabeledSource:
    """Read the labels below a folder such as ``gtFine/val``.

    Args:
        pictures: the folder ``leftImg8bit`` or one in it; by default that of the same split, beside ``gtFine``.

    Raises:
        PanopticBlendError: there are no labels, one is malformed, or a picture is missing.
    """
    labels = _labels_of(folder)
    if not labels:
        raise PanopticBlendError(
            f"{folder}: has no *{_ENDS[0]}, *{_ENDS[1]} or *{_ENDS[2]}; give a split of gtFine, or the panoptic JSON"
        )
    pictures = pictures or folder.absolute().parent.parent / PICTURES / folder.absolute().name
    if not pictures.is_dir():
        raise PanopticBlendError(f"{pictures}: no such folder; give that of the pictures with --pictures")
    picture_of, items = pictures_of(pictures), []
    for number, (name, path) in enumerate(sorted(labels.items()), start=1):
        if name not in picture_of:
            raise PanopticBlendError(f"{path}: no {name}{PICTURE}.* below {pictures}; add it")
        picture = picture_of[name]
        items.append(Item(number, picture.relative_to(pictures).as_posix(), picture, partial(_read, picture, path)))
    notes = Notes()
    notes.add("pictures have no labels and were left out", count=len(picture_of.keys() - labels.keys()))
    return LabeledSource(folder, [folder, pictures], Categories(CATEGORIES.values()), items, notes)


def _labels_of(folder: Path) -> dict[str, Path]:
    """The file of the labels of each picture, by its name."""
    found: dict[str, Path] = {}
    paths = list_files(folder, recursive=True).paths
    for end in _ENDS:
        named: dict[str, Path] = {}
        for path in (path for path in paths if path.name.endswith(end)):
            name = path.name.removesuffix(end).rpartition("_")[0]  # behind it is gtFine or gtCoarse
            if (other := named.setdefault(name, path)) != path:
                raise PanopticBlendError(f"{other} and {path} are for one picture; give the folder of one of them")
        found = named | found
    return found


def _read(picture: Path, path: Path) -> Labels:
    height, width = read_picture(picture).shape[:2]
    size, notes = (height, width), Notes()
    ids = decode_values(read_bytes(path), path, size) if path.suffix == ".png" else _drawn(path, size)
    labels, instances = divided(ids)
    for label in np.unique(labels).tolist():
        if label not in MEANINGS:
            raise PanopticBlendError(
                f"{path}: has the label {label}, which Cityscapes has not; convert other classes from the panoptic JSON"
            )
    return Labels(size, regions_of(labels, instances, MEANINGS, str(path), notes), notes)


def _drawn(path: Path, size: Size) -> npt.NDArray[np.int32]:
    """The ``instanceIds`` (H, W) of polygons, each drawn over those before it."""
    content = read_json(path)
    objects = require_records(content, "objects", str(path), "the polygons of Cityscapes")
    stated = size_of(content, ("imgHeight", "imgWidth"), str(path))
    if stated != size:
        raise PanopticBlendError(
            f"{path}: was drawn at {stated[1]} x {stated[0]}, and the picture has {size[1]} x {size[0]}; correct one"
        )
    ids, seen = np.zeros(size, np.int32), Counter[int]()
    for i, each in enumerate(objects):
        where = f"{path}: objects[{i}]"
        name = require_text(each, "label", where)
        if each.get("deleted") or name == _LICENSE_PLATE:
            continue
        label, is_group = _label_of(name, where)
        value, meaning = label, MEANINGS[label]
        if meaning and meaning.is_thing and not is_group:
            value = label * IDS_PER_CLASS + seen[label]
            seen[label] += 1
        cutout = cutout_of({"points": each.get("polygon")}, size, where)
        ids[cutout.window][cutout.mask] = value
    return ids


def _label_of(name: str, where: str) -> tuple[int, bool]:
    """The label id for a name, and whether it is that of a group."""
    for known, is_group in ((name, False), (name.removesuffix(GROUP), True)):
        if known in LABELS:
            return LABELS[known], is_group
    raise PanopticBlendError(f"{where}: Cityscapes has no label {name!r}; {suggestion(name, list(LABELS))}")
