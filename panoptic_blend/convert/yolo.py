"""Convert a data set for YOLO segmentation to COCO panoptic: ``data.yaml``, pictures, and a text file for each.

A line of a text file is one object: the index of its class, then x and y of each point of its outline as fractions of
the picture's width and height. ``data.yaml`` says where the pictures of each split are: a folder, a text file with
their paths, or a list of these. The text file of ``images/train/a.jpg`` is ``labels/train/a.txt``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from posixpath import commonpath, dirname, relpath
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.config.yaml_text import decode_text, parse_yaml
from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.outlines import numbered, within
from panoptic_blend.convert.painting import LabeledRegion, Labels
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.files import read_bytes
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import PICTURE_SUFFIXES, read_picture
from panoptic_blend.formats.names import ends, with_slashes
from panoptic_blend.listing import list_files
from panoptic_blend.structures import PanopticBlendError, whole_number

SPLITS = ("train", "val", "test")
_BOX = 5
"""Numbers in the line of a box: class, center, width and height."""
_FARTHEST = 2.0
"""Coordinates from -1 to this value are fractions, of which some tools write a few slightly outside of 0 to 1."""

Outline = tuple[int, npt.NDArray[np.float64], str]
"""The index of a class, the points (n, 2) of an outline as fractions, and the words that name it in messages."""


def find_yolo(folder: Path) -> Path | None:
    """The file that describes a data set for YOLO in a folder; None if there is none."""
    found = (path for pattern in ("data.y*ml", "*.y*ml") for path in sorted(folder.glob(pattern)))
    return next((path for path in found if b"names" in read_bytes(path) and "names" in _content(path)), None)


def require_yolo(path: Path) -> Path:
    """The file that describes the data set in a folder, or that is given itself.

    Raises:
        PanopticBlendError: there is none.
    """
    found = find_yolo(path) if path.is_dir() else path
    if found is None:
        raise PanopticBlendError(
            f"{path}: has no data.yaml with the `names` of classes; write one, as ultralytics does"
        )
    if not yolo_splits(found):
        raise PanopticBlendError(f"{found}: has none of the lines {', '.join(SPLITS)}; say where the pictures are")
    return found


def yolo_splits(description: Path) -> list[str]:
    """The names of the splits that ``data.yaml`` has pictures of."""
    content = _content(description)
    return [split for split in SPLITS if content.get(split)]


def read_yolo(description: Path, split: str, stuff: Collection[str] = ()) -> LabeledSource:
    """Read a split of the data set that the file ``data.yaml`` describes.

    Classes are things, except those named in ``stuff``; they are numbered from 1. Pictures without a text file, or
    with an empty one, have no object.

    Raises:
        PanopticBlendError: pictures or classes are missing, or a label is a box or no outline.
    """
    content, folder = _content(description), description.parent
    categories = numbered(_names(content, description), stuff, str(description))
    items, boxes = [], list[str]()
    pictures = _pictures(content.get(split), folder, description, split)
    common = commonpath({dirname(name) for name in pictures})
    for number, name in enumerate(pictures, start=1):
        label = _label(name)
        outlines = list(_outlines(folder / label, label, len(categories), boxes)) if (folder / label).is_file() else []
        read = partial(_labels, folder / name, outlines, categories)
        items.append(Item(number, relpath(name, common or "."), folder / name, read))
    if boxes:
        raise PanopticBlendError(
            f"{boxes[0]} is a box, as {len(boxes)} lines are: these are labels for detection, without outlines; export "
            "them for segmentation, or remove those lines"
        )
    return LabeledSource(description, [folder], categories, items)


def _content(description: Path) -> Mapping[str, Any]:
    content = parse_yaml(decode_text(read_bytes(description), description), str(description), number_keys=True)
    return content if isinstance(content, dict) else {}


def _names(content: Mapping[str, Any], description: Path) -> list[str]:
    """The names of the classes, by their index."""
    names = content.get("names")
    if isinstance(names, dict) and sorted(map(str, names)) == sorted(map(str, range(len(names)))):
        names = [names[key] for key in sorted(names, key=int)]
    if not isinstance(names, list) or not names or not all(isinstance(name, str | int) for name in names):
        raise PanopticBlendError(f"{description}: `names` is not a list of class names; correct it")
    return [str(name) for name in names]


def _pictures(places: object, folder: Path, description: Path, split: str) -> list[str]:
    """The paths of the pictures of a split, relative to ``folder``."""
    names: dict[str, None] = {}
    for place in places if isinstance(places, list) else [places]:
        if not isinstance(place, str):
            raise PanopticBlendError(f"{description}: `{split}` is not a folder of pictures; correct it")
        path = folder / _local(place, folder, f"{description}: `{split}`")
        listed = _listed(path, folder) if path.is_file() else list_files(path, recursive=True).paths
        found = [p.relative_to(folder).as_posix() for p in listed if p.suffix.lower() in PICTURE_SUFFIXES]
        names.update(dict.fromkeys(found))
    if not names:
        raise PanopticBlendError(f"{description}: `{split}` has no pictures; put them there, or remove the line")
    return list(names)


def _listed(path: Path, folder: Path) -> list[Path]:
    lines = decode_text(read_bytes(path), path).splitlines()
    return [folder / _local(line.strip(), folder, str(path)) for line in lines if line.strip()]


def _local(name: str, folder: Path, where: str) -> str:
    """A path in ``folder`` for one that may be relative to another folder, or of another machine."""
    parts = [part for part in PurePosixPath(with_slashes(name)).parts if part not in {"..", "."}]
    for end in ends(f"/{'/'.join(parts)}"):
        if (folder / end).exists():
            return end
    raise PanopticBlendError(f"{where}: {name} is not in {folder}; correct the path, or move the pictures there")


def _label(name: str) -> str:
    """The text file of a picture: below ``labels`` in place of the last ``images``, else beside it."""
    path = PurePosixPath(name).with_suffix(".txt")
    parts = list(path.parts)
    if "images" in parts[:-1]:
        parts[len(parts) - 2 - parts[:-1][::-1].index("images")] = "labels"
    return PurePosixPath(*parts).as_posix()


def _outlines(path: Path, label: str, num_classes: int, boxes: list[str]) -> Iterator[Outline]:
    """The outlines in a text file; the places of boxes are added to ``boxes``."""
    for i, line in enumerate(decode_text(read_bytes(path), path).splitlines(), start=1):
        where, fields = f"{label}: line {i}", line.split()
        try:
            numbers = np.array(fields, np.float64)
        except ValueError:
            raise PanopticBlendError(f"{where} is not numbers; correct or remove it") from None
        if not fields:
            continue
        if len(fields) == _BOX:
            boxes.append(where)
            continue
        index = whole_number(float(numbers[0]))
        if index is None or not 0 <= index < num_classes:
            raise PanopticBlendError(
                f"{where} has the class {fields[0]}, and `names` has {num_classes}, from 0; correct one of them"
            )
        if len(fields) % 2 == 0 or len(fields) < _BOX:
            raise PanopticBlendError(f"{where} has {len(fields) - 1} coordinates, no pairs of x and y; correct it")
        if not (np.abs(numbers[1:] - 0.5) <= _FARTHEST - 0.5).all():  # NaN too
            raise PanopticBlendError(
                f"{where} has coordinates that are no fractions; divide x by the picture's width and y by its height"
            )
        yield index, numbers[1:].reshape(-1, 2), where


def _labels(picture: Path, outlines: Sequence[Outline], categories: Categories) -> Labels:
    height, width = read_picture(picture).shape[:2]
    notes, size = Notes(), (height, width)
    regions = [
        LabeledRegion(categories[index], within(points * (width, height), size, where, notes))
        for index, points, where in outlines
    ]
    return Labels(size, regions, notes)
