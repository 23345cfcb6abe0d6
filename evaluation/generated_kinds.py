"""Seven generated data sets of different kinds, on which no recipe may do harm: variations of Shapes.

They are made of the painter of Shapes: scenes are generated, and their classes, colors or outlines changed. Each kind
is one function from a generator of scenes, so that a kind can be read as its difference from Shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.data.transforms import resize_ids
from panoptic_blend.files import locked
from panoptic_blend.formats.images import write_picture
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.shapes.dataset import CATEGORIES, VAL_START, Scene, generate
from panoptic_blend.structures import Category, PanopticMap, Segment
from panoptic_blend.terminal import progress_line

_THINGS = [category for category in CATEGORIES if category.is_thing]
_STUFF = [category for category in CATEGORIES if not category.is_thing]


@dataclass(frozen=True)
class Kind:
    """A kind of data set: its categories, and how a scene of it is made from ``seed`` and ``index``."""

    categories: Sequence[Category]
    scene: Callable[[int, int], Scene]


def _tiny_things(seed: int, index: int) -> Scene:
    """Four scenes at half their size side by side, in a square: things have half their sides."""
    return _mosaic([_resized(generate(seed, 4 * index + i), (64, 64)) for i in range(4)], columns=2)


def _huge_things(seed: int, index: int) -> Scene:
    """The half of a scene around its largest thing, enlarged twice."""
    scene = generate(seed, index)
    things = [segment for segment in scene.panoptic.segments if segment.is_thing and segment.box]
    height, width = scene.image.shape[:2]
    x0, y0, x1, y1 = max(things, key=lambda s: s.area).box or (0, 0, width, height) if things else (0, 0, width, height)
    top = int(np.clip((y0 + y1) / 2 - height / 4, 0, height / 2))
    left = int(np.clip((x0 + x1) / 2 - width / 4, 0, width / 2))
    window = slice(top, top + height // 2), slice(left, left + width // 2)
    cut = Scene(scene.image[window], _measured(scene.panoptic.segment_ids[window], scene.panoptic.segments))
    return _resized(cut, (height, width))


def _one_class(seed: int, index: int) -> Scene:
    """All things are of one class, and there is no stuff class: what is no thing is void."""
    return _reclassified(generate(seed, index), {thing.id: 1 for thing in _THINGS})


_FORTY = [Category(1 + 6 * k + i, f"{thing.name} {k}", True) for k in range(6) for i, thing in enumerate(_THINGS)] + [
    Category(41 + i, stuff.name, False) for i, stuff in enumerate(_STUFF)
]


def _forty_classes(seed: int, index: int) -> Scene:
    """36 classes of things, which are their outlines in six ranges of hue, and four of stuff."""
    scene, places = generate(seed, index), {thing.id: i for i, thing in enumerate(_THINGS)}
    hue = cv2.cvtColor(scene.image, cv2.COLOR_RGB2HSV)[..., 0]
    segments = []
    for segment in scene.panoptic.segments:
        if segment.is_thing:
            middle = _circular_mean(hue[scene.panoptic.segment_ids == segment.id])
            segments.append(replace(segment, category=1 + 6 * int(6 * middle) + places[segment.category]))
        else:
            segments.append(replace(segment, category=41 + [stuff.id for stuff in _STUFF].index(segment.category)))
    return Scene(scene.image, PanopticMap(scene.panoptic.segment_ids, segments))


def _mostly_stuff(seed: int, index: int) -> Scene:
    """Disks are the only things; all other things are stuff, a segment for each class."""
    scene = generate(seed, index)
    stuff = {category.id for category in CATEGORIES} - {_THINGS[0].id}
    return _reclassified(scene, {category.id: category.id for category in CATEGORIES}, stuff)


def _grey(seed: int, index: int) -> Scene:
    """Pictures without color."""
    scene = generate(seed, index)
    grey = cv2.cvtColor(scene.image, cv2.COLOR_RGB2GRAY)
    return Scene(np.repeat(grey[..., None], 3, axis=2), scene.panoptic)


def _panoramas(seed: int, index: int) -> Scene:
    """Three scenes in a row: pictures three times as wide as high."""
    return _mosaic([_resized(generate(seed, 3 * index + i), (112, 112)) for i in range(3)], columns=3)


KINDS: Mapping[str, Kind] = {
    "tiny things": Kind(CATEGORIES, _tiny_things),
    "huge things": Kind(CATEGORIES, _huge_things),
    "one class": Kind([Category(1, "thing", True)], _one_class),
    "40 classes": Kind(_FORTY, _forty_classes),
    "mostly stuff": Kind([_THINGS[0], *(replace(c, is_thing=False) for c in CATEGORIES[1:])], _mostly_stuff),
    "grey": Kind(CATEGORIES, _grey),
    "panoramas": Kind(CATEGORIES, _panoramas),
}


def write_kind(root: Path, kind: Kind, train: int, val: int, seed: int = 0) -> None:
    """Write the splits ``train2017`` and ``val2017`` of a kind; a split that is there is kept."""
    with locked(root, "--output"):
        for split, first, number in (("train2017", 0, train), ("val2017", VAL_START, val)):
            path = root / "annotations" / f"panoptic_{split}.json"
            if path.exists():
                continue
            with progress_line(split, "images") as progress, PanopticWriter(path, categories=kind.categories) as writer:
                for done, index in enumerate(range(first, first + number), start=1):
                    scene, name = kind.scene(seed, index), f"{index + 1:012d}.png"
                    write_picture(root / split / name, scene.image)
                    writer.add(index + 1, name, scene.panoptic)
                    progress(done, number)


def _measured(ids: npt.NDArray[np.int32], segments: Sequence[Segment]) -> PanopticMap:
    """The map of the segments that have pixels in ``ids`` (H, W)."""
    panoptic = PanopticMap.measured(np.ascontiguousarray(ids), segments)
    return PanopticMap(panoptic.segment_ids, [segment for segment in panoptic.segments if segment.area])


def _resized(scene: Scene, size: tuple[int, int]) -> Scene:
    """A scene at ``size`` (height, width)."""
    image = np.asarray(cv2.resize(scene.image, size[::-1], interpolation=cv2.INTER_AREA), np.uint8)
    ids = np.asarray(resize_ids(scene.panoptic.segment_ids, size), np.int32)
    return Scene(image, _measured(ids, scene.panoptic.segments))


def _mosaic(scenes: Sequence[Scene], columns: int) -> Scene:
    """Scenes of one size in rows; ids are counted anew, and stuff of one class is one segment."""
    parts, segments, stuff = [], list[Segment](), dict[int, int]()
    for scene in scenes:
        part = np.zeros_like(scene.panoptic.segment_ids)
        for segment in scene.panoptic.segments:
            number = stuff.get(segment.category, len(segments) + 1)
            if number > len(segments):
                segments.append(replace(segment, id=number))
            if not segment.is_thing:
                stuff[segment.category] = number
            part[scene.panoptic.segment_ids == segment.id] = number
        parts.append(part)
    rows = range(0, len(scenes), columns)
    image = np.vstack([np.hstack([scene.image for scene in scenes[i : i + columns]]) for i in rows])
    return Scene(image, _measured(np.vstack([np.hstack(parts[i : i + columns]) for i in rows]), segments))


def _reclassified(scene: Scene, table: Mapping[int, int], stuff: frozenset[int] | set[int] = frozenset()) -> Scene:
    """A scene with the classes of ``table``, void elsewhere; things whose class is in ``stuff`` become one segment."""
    ids, segments, first = scene.panoptic.segment_ids.copy(), list[Segment](), dict[int, int]()
    for segment in scene.panoptic.segments:
        category = table.get(segment.category)
        own = scene.panoptic.segment_ids == segment.id
        if category is None:
            ids[own] = 0
        elif category in stuff and category in first:
            ids[own] = first[category]
        else:
            first[category] = segment.id
            is_thing = segment.is_thing and category not in stuff
            segments.append(
                replace(segment, category=category, is_thing=is_thing, is_crowd=segment.is_crowd and is_thing)
            )
    return Scene(scene.image, _measured(ids, segments))


def _circular_mean(hues: npt.NDArray[np.uint8]) -> float:
    """The mean of hues 0..179 as a share of the circle, 0..1."""
    angles = hues * (2 * np.pi / 180)
    return float(np.arctan2(np.sin(angles).mean(), np.cos(angles).mean()) / (2 * np.pi) % 1)
