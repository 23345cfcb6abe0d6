"""Panoptic maps and boxes painted over their photo.

Pictures are RGB uint8 arrays (H, W, 3); every function returns a new one. Things carry an outline
and a boxed label with name and score, stuff is a flat wash with a quiet label, crowds are hatched,
and void is dark under a light hatch. `figures` draws what is not a panoptic map.
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
    Picture,
    blend,
    boxed_text,
    checked,
    haloed_text,
    label_size,
    to_picture,
)
from panoptic_blend.structures import Category, PanopticBlendError, PanopticMap, Segment

Window = tuple[slice, slice]
IndexMap = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True)
class Region:
    """Where a segment lies: its window of the picture and, in it, the distance of its pixels to the outside."""

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
    """Paint a panoptic map over its photo (H, W, 3); the result has the photo's size.

    A category has the same base colour in every picture: its own ``color``, or one derived from its
    id. Instances of a thing class take shades of it, in the order of ``segments``; without ``shades`` they all have
    the colour of their class, which does not flicker from one frame of a video to the next. Labels show the
    category's name (its id where ``categories`` does not know it); those that do not fit are left
    out. Pixels of no listed segment count as void. Raises PanopticBlendError for a photo that is not
    (H, W, 3) uint8 or is not of the map's size.
    """
    checked(image)
    if panoptic_map.segment_ids.shape != image.shape[:2]:
        sizes = [" x ".join(map(str, shape)) for shape in (image.shape[:2], panoptic_map.segment_ids.shape)]
        raise PanopticBlendError(f"the image has {sizes[0]} pixels, its panoptic map {sizes[1]}; resize one of them")
    known = {category.id: category for category in map(Category.parse, categories or ())}
    index_map = panoptic_map.index()
    colors = _segment_colors(panoptic_map.segments, known, shades)
    canvas = _wash(image, index_map, panoptic_map.segments, colors)
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
    """Draw boxes (D, 4) with their labels; without ``colors``, the n-th box has the n-th palette colour."""
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
    """Photo and map ``scale`` times as large, so that labels fit on a small picture."""
    height, width = checked(image).shape[:2]
    large = cv2.resize(image, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC)
    segment_ids = panoptic_map.segment_ids.repeat(scale, axis=0).repeat(scale, axis=1)
    segments = [_enlarged(segment, scale) for segment in panoptic_map.segments]
    return np.asarray(large, np.uint8), PanopticMap(segment_ids, segments)


def category_color(category_id: int) -> Color:
    """The palette: a calm colour for every id; neighbouring ids lie far apart on the colour wheel."""
    hue = int(category_id) * 137_508 % 360_000 / 360_000  # steps of the golden angle
    return _rgb(hue, (0.50, 0.60, 0.42)[category_id % 3], 0.60)


def instance_color(base: Color, index: int) -> Color:
    """The ``index``-th shade of a class colour; the first is the colour itself.

    Lightness and hue step by irrational fractions of their range: any two shades differ.
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
            exact = np.sqrt(np.rint(np.square(depth, dtype=np.float64)))  # OpenCV's last bits vary from call to call
            regions.append(Region(segment, color, window, exact.astype(np.float32), int(mask.sum())))
    return regions


def _hatch(shape: tuple[int, ...], slope: int) -> Canvas:
    """Soft diagonal stripes (H, W), 0..1."""
    period = max(8, min(shape) // 80)
    y, x = np.indices(shape, np.int32, sparse=True)
    offset = np.abs((x + slope * y) % period - period / 2)
    return np.asarray(np.clip(period / 4 + 0.5 - offset, 0, 1), np.float32)


def _wash(image: Picture, index_map: IndexMap, segments: Sequence[Segment], colors: Sequence[Color]) -> Canvas:
    """The photo, a little greyer, under the colour of each pixel's segment."""
    canvas = image.astype(np.float32)
    blend(canvas, image.mean(axis=2, keepdims=True, dtype=np.float32), 0.5)
    opacity = np.array([0.65, *(0.55 if segment.is_thing else 0.42 for segment in segments)], np.float32)
    crowd = np.array([0.0, *(0.35 * segment.is_crowd for segment in segments)], np.float32)
    alpha = opacity[index_map] - crowd[index_map] * _hatch(index_map.shape, slope=1)
    blend(canvas, np.array([DARK, *colors], np.float32)[index_map], alpha)
    blend(canvas, LIGHT, 0.3 * (index_map == 0) * _hatch(index_map.shape, slope=-1))
    return canvas


def _outline(canvas: Canvas, region: Region) -> None:
    """A line along the inner side of a thing's edge, in a light tint of its colour."""
    thickness = max(1.0, min(canvas.shape[:2]) / 320)
    line = np.clip(thickness + 1 - region.depth, 0, 1) * (region.depth > 0)
    blend(canvas[region.window], 0.4 * np.array(region.color, np.float32) + 153, 0.9 * line)


def _label(canvas: Canvas, region: Region, category: Category | None, taken: list[Window]) -> None:
    """Write name and score into the segment, the name alone where only that fits, or nothing."""
    segment = region.segment
    name = (category.name if category else str(segment.category)) + (" (crowd)" if segment.is_crowd else "")
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
    """Height of a line of text that suits a picture, in pixels."""
    height, width = picture.shape[:2]
    return int(np.clip(min(height, width) // 32, 11, 36))


def _free_window(canvas: Canvas, region: Region, height: int, width: int, taken: Sequence[Window]) -> Window | None:
    """The most interior place for a label of this size, or None.

    Half of a thing's label must lie in its own segment, and nearly all of a stuff label. A label hides
    at most a third of its segment, lies in the picture and touches no other label.
    """
    if 3 * height * width > region.area:
        return None
    top, left = region.window[0].start, region.window[1].start
    inside = (region.depth > 0).astype(np.float32)
    share = cv2.boxFilter(inside, -1, (width, height), borderType=cv2.BORDER_CONSTANT)  # for a label centred there
    score = np.where(share >= (0.5 if region.segment.is_thing else 0.9), share + region.depth / region.depth.max(), 0)
    up, back = height // 2, width // 2
    score[: max(up - top, 0)] = 0
    score[:, : max(back - left, 0)] = 0
    score[max(canvas.shape[0] - height + up + 1 - top, 0) :] = 0
    score[:, max(canvas.shape[1] - width + back + 1 - left, 0) :] = 0
    for rows, columns in taken:  # no centre whose label would touch this one
        y, x = max(rows.start - height + up - top, 0), max(columns.start - width + back - left, 0)
        score[y : max(rows.stop + up + 1 - top, 0), x : max(columns.stop + back + 1 - left, 0)] = 0
    y, x = np.unravel_index(int(score.argmax()), score.shape)
    if score[y, x] == 0:
        return None
    y, x = int(y) + top - up, int(x) + left - back
    return slice(y, y + height), slice(x, x + width)
