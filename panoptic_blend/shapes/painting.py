"""Draw the scenes of Shapes: outlines, textures, a canvas and a camera.

Every region is a polygon, drawn at four times the resolution and averaged. The average is the blending weight in the
image; a pixel belongs to a segment if the segment covers at least half of it.
"""

from __future__ import annotations

import colorsys
import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

SUPERSAMPLING = 4
FAR = 300
"""A distance in pixels from the center of an image that is beyond the corners of any image."""

Rng = np.random.Generator
Shape = tuple[int, int]
Points = npt.NDArray[np.float64]
Contours = list[Points]
Floats = npt.NDArray[np.float32]
Color = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class Stamp:
    """A rasterized polygon: the share, 0..1, of each pixel that it covers in a window of the canvas."""

    window: tuple[slice, slice]
    coverage: Floats

    @property
    def mask(self) -> npt.NDArray[np.bool_]:
        return self.coverage >= 0.5


@dataclass(frozen=True, eq=False)
class Thing:
    """An instance at its position; ``colors`` (2, 3) are the colors of its ground and of its pattern."""

    category: int
    contours: Contours
    size: float
    colors: Floats
    is_crowd: bool


@dataclass(frozen=True)
class Texture:
    """The look of a stuff class: a function for its tone, 0..1, at every pixel, and its colors at tone 0 and 1."""

    tone: Callable[[Rng, Shape], Floats]
    dark: Color
    light: Color

    def fill(self, rng: Rng, shape: Shape) -> Floats:
        """The colors (H, W, 3) of a picture filled with the texture."""
        low, high = np.array([self.dark, self.light], np.float32) + rng.normal(0, 8, 3).astype(np.float32)
        return np.asarray(low + np.clip(self.tone(rng, shape), 0, 1)[..., None] * (high - low), np.float32)


class Canvas:
    """An unfinished picture: colors, the slot of each pixel (0 for void), and the category of each slot."""

    def __init__(self, height: int, width: int) -> None:
        self.shape = height, width
        self.image = np.zeros((height, width, 3), np.float32)
        self.slots = np.zeros((height, width), np.int32)
        self.records: list[tuple[int, bool]] = []  # category, is_crowd of slot 1, 2, ...

    def new_slot(self, category: int, is_crowd: bool = False) -> int:
        self.records.append((category, is_crowd))
        return len(self.records)

    def paint(self, stamp: Stamp, fill: Floats, slot: int) -> None:
        """Blend ``fill`` (window, 3) into the image and give the covered pixels to ``slot``."""
        image = self.image[stamp.window]
        image += stamp.coverage[..., None] * (fill - image)
        self.slots[stamp.window][stamp.mask] = slot


# Outlines: polygons around the origin, about two units wide; a second polygon is a hole.


def _circle(radius: float = 1.0) -> Points:
    angles = np.linspace(0, 2 * math.pi, 40, endpoint=False)
    return radius * np.stack([np.cos(angles), np.sin(angles)], 1)


def disk(rng: Rng) -> Contours:
    return [_circle()]


def ring(rng: Rng) -> Contours:
    return [_circle(), _circle(rng.uniform(0.4, 0.65))]


def square(rng: Rng) -> Contours:
    return [np.array([(-1.0, -1.0), (1.0, -1.0), (1.0, 1.0), (-1.0, 1.0)])]


def triangle(rng: Rng) -> Contours:
    return [np.array([(rng.uniform(-0.5, 0.5), -1.0), (1.0, 0.8), (-1.0, 0.8)])]


def star(rng: Rng) -> Contours:
    angles = np.arange(10) * (math.pi / 5)
    radii = np.where(np.arange(10) % 2, rng.uniform(0.38, 0.5), 1.0)
    return [radii[:, None] * np.stack([np.sin(angles), -np.cos(angles)], 1)]


def bar(rng: Rng) -> Contours:
    """A thin stroke along an arc with random curvature, so that its box says little about its mask."""
    bend = rng.uniform(0.05, 1.3)
    radius, half_width = 1 / bend, rng.uniform(0.13, 0.19)
    angles = np.linspace(-bend, bend, 12)
    normals = np.stack([np.sin(angles), np.cos(angles)], 1)
    return [np.concatenate([(radius + half_width) * normals, (radius - half_width) * normals[::-1]])]


def blob(rng: Rng, center: Points, radius: float) -> Contours:
    circle = _circle()
    angles = np.arctan2(circle[:, 1], circle[:, 0])
    waves = [rng.uniform(0, 0.5 / k) * np.sin(k * angles + rng.uniform(0, 7)) for k in (2, 3, 5)]
    radii = radius * (1 + np.sum(waves, axis=0))
    return [center + radii[:, None] * circle * rng.uniform((1.0, 0.6), (1.5, 1.0))]


def place_outline(
    rng: Rng, outline: Callable[[Rng], Contours], center: Points, size: float, longest: float
) -> Contours:
    """Stretch and turn an outline, scale its box to ``size`` ** 2 pixels with no side over ``longest``, and move it."""
    angle = rng.uniform(0, 2 * math.pi)
    turn = np.array([(math.cos(angle), math.sin(angle)), (-math.sin(angle), math.cos(angle))])
    stretch = rng.uniform(1, 1.35), 1
    contours = [(contour * stretch) @ turn for contour in outline(rng)]
    extent = np.ptp(contours[0], axis=0)
    middle = contours[0].min(0) + extent / 2
    scale = min(size / math.sqrt(extent.prod()), longest / extent.max())
    return [(contour - middle) * scale + center for contour in contours]


def rasterize(contours: Contours, shape: Shape, margin: int = 0) -> Stamp:
    """Fill ``contours`` (x, y) by the even-odd rule, in their window grown by ``margin`` pixels."""
    low = np.floor(contours[0].min(0)).astype(int) - margin
    high = np.ceil(contours[0].max(0)).astype(int) + margin
    (x0, y0), (x1, y1) = np.clip(low, 0, shape[::-1]).tolist(), np.clip(high, 0, shape[::-1]).tolist()
    window = slice(y0, y1), slice(x0, x1)
    if x0 == x1 or y0 == y1:
        return Stamp(window, np.zeros((y1 - y0, x1 - x0), np.float32))
    fine = np.zeros(((y1 - y0) * SUPERSAMPLING, (x1 - x0) * SUPERSAMPLING), np.uint8)
    points = [np.rint((contour - (x0, y0)) * SUPERSAMPLING - 0.5).astype(np.int32) for contour in contours]
    cv2.fillPoly(fine, points, 255)
    coverage = cv2.resize(fine, (x1 - x0, y1 - y0), interpolation=cv2.INTER_AREA)
    return Stamp(window, np.asarray(coverage, np.float32) * np.float32(1 / 255))


# Stuff


def _noise(rng: Rng, shape: Shape, cell_x: float, cell_y: float) -> Floats:
    """Smooth noise (H, W) of zero mean and variance below 1, with features of the given size in pixels."""
    grid = rng.standard_normal((math.ceil(shape[0] / cell_y) + 2, math.ceil(shape[1] / cell_x) + 2), np.float32)
    return np.asarray(cv2.resize(grid, shape[::-1], interpolation=cv2.INTER_CUBIC), np.float32)


def grass(rng: Rng, shape: Shape) -> Floats:
    return 0.5 + 0.2 * _noise(rng, shape, 1.5, 4) + 0.15 * _noise(rng, shape, 18, 14)


def water(rng: Rng, shape: Shape) -> Floats:
    rows = np.arange(shape[0], dtype=np.float32)[:, None]
    ripples = np.sin(rows * rng.uniform(0.7, 1.1) + 1.6 * _noise(rng, shape, 14, 7))
    return 0.4 + 0.2 * ripples + 0.15 * _noise(rng, shape, 8, 2)


def sand(rng: Rng, shape: Shape) -> Floats:
    return 0.55 + 0.14 * _noise(rng, shape, 1, 1) + 0.16 * _noise(rng, shape, 26, 9)


def sky(rng: Rng, shape: Shape) -> Floats:
    rows = np.linspace(0, 0.6, shape[0], dtype=np.float32)[:, None]
    clouds: Floats = np.clip(_noise(rng, shape, 26, 11) - 0.3, 0, 1)
    return rows + 0.7 * clouds


def rubble(rng: Rng, shape: Shape) -> Floats:
    return 0.5 + 0.4 * np.sign(_noise(rng, shape, 4, 4)) + 0.1 * _noise(rng, shape, 1, 1)


def borders(rng: Rng, shape: Shape, count: int, tilt: float) -> tuple[Contours, Points]:
    """The wavy lines (P, 2) at which ``count`` bands begin, and the direction (x, y) from one band to the next."""
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


# Things


def two_colors(rng: Rng) -> Floats:
    """A ground and a pattern color of any hue, different enough for the pattern to show."""
    hue, saturation, value = rng.uniform((0, 0.25, 0.5), (1, 0.95, 1))
    shifted = (hue + rng.uniform(-0.15, 0.15)) % 1, saturation * rng.uniform(0.3, 1), value * rng.uniform(0.45, 0.75)
    pair = [colorsys.hsv_to_rgb(hue, saturation, value), colorsys.hsv_to_rgb(*shifted)]
    return 255 * np.array(pair if rng.random() < 0.6 else pair[::-1], np.float32)


def paint_shadow(canvas: Canvas, thing: Thing, light: Floats, strength: float) -> None:
    offset = -light * (1 + 0.06 * thing.size)
    stamp = rasterize([contour + offset for contour in thing.contours], canvas.shape, margin=3)
    if stamp.coverage.size:  # a shadow may fall outside the picture
        canvas.image[stamp.window] *= 1 - strength * cv2.GaussianBlur(stamp.coverage, (0, 0), 1.2)[..., None]


def thing_fill(rng: Rng, thing: Thing, stamp: Stamp, light: Floats) -> Floats:
    """The colors (window, 3) of an instance: a pattern of two colors, lit from one side and darker toward the rim."""
    rows, columns = (np.arange(s.start, s.stop, dtype=np.float32) for s in stamp.window)
    center = thing.contours[0].mean(0).astype(np.float32)
    x, y = (columns[None, :] - center[0]) / thing.size, (rows[:, None] - center[1]) / thing.size
    ground, pattern = thing.colors
    tone = _pattern(rng, x, y, thing.size)[..., None]
    rim = 0.6 + 0.45 * cv2.GaussianBlur(stamp.coverage, (0, 0), 0.7 + 0.03 * thing.size)
    lit = rim * (1 + 0.3 * (x * light[0] + y * light[1]))
    return np.asarray((ground + tone * (pattern - ground)) * lit[..., None], np.float32)


def _pattern(rng: Rng, x: Floats, y: Floats, size: float) -> Floats:
    """The weight, 0..1, of the second color at ``x`` (1, w) and ``y`` (h, 1), in units of the instance's size."""
    turn = rng.uniform(0, 2 * math.pi)
    u, v = x * math.cos(turn) + y * math.sin(turn), y * math.cos(turn) - x * math.sin(turn)
    waves = 2 * math.pi * max(1.0, min(rng.uniform(2, 6), size / 5))
    kind = rng.choice(["plain", "gradient", "stripes", "dots"], p=[0.35, 0.35, 0.15, 0.15])
    if kind == "plain":
        return 0 * u
    if kind == "gradient":
        return np.clip(0.5 + u, 0, 1)
    if kind == "stripes":
        return np.clip(0.5 + 2 * np.sin(waves * u), 0, 1)
    return np.clip(3 * np.sin(waves * u) * np.sin(waves * v) - 0.5, 0, 1)


# The finished scene


def expose(rng: Rng, image: Floats, light: Floats) -> npt.NDArray[np.uint8]:
    """Simulate a camera: light that falls off to one side, exposure, white balance, blur and noise."""
    height, width = image.shape[:2]
    ramp = np.linspace(-light[0], light[0], width)[None, :] + np.linspace(-light[1], light[1], height)[:, None]
    gain = 1 + rng.uniform(0.02, 0.2) * ramp
    balance = rng.uniform(0.85, 1.1) * (1 + rng.normal(0, 0.03, 3))
    exposed = image * (gain[..., None] * balance).astype(np.float32)
    blurred = cv2.GaussianBlur(exposed, (3, 3), rng.uniform(0.2, 0.7))
    noise = rng.standard_normal(image.shape, np.float32) * np.float32(rng.uniform(1.5, 6))
    return np.clip(np.rint(blurred + noise), 0, 255).astype(np.uint8)
