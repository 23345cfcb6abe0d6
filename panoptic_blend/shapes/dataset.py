"""Shapes: a generated panoptic data set, small enough to train on in minutes and hard enough to tell methods apart.

A scene is a landscape of textured stuff with three to nine instances in front of it. Classes of things differ in their
outline (solid, hollow, concave, thin), never in color; stuff differs in color and texture. There are clusters of
overlapping instances of one class, occlusion, crowds (one segment for a cluster of small instances) and void regions.
The kind ``hard`` has more of what instance masks differ in: 12 to 20 instances, mostly in dense clusters of one class,
and more thin ones.
This module composes scenes and derives their ground truth; `painting` draws.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.files import locked, remove_unfinished
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import write_picture
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.shapes.painting import (
    FAR,
    Canvas,
    Contours,
    Floats,
    Rng,
    Shape,
    Texture,
    Thing,
    bar,
    blob,
    borders,
    disk,
    expose,
    grass,
    paint_shadow,
    place_outline,
    rasterize,
    ring,
    rubble,
    sand,
    sky,
    square,
    star,
    thing_fill,
    triangle,
    two_colors,
    water,
)
from panoptic_blend.structures import Category, PanopticBlendError, PanopticMap, Segment

CATEGORIES = (
    Category(1, "disk", True, (220, 20, 60)),
    Category(3, "ring", True, (255, 140, 0)),
    Category(4, "square", True, (106, 0, 228)),
    Category(7, "triangle", True, (0, 180, 190)),
    Category(9, "star", True, (250, 210, 30)),
    Category(12, "bar", True, (255, 90, 190)),
    Category(21, "grass", False, (107, 142, 35)),
    Category(24, "water", False, (40, 90, 170)),
    Category(25, "sand", False, (210, 180, 140)),
    Category(29, "sky", False, (150, 205, 250)),
)
DISK, RING, SQUARE, TRIANGLE, STAR, BAR, GRASS, WATER, SAND, SKY = (category.id for category in CATEGORIES)
VOID = 0

VAL_START = 1_000_000
"""Index of the first validation scene; training scenes are numbered from 0, so no scene is in both splits."""

SIDES = (96, 112, 128, 144, 160)
MIN_PIXELS, MIN_VISIBLE = 20, 0.3  # the smallest segment in pixels; the smallest visible share of an instance
CROWD_SHARE, BAND_SHARE, VOID_SHARE = 0.1, 0.1, 0.2  # scenes with a crowd; with a void band; with any void

_OUTLINES: dict[int, Callable[[Rng], Contours]] = {
    DISK: disk,
    RING: ring,
    SQUARE: square,
    TRIANGLE: triangle,
    STAR: star,
    BAR: bar,
}
_TEXTURES = {
    GRASS: Texture(grass, (38, 82, 24), (150, 182, 72)),
    WATER: Texture(water, (12, 62, 104), (92, 170, 190)),
    SAND: Texture(sand, (172, 132, 84), (240, 216, 166)),
    SKY: Texture(sky, (98, 156, 224), (244, 246, 250)),
    VOID: Texture(rubble, (62, 54, 62), (112, 104, 108)),
}


@dataclass(frozen=True)
class Kind:
    """What a scene has in front of its landscape; ranges are those of ``Generator.integers``.

    ``clustered`` is the share of draws that are clusters, of ``in_cluster`` instances at most ``spread`` sizes from one
    point.
    """

    things: tuple[int, int]
    clustered: float
    in_cluster: tuple[int, int]
    spread: float
    outlines: tuple[int, ...]


KINDS = {
    "plain": Kind(
        things=(3, 10),
        clustered=0.25,
        in_cluster=(2, 5),
        spread=0.8,
        outlines=(DISK, RING, SQUARE, TRIANGLE, STAR, BAR),
    ),
    "hard": Kind(
        things=(12, 21),
        clustered=0.8,
        in_cluster=(4, 8),
        spread=0.7,
        outlines=(DISK, RING, RING, SQUARE, TRIANGLE, STAR, BAR, BAR, BAR),
    ),
}


@dataclass(frozen=True, eq=False)
class Scene:
    """An image (H, W, 3) uint8 RGB and its ground truth, with the category ids of ``CATEGORIES``."""

    image: npt.NDArray[np.uint8]
    panoptic: PanopticMap


def generate(seed: int, index: int, kind: str = "plain") -> Scene:
    """Generate a scene of one of ``KINDS``, which depends only on ``seed``, ``index`` and ``kind``."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))
    height, width = rng.choice(SIDES, 2).tolist()
    canvas = Canvas(height, width)
    _paint_stuff(rng, canvas)
    angle = rng.uniform(0, 2 * math.pi)
    light = np.array([math.cos(angle), math.sin(angle)], np.float32)
    _paint_things(rng, canvas, _plan_things(rng, canvas.shape, KINDS[kind]), light)
    return Scene(expose(rng, canvas.image, light), _panoptic_map(rng, canvas))


def _paint_stuff(rng: Rng, canvas: Canvas) -> None:
    """Paint bands with wavy borders (below a sky, or without sky at any angle), then patches, then perhaps a void."""
    size = np.array(canvas.shape[::-1])
    fills = {category: texture.fill(rng, canvas.shape) for category, texture in _TEXTURES.items()}
    slots = {category: canvas.new_slot(category) for category in _TEXTURES if category != VOID} | {VOID: VOID}

    def paint(contours: Contours, category: int) -> None:
        stamp = rasterize(contours, canvas.shape)
        canvas.paint(stamp, fills[category][stamp.window], slots[category])

    has_sky = rng.random() < 0.6
    bands = rng.permutation([GRASS, WATER, SAND])[: rng.choice([1, 2, 3], p=[0.25, 0.55, 0.2])].tolist()
    bands = [SKY, *bands] if has_sky else bands
    lines, across = borders(rng, canvas.shape, len(bands), rng.normal(0, 0.08) if has_sky else rng.uniform(-3, 3))
    for category, line in zip(bands, lines, strict=True):
        paint([np.concatenate([line, line[::-1] + 2 * FAR * across])], category)
    for _ in range(rng.choice([0, 1, 2], p=[0.3, 0.5, 0.2])):
        center = rng.uniform((0, 0.65 if has_sky else 0), (1, 1)) * size
        paint(blob(rng, center, rng.uniform(14, 34)), int(rng.choice([GRASS, WATER, SAND])))
    void = rng.random()
    if void < BAND_SHARE and len(bands) > 1:
        half_width = rng.uniform(1.5, 3) * across
        paint([np.concatenate([lines[-1] - half_width, lines[-1][::-1] + half_width])], VOID)
    elif void < VOID_SHARE:
        paint(blob(rng, rng.uniform(0.15, 0.85, 2) * size, rng.uniform(12, 24)), VOID)


def _plan_things(rng: Rng, shape: Shape, kind: Kind) -> list[Thing]:
    """Instances from the front to the back: perhaps a crowd, then those of the kind, alone and in clusters."""
    hidden = np.zeros(shape, bool)
    kept: list[Thing] = []
    if rng.random() < CROWD_SHARE:
        kept += _visible(_cluster(rng, shape, kind, int(rng.integers(12, 22)), (9, 13), 1.9, is_crowd=True), hidden)
    wanted = len(kept) + rng.integers(*kind.things)
    while len(kept) < wanted and hidden.mean() < 0.9:
        if rng.random() < kind.clustered:
            new = _cluster(rng, shape, kind, int(rng.integers(*kind.in_cluster)), (24, 54), kind.spread)
        else:
            new = _cluster(rng, shape, kind)
        kept += _visible(new[: wanted - len(kept)], hidden)
    return kept


def _cluster(
    rng: Rng,
    shape: Shape,
    kind: Kind,
    count: int = 1,
    sizes: tuple[int, int] = (20, 96),
    spread: float = 0.0,
    is_crowd: bool = False,
) -> list[Thing]:
    """``count`` instances of one class and similar size, at most ``spread`` sizes from one point; some share colors."""
    category = int(rng.choice(kind.outlines))
    center = rng.uniform(0.08, 0.92, 2) * shape[::-1]
    size = math.exp(rng.uniform(*np.log(sizes)))
    colors = two_colors(rng)
    things = []
    for _ in range(count):
        angle, distance = rng.uniform(0, 2 * math.pi), spread * size * math.sqrt(rng.random())
        own_center = center + distance * np.array([math.cos(angle), math.sin(angle)])
        own_size = size * rng.uniform(0.85, 1.15)
        contours = place_outline(rng, _OUTLINES[category], own_center, own_size, 0.65 * min(shape))
        things.append(Thing(category, contours, own_size, colors if rng.random() < 0.5 else two_colors(rng), is_crowd))
    return things


def _visible(things: list[Thing], hidden: npt.NDArray[np.bool_]) -> list[Thing]:
    """The instances, front to back, that are visible enough; marks the pixels that they cover in ``hidden``."""
    kept = []
    for thing in things:
        stamp = rasterize(thing.contours, hidden.shape)
        before = hidden[stamp.window]
        areas = [cv2.contourArea(contour.astype(np.float32)) for contour in thing.contours]
        if np.count_nonzero(stamp.mask & ~before) >= max(MIN_PIXELS, MIN_VISIBLE * (areas[0] - sum(areas[1:]))):
            kept.append(thing)
            before |= stamp.mask
    return kept


def _paint_things(rng: Rng, canvas: Canvas, things: list[Thing], light: Floats) -> None:
    """Paint instances from the back to the front; the members of a crowd share one slot."""
    shadow = rng.uniform(0.2, 0.45) if rng.random() < 0.6 else 0.0
    crowd = canvas.new_slot(things[0].category, is_crowd=True) if things[0].is_crowd else VOID
    for thing in reversed(things):
        if shadow:
            paint_shadow(canvas, thing, light, shadow)
        stamp = rasterize(thing.contours, canvas.shape)
        slot = crowd if thing.is_crowd else canvas.new_slot(thing.category)
        canvas.paint(stamp, thing_fill(rng, thing, stamp, light), slot)


def _panoptic_map(rng: Rng, canvas: Canvas) -> PanopticMap:
    """Turn slots into segments with random 24-bit ids; a slot with too few visible pixels becomes void."""
    things = {category.id for category in CATEGORIES if category.is_thing}
    slots = [
        Segment(slot, category, category in things, None, 0, None, is_crowd)
        for slot, (category, is_crowd) in enumerate(canvas.records, start=1)
    ]
    segments = PanopticMap.measured(canvas.slots, slots).segments
    ids = np.append(VOID, 1 + rng.choice(2**24 - 1, len(slots), replace=False)).astype(np.int32)
    ids[[segment.id for segment in segments if segment.area < MIN_PIXELS]] = VOID
    kept = [replace(segment, id=int(ids[segment.id])) for segment in segments if ids[segment.id] != VOID]
    return PanopticMap(ids[canvas.slots], kept)


def write_shapes(
    root: Path,
    train: int,
    val: int,
    seed: int = 0,
    progress: Callable[[int], None] | None = None,
    kind: str = "plain",
) -> None:
    """Write ``train`` and ``val`` scenes as a COCO panoptic data set; a split of 0 scenes is not touched.

    The scenes are of one of ``KINDS``. ``root`` gets ``{split}2017/*.jpg``, ``annotations/panoptic_{split}2017/*.png``
    and, last for each split, ``annotations/panoptic_{split}2017.json``. The image id is the index of the scene plus
    one. ``progress`` is called with the number of scenes written so far.

    Raises:
        PanopticBlendError: a count or the seed is negative, both counts are 0, ``train`` is too large, there is no such
            kind, or ``root`` holds another data set, or another process writes into it.
    """
    if kind not in KINDS:
        raise PanopticBlendError(f"shapes: there is no kind {kind!r}; take {' or '.join(KINDS)}")
    if min(train, val) < 0 or train + val == 0 or train > VAL_START or seed < 0:
        raise PanopticBlendError(
            f"shapes: train={train}, val={val}, seed={seed}: not a data set; give counts and a seed of 0 or more, "
            f"at least one scene, and at most {VAL_START} training scenes"
        )
    splits = {name: range(first, first + n) for name, first, n in (("train", 0, train), ("val", VAL_START, val)) if n}
    with locked(Path(root), "--output"):
        _write_splits(Path(root), splits, seed, kind, progress)


def _write_splits(
    root: Path, splits: Mapping[str, range], seed: int, kind: str, progress: Callable[[int], None] | None
) -> None:
    annotations = root / "annotations"
    for name in splits:
        _require_own(annotations / f"panoptic_{name}2017.json")
    for name in splits:  # a split without a JSON is recognized as unfinished
        (annotations / f"panoptic_{name}2017.json").unlink(missing_ok=True)
    for folder in (annotations, *(root / f"{name}2017" for name in splits)):
        remove_unfinished(folder.rglob(".*"))
    written = 0
    for name, indices in splits.items():
        images, stem = root / f"{name}2017", annotations / f"panoptic_{name}2017"
        images.mkdir(parents=True, exist_ok=True)
        with PanopticWriter(stem.with_suffix(".json"), stem, categories=CATEGORIES) as writer:
            for index in indices:
                scene = generate(seed, index, kind)
                file_name = f"{index + 1:012d}.jpg"
                write_picture(images / file_name, scene.image)
                writer.add(index + 1, file_name, scene.panoptic)
                written += 1
                if progress is not None:
                    progress(written)


def _require_own(path: Path) -> None:
    """Raise an error if the annotations of another data set are at ``path``."""
    if path.exists():
        content = read_json(path)
        if not isinstance(content, dict) or content.get("categories") != Categories(CATEGORIES).records():
            raise PanopticBlendError(f"{path}: belongs to another data set; choose another --output")
