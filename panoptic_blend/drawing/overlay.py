"""Draw panoptic maps and boxes over their photo.

Pictures are RGB uint8 arrays (H, W, 3); every function returns a new one. Things have an outline and a boxed label
with name and score, stuff has a flat color and a plain label, crowds are hatched, and void is dark with light
hatching. `figures` draws other pictures.
"""

from __future__ import annotations

import colorsys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from panoptic_blend.drawing.figures import (
    DARK,
    LIGHT,
    Canvas,
    Color,
    boxed_text,
    checked,
    haloed_text,
    is_drawable,
    label_size,
    mix,
    to_picture,
)
from panoptic_blend.formats.images import Picture
from panoptic_blend.structures import Category, PanopticBlendError, PanopticMap, Segment

Window = tuple[slice, slice]
IndexMap = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Region:
    """A segment in the picture: its window and, in it, the distance of its pixels to the outside."""

    segment: Segment
    color: Color
    window: Window
    depth: Canvas
    area: int


def draw(
    image: Picture,
    panoptic_map: PanopticMap,
    categories: Sequence[Category | Mapping[str, object]] | None = None,
    *,
    shades: bool = True,
) -> Picture:
    """Draw a panoptic map over its photo (H, W, 3); the result has the size of the photo.

    A category has the same color in every picture: its own ``color``, or one derived from its id. Instances of a thing
    class have different shades of it, in the order of ``segments``; without ``shades`` they all have the color of
    their class, so that colors do not flicker between the frames of a video. Labels show the name of the category, or
    its id if it is not in ``categories``, and both if OpenCV cannot draw every letter of the name; labels that do not
    fit are left out. Pixels of unlisted segments are void. Raises PanopticBlendError if the photo is not (H, W, 3)
    uint8 or does not have the size of the map.
    """
    checked(image)
    if panoptic_map.segment_ids.shape != image.shape[:2]:
        sizes = [" x ".join(map(str, shape)) for shape in (image.shape[:2], panoptic_map.segment_ids.shape)]
        raise PanopticBlendError(f"the image has {sizes[0]} pixels, its panoptic map {sizes[1]}; resize one of them")
    known = {category.id: category for category in map(Category.parse, categories or ())}
    index_map = panoptic_map.index()
    colors = _segment_colors(panoptic_map.segments, known, shades)
    canvas = _paint_segments(image, index_map, panoptic_map.segments, colors)
    regions = _regions(index_map, panoptic_map.segments, colors)
    for region in regions:
        if region.segment.is_thing and not region.segment.is_crowd:
            _outline(canvas, region)
    taken: list[Window] = []
    for region in sorted(regions, key=lambda region: (not region.segment.is_thing, -region.area)):
        _label(canvas, region, known.get(region.segment.category), taken)
    return to_picture(canvas)


def draw_boxes(
    image: Picture,
    boxes: npt.NDArray[np.floating[Any]],
    labels: Sequence[str],
    colors: Sequence[Color] | None = None,
) -> Picture:
    """Draw boxes (D, 4) with their labels; by default the n-th box has the n-th palette color."""
    canvas = checked(image).astype(np.float32)
    height, width = image.shape[:2]
    palette = colors if colors is not None else [category_color(index) for index in range(len(labels))]
    corners = np.clip(np.asarray(boxes, np.float64).reshape(-1, 4).round(), -4, max(height, width) + 4)
    items = list(zip(corners.astype(int).tolist(), labels, palette, strict=True))
    for (x0, y0, x1, y1), _, color in items:
        cv2.rectangle(canvas, (x0, y0), (max(x0, x1 - 1), max(y0, y1 - 1)), color, 2)
    for (x0, y0, x1, y1), label, color in items:
        rows, columns = label_size(label, _text_height(image))
        if rows <= height and columns <= width and x0 < width and y0 < height and min(x1, y1) > 0:
            top, left = min(max(y0 - rows, 0), height - rows), min(max(x0 - 1, 0), width - columns)
            boxed_text(canvas[top : top + rows, left : left + columns], label, color)
    return to_picture(canvas)


def enlarge(image: Picture, panoptic_map: PanopticMap, scale: int) -> tuple[Picture, PanopticMap]:
    """Enlarge photo and map by the factor ``scale``, so that labels fit on a small picture."""
    height, width = checked(image).shape[:2]
    large = cv2.resize(image, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC)
    segment_ids = panoptic_map.segment_ids.repeat(scale, axis=0).repeat(scale, axis=1)
    segments = [_enlarged(segment, scale) for segment in panoptic_map.segments]
    return np.asarray(large, np.uint8), PanopticMap(segment_ids, segments)


def category_color(category_id: int) -> Color:
    """Palette color of a category id; consecutive ids have distant hues."""
    hue = int(category_id) * 137_508 % 360_000 / 360_000  # steps of the golden angle
    return _rgb(hue, (0.50, 0.60, 0.42)[category_id % 3], 0.60)


def instance_color(base: Color, index: int) -> Color:
    """The ``index``-th shade of a class color; shade 0 is the color itself.

    Lightness and hue step by irrational fractions of their ranges, so that all shades differ.
    """
    if index == 0:
        return base
    hue, lightness, saturation = colorsys.rgb_to_hls(*(channel / 255 for channel in base))
    turn = 0.12 * ((index * 0.754878 + 0.5) % 1 - 0.5)
    shift = 0.40 * (index * 0.618034 % 1)
    return _rgb(hue + turn, lightness + (shift if lightness < 0.5 else -shift), saturation)


def _rgb(hue: float, lightness: float, saturation: float) -> Color:
    red, green, blue = colorsys.hls_to_rgb(hue % 1, lightness, saturation)
    return round(255 * red), round(255 * green), round(255 * blue)


def _segment_colors(segments: Sequence[Segment], known: Mapping[int, Category], shades: bool) -> list[Color]:
    instances: Counter[int] = Counter()
    colors = []
    for segment in segments:
        category = known.get(segment.category)
        base = category.color if category and category.color else category_color(segment.category)
        countable = shades and segment.is_thing and not segment.is_crowd
        colors.append(instance_color(base, instances[segment.category]) if countable else base)
        instances[segment.category] += countable
    return colors


def _enlarged(segment: Segment, scale: int) -> Segment:
    x0, y0, x1, y1 = (scale * edge for edge in segment.box or (0, 0, 0, 0))
    return replace(segment, area=segment.area * scale**2, box=(x0, y0, x1, y1) if segment.box else None)


def _regions(index_map: IndexMap, segments: Sequence[Segment], colors: Sequence[Color]) -> list[Region]:
    regions = []
    windows = ndimage.find_objects(index_map, len(segments)) if segments else []
    for index, (segment, color, window) in enumerate(zip(segments, colors, windows, strict=True), start=1):
        if window is not None:
            mask = np.pad(index_map[window] == index, 1).astype(np.uint8)
            depth = cv2.distanceTransform(mask, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
            # whole squares, which removes rounding differences between calls of OpenCV
            exact = np.sqrt(np.rint(np.square(depth, dtype=np.float64)))
            regions.append(Region(segment, color, window, exact.astype(np.float32), int(mask.sum())))
    return regions


def _hatch(shape: tuple[int, ...], slope: int) -> Canvas:
    """Antialiased diagonal stripes (H, W), 0..1."""
    period = max(8, min(shape) // 80)
    y, x = np.indices(shape, np.int32, sparse=True)
    offset = np.abs((x + slope * y) % period - period / 2)
    return np.asarray(np.clip(period / 4 + 0.5 - offset, 0, 1), np.float32)


def _paint_segments(
    image: Picture, index_map: IndexMap, segments: Sequence[Segment], colors: Sequence[Color]
) -> Canvas:
    """Mix the photo, slightly desaturated, with the color of the segment of each pixel."""
    canvas = image.astype(np.float32)
    gray = canvas[..., 0] + canvas[..., 1] + canvas[..., 2]
    mix(canvas, np.asarray(cv2.merge([gray / np.float32(3)] * 3)), 0.5)
    opacity = np.array([0.65, *(0.55 if segment.is_thing else 0.42 for segment in segments)], np.float32)
    alpha = opacity.take(index_map)
    if any(segment.is_crowd for segment in segments):
        crowd = np.array([0.0, *(0.35 * segment.is_crowd for segment in segments)], np.float32)
        alpha -= crowd.take(index_map) * _hatch(index_map.shape, slope=1)
    mix(canvas, np.array([DARK, *colors], np.float32).take(index_map, axis=0), alpha)
    if not index_map.all():
        mix(canvas, LIGHT, 0.3 * (index_map == 0) * _hatch(index_map.shape, slope=-1))
    return canvas


def _outline(canvas: Canvas, region: Region) -> None:
    """Draw a line along the inner side of the edge of a thing, in a light tint of its color."""
    thickness = max(1.0, min(canvas.shape[:2]) / 320)
    line = np.clip(thickness + 1 - region.depth, 0, 1) * (region.depth > 0)
    mix(canvas[region.window], 0.4 * np.array(region.color, np.float32) + 153, 0.9 * line)


def _label(canvas: Canvas, region: Region, category: Category | None, taken: list[Window]) -> None:
    """Write name and score into the segment, or only the name, or nothing, depending on the space."""
    segment = region.segment
    name = category.name if category else str(segment.category)
    if not is_drawable(name):
        name = f"{segment.category} {name}"
    name += " (crowd)" if segment.is_crowd else ""
    for text in [name] if segment.score is None else [f"{name} {segment.score:.2f}", name]:
        window = _free_window(canvas, region, *label_size(text, _text_height(canvas)), taken)
        if window:
            taken.append(window)
            if segment.is_thing:
                boxed_text(canvas[window], text, region.color)
            else:
                haloed_text(canvas[window], text)
            return


def _text_height(picture: npt.NDArray[Any]) -> int:
    """Height in pixels of a line of text for a picture of this size."""
    height, width = picture.shape[:2]
    return int(np.clip(min(height, width) // 32, 11, 36))


def _free_window(canvas: Canvas, region: Region, height: int, width: int, taken: Sequence[Window]) -> Window | None:
    """The most interior window for a label of this size, or None.

    At least half of a thing label and 90% of a stuff label must lie in the segment. A label covers at most a third of
    its segment, lies in the picture and overlaps no other label.
    """
    if 3 * height * width > region.area:
        return None
    top, left = region.window[0].start, region.window[1].start
    inside = (region.depth > 0).astype(np.float32)
    share = cv2.boxFilter(inside, -1, (width, height), borderType=cv2.BORDER_CONSTANT)  # of a label centered here
    score = np.where(share >= (0.5 if region.segment.is_thing else 0.9), share + region.depth / region.depth.max(), 0)
    up, back = height // 2, width // 2
    score[: max(up - top, 0)] = 0
    score[:, : max(back - left, 0)] = 0
    score[max(canvas.shape[0] - height + up + 1 - top, 0) :] = 0
    score[:, max(canvas.shape[1] - width + back + 1 - left, 0) :] = 0
    for rows, columns in taken:  # exclude centers of labels that would touch this one
        y, x = max(rows.start - height + up - top, 0), max(columns.start - width + back - left, 0)
        score[y : max(rows.stop + up + 1 - top, 0), x : max(columns.stop + back + 1 - left, 0)] = 0
    y, x = np.unravel_index(int(score.argmax()), score.shape)
    if score[y, x] == 0:
        return None
    y, x = int(y) + top - up, int(x) + left - back
    return slice(y, y + height), slice(x, x + width)
