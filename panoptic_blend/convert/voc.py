"""Convert Pascal VOC segmentation to COCO panoptic: pictures, maps of classes and of objects, and lists of splits.

The layout is that of VOC2012, which CVAT and Datumaro write as *Segmentation mask* too: ``JPEGImages``,
``SegmentationClass``, ``SegmentationObject`` and ``ImageSets/Segmentation/SPLIT.txt``. With a ``labelmap.txt`` the maps
are read by their colors, otherwise by their indices, which are those of VOC's 20 classes.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from panoptic_blend.config.yaml_text import decode_text
from panoptic_blend.convert.class_maps import Map, regions_of
from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.outlines import numbered
from panoptic_blend.convert.painting import Labels
from panoptic_blend.convert.picture_folder import by_stem
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.files import inside, read_bytes, require_file
from panoptic_blend.formats.images import decode_values, read_picture
from panoptic_blend.structures import Category, PanopticBlendError, Size

PICTURES, CLASSES, OBJECTS, SPLITS = "JPEGImages", "SegmentationClass", "SegmentationObject", "ImageSets/Segmentation"
NAMES = [
    *("aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
]
"""VOC's 20 classes, in the order of their indices from 1."""

_BACKGROUND, _VOID = 0, 255
_VOID_COLOR = 224, 224, 192
"""The color of the index 255 in VOC's palette: the border of objects."""


def voc_splits(root: Path) -> list[str]:
    """The names of the splits that have a list, without those that join others.

    Raises:
        PanopticBlendError: there is none.
    """
    names = sorted(path.stem for path in (root / SPLITS).glob("*.txt"))
    kept = [name for name in names if name != "trainval" or not {"train", "val"} <= {*names}]
    if not kept:
        raise PanopticBlendError(f"{root / SPLITS}: has no list of a split, like train.txt; give the folder of VOC2012")
    return kept


def read_voc(root: Path, split: str, stuff: Collection[str] = ()) -> LabeledSource:
    """Read a split; classes are things, except those named in ``stuff``, and have their index as id.

    Raises:
        PanopticBlendError: a folder, a picture or a map is missing, or ``labelmap.txt`` is none.
    """
    table = root / "labelmap.txt"
    colors = _colors(table) if table.is_file() else None
    names = [name for name in colors if name != "background"] if colors else NAMES
    categories = numbered(names, stuff, str(table if colors else root))
    meanings: dict[int, Category | None] = {category.id: category for category in categories} | {_VOID: None}
    listed = root / SPLITS / f"{split}.txt"
    stems = [line.split()[0] for line in decode_text(read_bytes(listed), listed).splitlines() if line.strip()]
    pictures, items = by_stem(root / PICTURES), []
    for number, stem in enumerate(stems, start=1):
        if stem not in pictures:
            raise PanopticBlendError(
                f"{listed}: {stem} has no picture in {root / PICTURES}; add it, or remove the line"
            )
        for folder in (CLASSES, OBJECTS):
            require_file(inside(root / folder, f"{stem}.png"), f"{listed.name} names it, so add it or remove the line")
        picture = root / PICTURES / pictures[stem]
        items.append(Item(number, pictures[stem], picture, partial(_labels, root, picture, stem, meanings, colors)))
    if not items:
        raise PanopticBlendError(f"{listed}: names no picture; there is nothing to convert")
    return LabeledSource(root, [root], categories, items)


def _colors(table: Path) -> dict[str, tuple[int, int, int]]:
    """The color of each class, in the order of a ``labelmap.txt`` with lines ``name:red,green,blue:parts:actions``.

    Without a color, as Datumaro writes it, a class has that of its place in VOC's palette.
    """
    colors: dict[str, tuple[int, int, int]] = {}
    for line in decode_text(read_bytes(table), table).splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        name, _, rest = line.partition(":")
        stated = rest.partition(":")[0].strip()
        if not stated:
            colors[name.strip()] = _palette(len(colors))
            continue
        channels = stated.split(",")
        if len(channels) != 3 or not all(c.strip().isdigit() and int(c) < 256 for c in channels):
            raise PanopticBlendError(f"{table}: {line!r} is not NAME:RED,GREEN,BLUE:PARTS:ACTIONS; correct it")
        colors[name.strip()] = (int(channels[0]), int(channels[1]), int(channels[2]))
    if not colors.keys() - {"background"}:
        raise PanopticBlendError(f"{table}: names no class; write a line for each, or remove it to read indices")
    return colors


def _palette(index: int) -> tuple[int, int, int]:
    """The color of an index in VOC's palette: its bits in groups of three, the lowest highest in the channels."""
    red, green, blue = (
        sum((index >> 3 * place + channel & 1) << 7 - place for place in range(8)) for channel in range(3)
    )
    return red, green, blue


def _labels(
    root: Path,
    picture: Path,
    stem: str,
    meanings: Mapping[int, Category | None],
    colors: Mapping[str, tuple[int, int, int]] | None,
) -> Labels:
    height, width = read_picture(picture).shape[:2]
    notes, size = Notes(), (height, width)
    path, objects = root / CLASSES / f"{stem}.png", root / OBJECTS / f"{stem}.png"
    if colors is None:
        classes, instances = (decode_values(read_bytes(each), each, size) for each in (path, objects))
    else:
        classes, instances = _by_color(path, size, colors, meanings), _packed(objects, size)
    return Labels(size, regions_of(classes, instances, meanings, str(path), notes), notes)


def _packed(path: Path, size: Size) -> Map:
    """The colors of a PNG (H, W) as numbers."""
    pixels = read_picture(path, size).astype(np.int64)
    packed: Map = pixels[:, :, 0] << 16 | pixels[:, :, 1] << 8 | pixels[:, :, 2]
    return packed


def _by_color(
    path: Path, size: Size, colors: Mapping[str, tuple[int, int, int]], meanings: Mapping[int, Category | None]
) -> Map:
    """The ids of the classes (H, W) that the colors of a PNG stand for."""
    known = {name: red << 16 | green << 8 | blue for name, (red, green, blue) in colors.items()}
    ids = {known[category.name]: number for number, category in meanings.items() if category}
    red, green, blue = _VOID_COLOR
    ids = {known.get("background", 0): _BACKGROUND, red << 16 | green << 8 | blue: _VOID} | ids
    values, places = np.unique(_packed(path, size), return_inverse=True)
    for value in values.tolist():
        if value not in ids:
            color = f"{value >> 16},{value >> 8 & 255},{value & 255}"
            raise PanopticBlendError(f"{path}: has the color {color}, which labelmap.txt lacks; add it there")
    return np.array([ids[value] for value in values.tolist()])[places].reshape(size)
