"""Shapes: a generated panoptic data set, small enough to train on in minutes and hard enough to tell methods apart.

A scene is a landscape of textured stuff with three to nine things before it. Things are told apart by their outline
(solid, hollow, concave, thin), never by their colour; stuff by colour and texture. There are clusters of overlapping
instances of one class, occlusion, crowds (one segment for a bunch of small instances) and void regions. Everything is
a polygon, drawn at four times the resolution and averaged: the average is the blending weight in the image, and a
pixel belongs to a segment that covers at least half of it.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from panoptic_blend.data.coco_panoptic import PanopticWriter
from panoptic_blend.data.images import write_picture
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
"""Index of the first validation scene. Training scenes count from 0, so no scene is in both splits."""

SIDES = (96, 112, 128, 144, 160)
MIN_PIXELS, MIN_VISIBLE = 20, 0.3  # of a segment in pixels; of a thing's outline, as a share
SUPERSAMPLING = 4
FAR = 300  # beyond the corners of any image, in pixels from its centre
CROWD_SHARE, BAND_SHARE, VOID_SHARE = 0.1, 0.1, 0.2

Rng = np.random.Generator
Shape = tuple[int, int]
Floats = npt.NDArray[np.float32]
Contours = list[npt.NDArray[np.float64]]


@dataclass(frozen=True, eq=False)
class Scene:
    """An image (H, W, 3) uint8 RGB and the truth about it, under the category ids of `CATEGORIES`."""

    image: npt.NDArray[np.uint8]
    panoptic: PanopticMap


@dataclass(frozen=True, eq=False)
class _Stamp:
    """A rasterised polygon: how much of each pixel of a window of the canvas it covers, 0..1."""

    window: tuple[slice, slice]
    coverage: Floats

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        return self.coverage >= 0.5


@dataclass(frozen=True, eq=False)
class _Thing:
    category: int
    contours: Contours
    size: float
    colors: Floats  # (2, 3): ground and pattern
    is_crowd: bool


class _Canvas:
    """The picture under way: its colours, the slot that owns each pixel (0 void), and what each slot stands for."""

    def __init__(self, height: int, width: int) -> None:
        self.shape = height, width
        self.image = np.zeros((height, width, 3), np.float32)
        self.slots = np.zeros((height, width), np.int32)
        self.records: list[tuple[int, bool]] = []  # category, is_crowd of slot 1, 2, ...

    def new_slot(self, category: int, is_crowd: bool = False) -> int:
        self.records.append((category, is_crowd))
        return len(self.records)

    def paint(self, stamp: _Stamp, fill: Floats, slot: int) -> None:
        """Blend ``fill`` (window, 3) into the image and give the covered pixels to ``slot``."""
        image = self.image[stamp.window]
        image += stamp.coverage[..., None] * (fill - image)
        self.slots[stamp.window][stamp.mask] = slot


def generate(seed: int, index: int) -> Scene:
    """The scene of this seed and index: a function of the two alone."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, index])))
    height, width = rng.choice(SIDES, 2).tolist()
    canvas = _Canvas(height, width)
    _paint_stuff(rng, canvas)
    angle = rng.uniform(0, 2 * math.pi)
    light = np.array([math.cos(angle), math.sin(angle)], np.float32)
    _paint_things(rng, canvas, _plan_things(rng, canvas.shape), light)
    return Scene(_expose(rng, canvas.image, light), _panoptic_map(rng, canvas))


# Outlines: polygons about the origin, about two units wide; a second polygon is a hole.


def _circle(radius: float = 1.0) -> npt.NDArray[np.float64]:
    angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    return radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def _disk(rng: Rng) -> Contours:
    return [_circle()]


def _ring(rng: Rng) -> Contours:
    return [_circle(), _circle(rng.uniform(0.4, 0.65))]


def _square(rng: Rng) -> Contours:
    return [np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])]


def _triangle(rng: Rng) -> Contours:
    return [np.array([(rng.uniform(-0.5, 0.5), -1.0), (1.0, 0.8), (-1.0, 0.8)])]


def _star(rng: Rng) -> Contours:
    angles = np.arange(10) * (math.pi / 5)
    radii = np.where(np.arange(10) % 2, rng.uniform(0.38, 0.5), 1.0)
    return [radii[:, None] * np.stack([np.sin(angles), -np.cos(angles)], 1)]


def _bar(rng: Rng) -> Contours:
    """A stroke along an arc: thin, and bent by chance, so that its box says little about its mask."""
    bend = rng.uniform(0.05, 1.3)
    radius, half_width = 1 / bend, rng.uniform(0.13, 0.19)
    angles = np.linspace(-bend, bend, 12)
    normals = np.stack([np.sin(angles), np.cos(angles)], 1)
    return [np.concatenate([(radius + half_width) * normals, (radius - half_width) * normals[::-1]])]


_OUTLINES: dict[int, Callable[[Rng], Contours]] = {
    DISK: _disk,
    RING: _ring,
    SQUARE: _square,
    TRIANGLE: _triangle,
    STAR: _star,
    BAR: _bar,
}


def _blob(rng: Rng, center: npt.NDArray[np.float64], radius: float) -> Contours:
    circle = _circle()
    angles = np.arctan2(circle[:, 1], circle[:, 0])
    waves = [rng.uniform(0, 0.5 / k) * np.sin(k * angles + rng.uniform(0, 7)) for k in (2, 3, 5)]
    radii = radius * (1 + np.sum(waves, axis=0))
    return [center + radii[:, None] * circle * rng.uniform((1.0, 0.6), (1.5, 1.0))]


def _rasterise(contours: Contours, shape: Shape, margin: int = 0) -> _Stamp:
    """Even-odd fill of ``contours`` (x, y), in the window around them grown by ``margin``."""
    low = np.floor(contours[0].min(0)).astype(int) - margin
    high = np.ceil(contours[0].max(0)).astype(int) + margin
    (x0, y0), (x1, y1) = np.clip(low, 0, shape[::-1]).tolist(), np.clip(high, 0, shape[::-1]).tolist()
    window = slice(y0, y1), slice(x0, x1)
    if x0 == x1 or y0 == y1:
        return _Stamp(window, np.zeros((y1 - y0, x1 - x0), np.float32))
    fine = np.zeros(((y1 - y0) * SUPERSAMPLING, (x1 - x0) * SUPERSAMPLING), np.uint8)
    points = [np.rint((contour - (x0, y0)) * SUPERSAMPLING - 0.5).astype(np.int32) for contour in contours]
    cv2.fillPoly(fine, points, 255)
    coverage = cv2.resize(fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    return _Stamp(window, np.asarray(coverage, np.float32) * np.float32(1 / 255))


# Stuff


def _noise(rng: Rng, shape: Shape, cell_x: float, cell_y: float) -> Floats:
    """Smooth noise (H, W) of zero mean and variance below 1, with features of the given size in pixels."""
    grid = rng.standard_normal((math.ceil(shape[0] / cell_y) + 2, math.ceil(shape[1] / cell_x) + 2), np.float32)
    return np.asarray(cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def _grass(rng: Rng, shape: Shape) -> Floats:
    return 0.5 + 0.2 * _noise(rng, shape, 1.5, 4) + 0.15 * _noise(rng, shape, 18, 14)


def _water(rng: Rng, shape: Shape) -> Floats:
    rows = np.arange(shape[0], dtype=np.float32)[:, None]
    ripples = np.sin(rows * rng.uniform(0.7, 1.1) + 1.6 * _noise(rng, shape, 14, 7))
    return 0.4 + 0.2 * ripples + 0.15 * _noise(rng, shape, 8, 2)


def _sand(rng: Rng, shape: Shape) -> Floats:
    return 0.55 + 0.14 * _noise(rng, shape, 1, 1) + 0.16 * _noise(rng, shape, 26, 9)


def _sky(rng: Rng, shape: Shape) -> Floats:
    rows = np.linspace(0, 0.6, shape[0], dtype=np.float32)[:, None]
    clouds: Floats = np.clip(_noise(rng, shape, 26, 11) - 0.3, 0, 1)
    return rows + 0.7 * clouds


def _rubble(rng: Rng, shape: Shape) -> Floats:
    return 0.5 + 0.4 * np.sign(_noise(rng, shape, 4, 4)) + 0.1 * _noise(rng, shape, 1, 1)


# Tone 0..1 of every pixel, and the colours at tone 0 and 1.
_TEXTURES: dict[int, tuple[Callable[[Rng, Shape], Floats], tuple[int, int, int], tuple[int, int, int]]] = {
    GRASS: (_grass, (38, 82, 24), (150, 182, 72)),
    WATER: (_water, (12, 62, 104), (92, 170, 190)),
    SAND: (_sand, (172, 132, 84), (240, 216, 166)),
    SKY: (_sky, (98, 156, 224), (244, 246, 250)),
    VOID: (_rubble, (62, 54, 62), (112, 104, 108)),
}


def _stuff_fill(rng: Rng, category: int, shape: Shape) -> Floats:
    texture, dark, light = _TEXTURES[category]
    low, high = np.array([dark, light], np.float32) + rng.normal(0, 8, 3).astype(np.float32)
    return np.asarray(low + np.clip(texture(rng, shape), 0, 1)[..., None] * (high - low), np.float32)


def _borders(rng: Rng, shape: Shape, count: int, tilt: float) -> tuple[Contours, npt.NDArray[np.float64]]:
    """Where ``count`` bands begin, one wavy line (P, 2) each, and the direction (x, y) in which they follow."""
    along, across = np.array([(math.cos(tilt), math.sin(tilt)), (-math.sin(tilt), math.cos(tilt))])
    extent = np.abs(across) @ shape[::-1]
    shares = rng.uniform(0.6, 1.4, count)
    offsets = ((np.cumsum(shares) - shares) / shares.sum() - 0.5) * extent
    offsets[0] -= extent
    steps = np.linspace(-FAR, FAR, 80)
    lines = []
    for offset in offsets:
        (slow, fast), (start, other) = rng.uniform((0, 0), (7, 2.5)), rng.uniform(0, 7, 2)
        wave = slow * np.sin(steps / 22 + start) + fast * np.sin(steps / 7 + other)
        lines.append(np.array(shape[::-1]) / 2 + steps[:, None] * along + (offset + wave)[:, None] * across)
    return lines, across


def _paint_stuff(rng: Rng, canvas: _Canvas) -> None:
    """Bands with wavy borders, from the sky down or, without sky, at any angle; then patches; then perhaps a void."""
    size = np.array(canvas.shape[::-1])
    fills = {category: _stuff_fill(rng, category, canvas.shape) for category in _TEXTURES}
    slots = {category: canvas.new_slot(category) for category in _TEXTURES if category != VOID} | {VOID: VOID}

    def paint(contours: Contours, category: int) -> None:
        stamp = _rasterise(contours, canvas.shape)
        canvas.paint(stamp, fills[category][stamp.window], slots[category])

    has_sky = rng.random() < 0.6
    bands = rng.permutation([GRASS, WATER, SAND])[: rng.choice([1, 2, 3], p=[0.25, 0.55, 0.2])].tolist()
    bands = [SKY, *bands] if has_sky else bands
    lines, across = _borders(rng, canvas.shape, len(bands), rng.normal(0, 0.08) if has_sky else rng.uniform(-3, 3))
    for category, line in zip(bands, lines, strict=True):
        paint([np.concatenate([line, line[::-1] + 2 * FAR * across])], category)
    for _ in range(rng.choice([0, 1, 2], p=[0.3, 0.5, 0.2])):
        center = rng.uniform((0, 0.65 if has_sky else 0), (1, 1)) * size
        paint(_blob(rng, center, rng.uniform(14, 34)), int(rng.choice([GRASS, WATER, SAND])))
    void = rng.random()
    if void < BAND_SHARE and len(bands) > 1:
        half_width = rng.uniform(1.5, 3) * across
        paint([np.concatenate([lines[-1] - half_width, lines[-1][::-1] + half_width])], VOID)
    elif void < VOID_SHARE:
        paint(_blob(rng, rng.uniform(0.15, 0.85, 2) * size, rng.uniform(12, 24)), VOID)


# Things


def _colors(rng: Rng) -> Floats:
    """Ground and pattern colours of any hue, unlike enough for the pattern to show."""
    hue, saturation, value = rng.uniform((0, 0.25, 0.5), (1, 0.95, 1))
    shifted = (hue + rng.uniform(-0.15, 0.15)) % 1, saturation * rng.uniform(0.3, 1), value * rng.uniform(0.45, 0.75)
    pair = [colorsys.hsv_to_rgb(hue, saturation, value), colorsys.hsv_to_rgb(*shifted)]
    return 255 * np.array(pair if rng.random() < 0.6 else pair[::-1], np.float32)


def _bunch(
    rng: Rng,
    shape: Shape,
    count: int = 1,
    sizes: tuple[int, int] = (15, 88),
    spread: float = 0.0,
    is_crowd: bool = False,
) -> list[_Thing]:
    """``count`` things of one class and similar size, up to ``spread`` sizes from one place; some share colours."""
    category = int(rng.choice(list(_OUTLINES)))
    center = rng.uniform(0.08, 0.92, 2) * shape[::-1]
    size = math.exp(rng.uniform(*np.log(sizes)))
    colors = _colors(rng)
    things = []
    for _ in range(count):
        angle, distance = rng.uniform(0, 2 * math.pi), spread * size * math.sqrt(rng.random())
        place = center + distance * np.array([math.cos(angle), math.sin(angle)])
        own_size = size * rng.uniform(0.85, 1.15)
        contours = _place(rng, category, place, own_size, 0.65 * min(shape))
        things.append(_Thing(category, contours, own_size, colors if rng.random() < 0.5 else _colors(rng), is_crowd))
    return things


def _place(rng: Rng, category: int, center: npt.NDArray[np.float64], size: float, longest: float) -> Contours:
    """An outline stretched, turned, scaled to a box of ``size`` squared pixels (no side over ``longest``) and moved."""
    angle = rng.uniform(0, 2 * math.pi)
    turn = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])
    stretch = rng.uniform(1, 1.35), 1
    contours = [(contour * stretch) @ turn for contour in _OUTLINES[category](rng)]
    extent = np.ptp(contours[0], axis=0)
    middle = contours[0].min(0) + extent / 2
    scale = min(size / math.sqrt(extent.prod()), longest / extent.max())
    return [(contour - middle) * scale + center for contour in contours]


def _plan_things(rng: Rng, shape: Shape) -> list[_Thing]:
    """Things from the front to the back: perhaps a crowd, then three to nine others, alone and in clusters."""
    hidden = np.zeros(shape, bool)
    kept: list[_Thing] = []
    if rng.random() < CROWD_SHARE:
        kept += _visible(_bunch(rng, shape, int(rng.integers(12, 22)), (9, 13), 1.9, is_crowd=True), hidden)
    wanted = len(kept) + rng.integers(3, 10)
    while len(kept) < wanted and hidden.mean() < 0.9:
        in_cluster = rng.random() < 0.25
        bunch = _bunch(rng, shape, int(rng.integers(2, 5)), (18, 48), 0.8) if in_cluster else _bunch(rng, shape)
        kept += _visible(bunch[: wanted - len(kept)], hidden)
    return kept


def _visible(things: list[_Thing], hidden: npt.NDArray[np.bool_]) -> list[_Thing]:
    """Those of ``things``, front to back, of which enough is in sight; marks what they cover as ``hidden``."""
    kept = []
    for thing in things:
        stamp = _rasterise(thing.contours, hidden.shape)
        before = hidden[stamp.window]
        areas = [cv2.contourArea(contour.astype(np.float32)) for contour in thing.contours]
        if np.count_nonzero(stamp.mask & ~before) >= max(MIN_PIXELS, MIN_VISIBLE * (areas[0] - sum(areas[1:]))):
            kept.append(thing)
            before |= stamp.mask
    return kept


def _paint_things(rng: Rng, canvas: _Canvas, things: list[_Thing], light: Floats) -> None:
    """From the back to the front; the members of a crowd share one slot."""
    shadow = rng.uniform(0.2, 0.45) if rng.random() < 0.6 else 0.0
    crowd = canvas.new_slot(things[0].category, is_crowd=True) if things[0].is_crowd else VOID
    for thing in reversed(things):
        if shadow:
            _paint_shadow(canvas, thing, light, shadow)
        stamp = _rasterise(thing.contours, canvas.shape)
        slot = crowd if thing.is_crowd else canvas.new_slot(thing.category)
        canvas.paint(stamp, _thing_fill(rng, thing, stamp, light), slot)


def _paint_shadow(canvas: _Canvas, thing: _Thing, light: Floats, strength: float) -> None:
    offset = -light * (1 + 0.06 * thing.size)
    stamp = _rasterise([contour + offset for contour in thing.contours], canvas.shape, margin=3)
    if stamp.coverage.size:  # a shadow may fall outside the picture
        canvas.image[stamp.window] *= 1 - strength * cv2.GaussianBlur(stamp.coverage, (0, 0), 1.2)[..., None]


def _thing_fill(rng: Rng, thing: _Thing, stamp: _Stamp, light: Floats) -> Floats:
    """Colours (window, 3): a pattern of two colours, lit from one side and darker towards the rim."""
    rows, columns = (np.arange(s.start, s.stop, dtype=np.float32) for s in stamp.window)
    center = thing.contours[0].mean(0).astype(np.float32)
    x, y = (columns[None, :] - center[0]) / thing.size, (rows[:, None] - center[1]) / thing.size
    ground, pattern = thing.colors
    tone = _pattern(rng, x, y, thing.size)[..., None]
    rim = 0.6 + 0.45 * cv2.GaussianBlur(stamp.coverage, (0, 0), 0.7 + 0.03 * thing.size)
    lit = rim * (1 + 0.3 * (x * light[0] + y * light[1]))
    return np.asarray((ground + tone * (pattern - ground)) * lit[..., None], np.float32)


def _pattern(rng: Rng, x: Floats, y: Floats, size: float) -> Floats:
    """Weight 0..1 of the second colour at ``x`` (1, w) and ``y`` (h, 1), in units of the thing's size."""
    turn = rng.uniform(0, 2 * math.pi)
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    waves = 2 * math.pi * max(1.0, min(rng.uniform(2, 6), size / 5))
    kind = rng.choice(["plain", "gradient", "stripes", "dots"])
    if kind == "plain":
        return 0 * u
    if kind == "gradient":
        return np.clip(0.5 + u, 0, 1)
    if kind == "stripes":
        return np.clip(0.5 + 2 * np.sin(waves * u), 0, 1)
    return np.clip(3 * np.sin(waves * u) * np.sin(waves * v) - 0.5, 0, 1)


# The finished scene


def _expose(rng: Rng, image: Floats, light: Floats) -> npt.NDArray[np.uint8]:
    """The camera: light falling off to one side, exposure and white balance, blur, noise."""
    height, width = image.shape[:2]
    ramp = np.linspace(-light[0], light[0], width)[None, :] + np.linspace(-light[1], light[1], height)[:, None]
    gain = 1 + rng.uniform(0.02, 0.2) * ramp
    balance = rng.uniform(0.85, 1.1) * (1 + rng.normal(0, 0.03, 3))
    exposed = image * (gain[..., None] * balance).astype(np.float32)
    blurred = cv2.GaussianBlur(exposed, (3, 3), rng.uniform(0.2, 0.7))
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1.5, 6))
    return np.clip(np.rint(blurred + noise), 0, 255).astype(np.uint8)


def _panoptic_map(rng: Rng, canvas: _Canvas) -> PanopticMap:
    """Slots become segments under random 24-bit ids; a slot with too few pixels left becomes void."""
    things = {category.id for category in CATEGORIES if category.is_thing}
    areas = np.bincount(canvas.slots.ravel(), minlength=len(canvas.records) + 1)
    ids = np.append(0, 1 + rng.choice(2**24 - 1, len(canvas.records), replace=False)).astype(np.int32)
    ids[areas < MIN_PIXELS] = VOID
    segments = []
    for slot, box in enumerate(ndimage.find_objects(canvas.slots), start=1):
        if ids[slot] != VOID:
            (rows, columns), (category, is_crowd) = box, canvas.records[slot - 1]
            corners = columns.start, rows.start, columns.stop, rows.stop
            area, is_thing = int(areas[slot]), category in things
            segments.append(Segment(int(ids[slot]), category, is_thing, None, area, corners, is_crowd))
    return PanopticMap(ids[canvas.slots], segments)


def write_shapes(
    root: Path, train: int, val: int, seed: int = 0, progress: Callable[[int], None] | None = None
) -> None:
    """Write ``train`` and ``val`` scenes as a COCO panoptic data set; a split of 0 scenes is left alone.

    ``root`` gets ``{split}2017/*.jpg``, ``annotations/panoptic_{split}2017/*.png`` and, last of all for each split,
    ``annotations/panoptic_{split}2017.json``. The image id is the index of the scene plus one. ``progress`` is told
    the number of scenes written so far. Raises PanopticBlendError for counts that make no data set.
    """
    if min(train, val) < 0 or train + val == 0 or train > VAL_START or seed < 0:
        raise PanopticBlendError(
            f"shapes: train={train}, val={val}, seed={seed}: give counts and a seed of 0 or more, not both counts 0, "
            f"and at most {VAL_START} training scenes"
        )
    splits = {name: range(first, first + n) for name, first, n in (("train", 0, train), ("val", VAL_START, val)) if n}
    annotations = Path(root) / "annotations"
    for name in splits:  # until its JSON is back, a split is unfinished
        (annotations / f"panoptic_{name}2017.json").unlink(missing_ok=True)
    written = 0
    for name, indices in splits.items():
        images, stem = Path(root) / f"{name}2017", annotations / f"panoptic_{name}2017"
        images.mkdir(parents=True, exist_ok=True)
        with PanopticWriter(stem.with_suffix(".json"), stem, CATEGORIES) as writer:
            for index in indices:
                scene = generate(seed, index)
                file_name = f"{index + 1:012d}.jpg"
                write_picture(images / file_name, scene.image)
                writer.add(index + 1, file_name, scene.panoptic)
                written += 1
                if progress is not None:
                    progress(written)
