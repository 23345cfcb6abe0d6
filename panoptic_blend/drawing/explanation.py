"""Draw how a model came to its results on a picture: bases, attentions, classes, and the way of a single detection."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.drawing.detections import Detection, draw_way
from panoptic_blend.drawing.figures import (
    Array,
    Canvas,
    Color,
    draw_attentions,
    heat_maps,
    in_rows,
    mix,
    side_by_side,
    to_picture,
)
from panoptic_blend.drawing.overlay import category_color, draw, draw_boxes
from panoptic_blend.formats.images import Picture
from panoptic_blend.structures import Category, PanopticMap

SHOWN_SIDES = (384, 640)
"""Range of the longer side, in pixels, to which pictures are enlarged or reduced."""
LISTED = 10
"""Number of detections whose boxes are drawn."""
_FRAME = 4
_BASIS_COLORS: tuple[Color, ...] = ((214, 60, 52), (45, 105, 205), (236, 186, 44), (52, 152, 78))
"""Colors of the first bases, as in the paper: red, blue, yellow, green."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """What a model saw in a picture, and how it came to the chosen detections."""

    photo: Picture
    categories: Sequence[Category]
    panoptic: PanopticMap
    semantic: PanopticMap | None
    """The classes of the semantic head, one segment each; id 0 is the class of all things."""
    boxes: Array
    """(D, 4) of all detections, best first."""
    titles: list[str]
    """Number, name and score of all detections."""
    detections: dict[int, Detection]
    """The chosen ones by their numbers, best first."""
    bases: Array | None
    """(K, h, w), covering the picture."""
    remarks: list[str]
    """A line for everything that this model does not have."""

    def figures(self) -> dict[str, Picture]:
        """All drawings by file name."""
        shown = _resized(self)
        chosen = list(shown.detections.values())
        found = {"classes.png": _classes(shown)}
        if shown.bases is not None:
            found["bases.png"] = _bases(shown.photo, shown.bases, chosen)
            if chosen and all(one.parts.attentions is not None for one in chosen):
                found["attentions.png"] = _blending(shown.photo, shown.bases, chosen)
        return found | {
            f"detection_{number}.png": draw_way(shown.photo, one) for number, one in shown.detections.items()
        }


def _resized(found: Explanation) -> Explanation:
    """The same with a picture whose longer side is within `SHOWN_SIDES`."""
    height, width = found.photo.shape[:2]
    side = max(height, width)
    scale = float(np.clip(side, *SHOWN_SIDES)) / side
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    photo = cv2.resize(found.photo, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    across, down = size[0] / width, size[1] / height
    factors = np.array([across, down, across, down])
    rows, columns = (np.arange(new) * old // new for new, old in ((size[1], height), (size[0], width)))

    def taken(pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return pixels[rows[:, None], columns]

    def resized(panoptic: PanopticMap) -> PanopticMap:
        return PanopticMap(taken(panoptic.segment_ids), panoptic.segments)

    def moved(one: Detection) -> Detection:
        origin = one.parts.origin
        if origin is not None:
            origin = replace(origin, point=(origin.point[0] * across, origin.point[1] * down))
        return replace(one, box=one.box * factors, mask=taken(one.mask), parts=replace(one.parts, origin=origin))

    return replace(
        found,
        photo=np.asarray(photo, np.uint8),
        panoptic=resized(found.panoptic),
        semantic=found.semantic and resized(found.semantic),
        boxes=found.boxes * factors,
        detections={number: moved(one) for number, one in found.detections.items()},
    )


def _classes(found: Explanation) -> Picture:
    """The photo, the classes of the semantic head, the best detections, and the map that both were fused into."""
    shown = {"photo": found.photo}
    if found.semantic is not None:
        things = Category(0, "things", is_thing=False, color=(120, 124, 132))
        shown["semantic classes"] = draw(found.photo, found.semantic, [*found.categories, things])
    best = slice(LISTED - 1, None, -1) if len(found.titles) > LISTED else slice(None, None, -1)  # the best is on top
    shown["detections"] = draw_boxes(found.photo, found.boxes[best], found.titles[best])
    shown["panoptic map"] = draw(found.photo, found.panoptic, found.categories)
    return side_by_side(list(shown.values()), list(shown))


# Bases and attentions of the whole picture


def _bases(photo: Picture, bases: Array, detections: Sequence[Detection]) -> Picture:
    """The bases in frames of their colors, and their weights at the detections in these colors (figure 3)."""
    colors = [_basis_color(k) for k in range(len(bases))]
    framed = [_framed(heat, color) for heat, color in zip(heat_maps(bases, photo), colors, strict=True)]
    shown = {"photo": photo, **{f"basis {k}": picture for k, picture in enumerate(framed, start=1)}}
    weighted = [one for one in detections if one.parts.weights is not None and len(bases) > 1]
    if weighted:
        canvas = np.repeat(photo.mean(axis=2, keepdims=True, dtype=np.float32), 3, axis=2)
        for one in reversed(weighted):
            _project(canvas, one, colors)
        shown["attentions, in the colors of the bases"] = to_picture(canvas)
    return in_rows(list(shown.values()), list(shown))


def _project(canvas: Canvas, one: Detection, colors: Sequence[Color]) -> None:
    """Color the box of a detection by its weights of the bases, its mask more strongly."""
    assert one.parts.weights is not None
    mixed = np.tensordot(one.parts.weights, np.array(colors, np.float32), axes=(0, 0)).astype(np.float32)
    height, width = canvas.shape[:2]
    left, right = np.clip([np.floor(one.box[0]), np.ceil(one.box[2])], 0, width).astype(int).tolist()
    top, bottom = np.clip([np.floor(one.box[1]), np.ceil(one.box[3])], 0, height).astype(int).tolist()
    if left < right and top < bottom:
        area = np.asarray(cv2.resize(mixed, (right - left, bottom - top)), np.float32)
        opacity = np.where(one.mask[top:bottom, left:right], np.float32(0.8), np.float32(0.3))
        mix(canvas[top:bottom, left:right], area, opacity)


def _basis_color(k: int) -> Color:
    return _BASIS_COLORS[k] if k < len(_BASIS_COLORS) else category_color(k)


def _framed(picture: Picture, color: Color) -> Picture:
    inner = picture[_FRAME:-_FRAME, _FRAME:-_FRAME]
    sides = ((_FRAME, _FRAME), (_FRAME, _FRAME))
    return np.stack([np.pad(inner[..., c], sides, constant_values=color[c]) for c in range(3)], axis=-1)


def _blending(photo: Picture, bases: Array, detections: Sequence[Detection]) -> Picture:
    """How the masks of detections are blended (figure 1)."""
    boxes, masks = np.array([one.box for one in detections]), np.array([one.mask for one in detections])
    attentions = np.array([one.parts.attentions for one in detections])
    return draw_attentions(photo, boxes, attentions, masks, bases, [one.title for one in detections])
