"""Convert an export "CVAT for images 1.1" to COCO panoptic: ``annotations.xml`` and its pictures.

Polygons, masks, boxes and ellipses have an area; polylines, points, cuboids, skeletons and tags are left out and
counted. Shapes with the same label and the same group are one instance.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Hashable, Mapping
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element

import numpy as np
import numpy.typing as npt

from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.orientation import STORED_SIZE, upright_size
from panoptic_blend.convert.outlines import ellipse, numbered, turned, within
from panoptic_blend.convert.painting import LabeledRegion, Labels, union
from panoptic_blend.convert.picture_folder import PictureFolder
from panoptic_blend.convert.records import CUT_OFF, PLAUSIBLE, size_of
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.xml_files import read_xml
from panoptic_blend.structures import Category, Cutout, PanopticBlendError, Size

IMAGES = "images"
"""The folder of pictures in an export, with a folder for each subset of a project."""
CROWD, SCORE = "crowd", "score"
"""Attributes of shapes, as the export writes them: a checkbox for several instances in one outline, and a number."""
_LABELED_WITHOUT_AREA = {"points", "polyline", "skeleton", "cuboid", "tag"}


def cvat_subsets(path: Path) -> list[str]:
    """The names of the subsets of an export, in the order of its pictures; ``default`` for those without one."""
    return list(dict.fromkeys(image.get("subset", "default") for image in _root(path).iter("image")))


def read_cvat(
    path: Path, pictures: Path | None = None, stuff: Collection[str] = (), subset: str | None = None
) -> LabeledSource:
    """Read ``annotations.xml``; labels are things, except those named in ``stuff``, and are numbered from 1.

    Args:
        pictures: the folder of the pictures; by default ``images`` beside the file, or the folder of the file.
        subset: read only the pictures of this subset of a project.

    Raises:
        PanopticBlendError: the file is no such export, a shape is malformed, or a picture is missing.
    """
    root = _root(path)
    folder = pictures or next(filter(Path.is_dir, [path.parent / IMAGES]), path.parent)
    if not folder.is_dir():
        raise PanopticBlendError(f"{folder}: no such folder of pictures; check --pictures")
    categories = numbered(_labels(root, path), stuff, str(path))
    gallery, items, notes = PictureFolder(folder), [], Notes()
    images = [image for image in root.iter("image") if subset in (None, image.get("subset", "default"))]
    for number, image in enumerate(images, start=1):
        name, place = image.get("name", ""), image.get("subset", "default")
        found = gallery.find(f"{place}/{name}") or gallery.find(name)
        if found is None:
            raise PanopticBlendError(
                f"{path.name}: image {name}: not in {folder}; export with pictures, or give their folder as --pictures"
            )
        for shape in image:
            if shape.tag in _LABELED_WITHOUT_AREA:
                notes.add("shapes have no area (points, polylines, cuboids, skeletons, tags) and were left out", name)
        read = partial(_regions, path.name, folder / found, found, image, categories)
        items.append(Item(number, found, folder / found, read))
    if not items:
        raise PanopticBlendError(f"{path}: has no images; annotate some and export again")
    return LabeledSource(path, [folder], categories, items, notes)


def _root(path: Path) -> Element:
    root = read_xml(path)
    if root.tag != "annotations" or root.find("meta") is None:
        raise PanopticBlendError(f"{path}: is no annotation of CVAT; export as CVAT for images 1.1")
    if root.find("track") is not None:
        raise PanopticBlendError(f"{path}: has tracks of CVAT for video; export as CVAT for images 1.1")
    return root


def _labels(root: Element, path: Path) -> list[str]:
    """The names of the labels with an area, as the task or project lists them."""
    found = {
        label.findtext("name", ""): label.findtext("type", "any")
        for labels in root.find("meta").iter("labels")  # type: ignore[union-attr]  # `_root` requires it
        for label in labels.findall("label")
    }
    names = [name for name, kind in found.items() if name and kind not in _LABELED_WITHOUT_AREA]
    if not names:
        raise PanopticBlendError(f"{path}: lists no label with an area; export it again with its task")
    return names


def _regions(source: str, picture: Path, name: str, image: Element, categories: Categories) -> Labels:
    """The labels of a picture, in the order in which CVAT draws them."""
    where, notes = f"{source}: image {name}", Notes()
    size = size_of({key: _integer(image, key, where) for key in ("height", "width")}, ("height", "width"), where)
    if upright_size(picture, size) != size:
        notes.add(f"{STORED_SIZE} the stored picture", name)
    known = {category.name: category for category in categories}
    parts: dict[Hashable, list[Cutout]] = {}
    meanings: dict[Hashable, tuple[Category, bool]] = {}
    shapes = [(i, shape) for i, shape in enumerate(image) if shape.tag in _MASKS]
    for i, shape in sorted(shapes, key=lambda pair: _integer(pair[1], "z_order", where, 0)):
        own, label = f"{where}: {shape.tag} {i + 1}", shape.get("label", "")
        if label not in known:
            raise PanopticBlendError(f"{own} has the label {label!r}, which <labels> lacks; add it there")
        group = _integer(shape, "group_id", own, 0)
        key = (label, group) if group and known[label].is_thing else i
        if shape.tag == "box":
            notes.add("boxes were read as filled rectangles", own)
        if _integer(shape, "z_order", own, 0):
            notes.add("shapes have a z_order, which decides overlaps with --overlap later", own)
        parts.setdefault(key, []).append(_MASKS[shape.tag](shape, size, own, notes))
        is_crowd = any(a.get("name") == CROWD and a.text == "true" for a in shape.iter("attribute"))
        meanings[key] = known[label], is_crowd
    regions = [LabeledRegion(meanings[key][0], union(cutouts), meanings[key][1]) for key, cutouts in parts.items()]
    return Labels(size, regions, notes)


def _number(shape: Element, key: str, where: str, default: float | None = None) -> float:
    try:
        number = float(shape.get(key, math.nan if default is None else default))
    except ValueError:
        number = math.nan
    if not abs(number) < PLAUSIBLE:
        raise PanopticBlendError(f"{where}: `{key}` is {shape.get(key)!r}, not a number; correct it")
    return number


def _integer(shape: Element, key: str, where: str, default: int | None = None) -> int:
    return int(_number(shape, key, where, default))


def _polygon(shape: Element, size: Size, where: str, notes: Notes) -> Cutout:
    try:
        corners = np.array([pair.split(",") for pair in shape.get("points", "").split(";")], np.float64)
    except ValueError:
        corners = np.zeros((0, 0))
    if corners.shape[1:] != (2,):
        raise PanopticBlendError(f"{where}: its points are not pairs of numbers; correct or remove it")
    return within(corners, size, where, notes)


def _box(shape: Element, size: Size, where: str, notes: Notes) -> Cutout:
    left, top, right, bottom = (_number(shape, key, where) for key in ("xtl", "ytl", "xbr", "ybr"))
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return within(_turned(corners, shape, where), size, where, notes)


def _ellipse(shape: Element, size: Size, where: str, notes: Notes) -> Cutout:
    x, y, across, down = (_number(shape, key, where) for key in ("cx", "cy", "rx", "ry"))
    return within(_turned(ellipse(np.array([x, y]), across, down), shape, where), size, where, notes)


def _turned(corners: npt.NDArray[np.float64], shape: Element, where: str) -> npt.NDArray[np.float64]:
    """Corners turned clockwise about their center by the shape's rotation, which is in degrees."""
    center = (corners.min(axis=0) + corners.max(axis=0)) / 2
    return turned(corners, _number(shape, "rotation", where, 0), center)


def _mask(shape: Element, size: Size, where: str, notes: Notes) -> Cutout:
    """A mask as run lengths by rows within its box, of void and of the mask in turn."""
    left, top, width, height = (_integer(shape, key, where) for key in ("left", "top", "width", "height"))
    try:
        counts = np.array(shape.get("rle", "").split(","), np.int64)
    except (ValueError, OverflowError):
        counts = np.array([-1])
    is_sound = 0 < width <= 2 * size[1] and 0 < height <= 2 * size[0] and counts.min() >= 0
    if not is_sound or counts.max() > width * height or counts.sum() != width * height:
        raise PanopticBlendError(f"{where}: its run lengths do not fill its box; draw it again")
    mask = np.repeat(np.arange(len(counts)) % 2 == 1, counts).reshape(height, width)
    if left < 0 or top < 0 or left + width > size[1] or top + height > size[0]:
        notes.add(CUT_OFF, where)
    inside = mask[max(-top, 0) : max(size[0] - top, 0), max(-left, 0) : max(size[1] - left, 0)]
    return Cutout(inside, max(top, 0), max(left, 0)) if inside.size else Cutout(np.zeros((0, 0), bool), 0, 0)


_MASKS: Mapping[str, Callable[[Element, Size, str, Notes], Cutout]] = {
    "polygon": _polygon,
    "box": _box,
    "ellipse": _ellipse,
    "mask": _mask,
}
