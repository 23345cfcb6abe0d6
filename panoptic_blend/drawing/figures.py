"""Draw text, arrange pictures in rows, and show bases and attentions as heat maps.

Pictures are RGB uint8 arrays (H, W, 3). Functions that return a picture return a new one; functions that take a canvas
paint on it.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.formats.images import Picture
from panoptic_blend.structures import PanopticBlendError

Canvas = npt.NDArray[np.float32]  # a picture in progress, (H, W, 3) of 0..255, or weights of pixels, (H, W)
Color = tuple[int, int, int]
Array = npt.NDArray[Any]

DARK: Color = (22, 25, 31)
LIGHT: Color = (246, 247, 249)
PAPER: Color = (228, 230, 234)
ACCENT: Color = (255, 196, 61)
DIVERGING = np.array([(33, 82, 140), (122, 171, 209), (247, 247, 245), (224, 146, 112), (158, 42, 52)], np.uint8)
SEQUENTIAL = cv2.applyColorMap(np.arange(256, dtype=np.uint8), cv2.COLORMAP_VIRIDIS).reshape(256, 3)[:, ::-1]

GAP = 6
CELL = 96


# Rows of pictures


def side_by_side(pictures: Sequence[Picture], titles: Sequence[str], scale: int = 1) -> Picture:
    """Arrange at least one picture in a row, each with a caption above it, such as photo | truth | prediction.

    ``scale`` first enlarges every picture by an integer factor; lower pictures are padded with white.
    """
    strip = int(np.clip(scale * max(checked(picture).shape[1] for picture in pictures) // 25, 18, 26))
    columns = []
    for picture, title in zip(pictures, titles, strict=True):
        height, width = picture.shape[:2]
        large = cv2.resize(picture, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC)
        columns.append(np.vstack([caption(title, width * scale, strip), large]))
    tallest = max(column.shape[0] for column in columns)
    parts = [_padded(column, right=GAP, bottom=tallest - column.shape[0]) for column in columns]
    return np.hstack(parts)[:, :-GAP]


def in_rows(pictures: Sequence[Picture], titles: Sequence[str], columns: int = 8) -> Picture:
    """Arrange pictures as `side_by_side`, with at most ``columns`` of them in a row."""
    starts = range(0, len(pictures), columns)
    return stack([side_by_side(pictures[i : i + columns], titles[i : i + columns]) for i in starts])


def stack(rows: Sequence[Picture]) -> Picture:
    """Arrange at least one picture in a column, padded with white to the width of the widest."""
    widest = max(checked(row).shape[1] for row in rows)
    return np.vstack([_padded(row, right=widest - row.shape[1], bottom=GAP) for row in rows])[:-GAP]


def _padded(picture: Picture, *, right: int, bottom: int) -> Picture:
    return np.pad(picture, ((0, bottom), (0, right), (0, 0)), constant_values=255)


def caption(title: str, width: int, height: int = 18) -> Picture:
    """A white strip (height, width, 3) with the title at the left, truncated if it is too long."""
    canvas = np.full((height, width, 3), 255, np.float32)
    for text in (title, *(title[:end] + ".." for end in range(len(title) - 1, 0, -1))):
        ink = text_mask(text, height - 5)
        if ink.shape[1] <= width:
            mix(canvas[2:-3, : ink.shape[1]], DARK, ink)
            break
    return to_picture(canvas)


# Bases and attentions


def draw_bases(image: Picture, bases: Array) -> Picture:
    """Draw the photo and its K bases (K, h, w) in a row (BlendMask, figure 3, left).

    Blue is negative, white zero and red positive, on a common scale for all bases.
    """
    heats = heat_maps(bases, checked(image))
    return side_by_side([image, *heats], ["image", *(f"basis {k}" for k in range(1, len(bases) + 1))])


def draw_attentions(
    image: Picture, boxes: Array, attentions: Array, masks: Array, bases: Array, labels: Sequence[str]
) -> Picture:
    """Show in one row per detection how its mask is blended (BlendMask, figure 1 and section 3.2).

    ``boxes`` (D, 4) are in pixels of the photo and may exceed it; ``attentions`` (D, K, M, M) are before the
    softmax; ``masks`` are (D, H, W) bool; ``bases`` (K, h, w) cover the photo. A row shows the box with the outline
    of the mask, then for each basis its weights (dark 0, bright 1) and its scores (as in `draw_bases`), and finally
    the mask. Cells are gray outside the photo.
    """
    heats = heat_maps(bases, checked(image))
    rows = []
    for box, attention, mask, label in zip(boxes, attentions, masks, labels, strict=True):
        size = cell_size(box)
        cells, titles = [cut(image, box, size)], [label]
        for k, (weights, heat) in enumerate(zip(_weights(attention, size), heats, strict=True), start=1):
            cells += [sequential(weights), cut(heat, box, size)]
            titles += [f"attention {k}", f"basis {k}"]
        inside = cut(np.where(mask[..., None], LIGHT, DARK).astype(np.uint8), box, size, DARK)
        outline(cells[0], inside[..., 0] >= 128)
        rows.append(side_by_side([centered(cell) for cell in [*cells, inside]], [*titles, "mask"]))
    return stack(rows) if rows else caption("no detections", 2 * CELL)


def outline(picture: Picture, mask: Array, color: Color = ACCENT) -> None:
    """Draw the outline of a mask (H, W) bool into a picture of the same size, in place."""
    edges, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    cv2.drawContours(picture, edges, -1, color, 1, cv2.LINE_AA)


def heat_maps(bases: Array, image: Picture) -> list[Picture]:
    """Color the bases (K, h, w) in the size of the photo; the largest absolute score of all bases is darkest."""
    largest = largest_score(bases)
    return [diverging(cv2.resize(basis.astype(np.float32), image.shape[1::-1]), largest) for basis in bases]


def largest_score(scores: Array) -> float:
    """The largest absolute value of scores, for `diverging`; 1 if all are 0."""
    return float(np.abs(scores).max(initial=0)) or 1.0


def diverging(scores: Array, largest: float) -> Picture:
    """Color scores (H, W): blue at ``-largest``, white at zero, red at ``largest``."""
    steps = np.linspace(-largest, largest, len(DIVERGING))
    return to_picture(np.stack([np.interp(scores, steps, channel) for channel in DIVERGING.T], axis=-1))


def sequential(shares: Array) -> Picture:
    """Color shares (H, W): dark at 0, bright at 1."""
    return np.asarray(SEQUENTIAL[(255 * shares).round().astype(np.uint8)], np.uint8)


def _weights(attention: Array, size: tuple[int, int]) -> Canvas:
    """Interpolate attentions (K, M, M) to (K, height, width), then apply the softmax over K (equations 2 and 3)."""
    logits = np.stack([cv2.resize(part, size) for part in attention.astype(np.float32)])
    if len(logits) == 1:  # a single basis passes a sigmoid
        return np.asarray(1 / (1 + np.exp(-logits)), np.float32)
    weights = np.exp(logits - logits.max(axis=0))
    return np.asarray(weights / weights.sum(axis=0), np.float32)


def cell_size(box: Array, side: int = CELL) -> tuple[int, int]:
    """Width and height of a box scaled to fit a cell of this side."""
    sides = np.maximum(box[2:] - box[:2], 1)
    width, height = np.maximum(np.round(side * sides / sides.max()), 1).astype(int).tolist()
    return width, height


def cut(picture: Picture, box: Array, size: tuple[int, int], beyond: Color = PAPER) -> Picture:
    """Resample a box to ``size`` (width, height); ``beyond`` is the color outside the picture."""
    zoom = np.maximum(box[2:] - box[:2], 1).astype(np.float64) / size
    detail = int(np.clip(np.ceil(zoom.max()), 1, 16))  # supersampling, to avoid aliasing
    step, origin = zoom / detail, np.asarray(box[:2], np.float64)
    to_source = np.column_stack([np.diag(step), origin + step / 2 - 0.5])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    fine = cv2.warpAffine(picture, to_source, (size[0] * detail, size[1] * detail), flags=flags, borderValue=beyond)
    return np.asarray(cv2.resize(fine, size, interpolation=cv2.INTER_AREA), np.uint8)


def centered(cell: Picture, side: int = CELL) -> Picture:
    """A picture in the middle of a gray square of this side, which it must fit."""
    page = np.full((side, side, 3), PAPER, np.uint8)
    top, left = (side - cell.shape[0]) // 2, (side - cell.shape[1]) // 2
    page[top : top + cell.shape[0], left : left + cell.shape[1]] = cell
    return page


# Paint and text


def checked(image: Picture) -> Picture:
    """Return the picture; PanopticBlendError unless it is (H, W, 3) uint8 with at least one pixel."""
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8 or image.shape[2:] != (3,) or not image.size:
        seen = f"{image.dtype} of shape {image.shape}" if isinstance(image, np.ndarray) else type(image).__name__
        raise PanopticBlendError(f"the picture is {seen}; give an RGB array (H, W, 3) of uint8")
    return image


def to_picture(canvas: Array) -> Picture:
    """Round a canvas to uint8."""
    return canvas.round().clip(0, 255).astype(np.uint8)


def mix(canvas: Canvas, color: Color | Canvas, alpha: Canvas | float) -> None:
    """Mix a color into a canvas (H, W, 3) in place; ``alpha`` is a number or (H, W).

    All that is computed with is (W, 3) or (H, W, 3), because numpy is slow where channels alone are repeated.
    """
    paint = np.asarray(color, np.float32)
    change = (paint if paint.ndim == 3 else np.tile(paint, (canvas.shape[1], 1))) - canvas
    share = np.asarray(alpha, np.float32)
    change *= share if share.ndim == 0 else cv2.merge([share] * 3)
    canvas += change


@lru_cache(maxsize=1024)
def text_mask(text: str, height: int) -> Canvas:
    """Render one line of text to opacity 0..1 (height, width); characters that OpenCV cannot draw become ``?``.

    OpenCV 5 brings fonts with Latin, Greek, Cyrillic, Arabic, Hebrew, Chinese and Japanese characters, OpenCV 4 only
    ASCII; accents are dropped there.
    """
    line = _line(text)  # drawn large and scaled down, for an even weight at any height
    size = max(1, round(line.shape[1] * height / line.shape[0])), height
    return np.asarray(cv2.resize(line, size, interpolation=cv2.INTER_AREA), np.float32) / np.float32(255)


def _line(text: str) -> Picture:
    """A large line of text (76, width)."""
    plain = unicodedata.normalize("NFC", "".join(c if c.isprintable() else "?" for c in text))
    if _FACE is None:
        plain = "".join(c for c in unicodedata.normalize("NFKD", plain) if not unicodedata.combining(c))
        plain = "".join(c if c <= "~" else "?" for c in plain)
        (width, _), _ = cv2.getTextSize(plain, cv2.FONT_HERSHEY_SIMPLEX, 2, 4)
        line = np.zeros((76, width + 8), np.uint8)
        cv2.putText(line, plain, (4, 54), cv2.FONT_HERSHEY_SIMPLEX, 2, (255,), 4, cv2.LINE_AA)
    else:
        left, _, width, _ = cv2.getTextSize((2**20, 76), plain, (4, 54), _FACE, 48, 500)
        line = np.zeros((76, left + width + 4), np.uint8)
        cv2.putText(line, plain, (4, 54), (255,), _FACE, 48, 500)
    return line


_FACE = cv2.FontFace("sans") if hasattr(cv2, "FontFace") else None


def is_drawable(text: str) -> bool:
    """Whether `text_mask` draws every letter of a text, so that no two such texts look alike."""
    return all(c.isascii() or _is_drawable(c) for c in unicodedata.normalize("NFC", text))


@lru_cache(maxsize=4096)
def _is_drawable(character: str) -> bool:
    return _FACE is not None and not np.array_equal(_line(character), _line("?"))


def label_size(text: str, height: int) -> tuple[int, int]:
    """Height and width in pixels of a label with a line of text of this height."""
    return height + 2, text_mask(text, height).shape[1] + 8


def boxed_text(area: Canvas, text: str, color: Color) -> None:
    """Fill an area of `label_size` with light text on a dark box and a strip of ``color`` at the left."""
    mix(area, DARK, 0.7)
    area[:, :3] = color
    mix(area[1:-1, 5:-3], LIGHT, text_mask(text, area.shape[0] - 2))


def haloed_text(area: Canvas, text: str) -> None:
    """Fill an area of `label_size` with light text in a dark halo."""
    ink = np.pad(text_mask(text, area.shape[0] - 2), ((1, 1), (4, 4)))
    mix(area, DARK, 0.7 * np.clip(2.5 * cv2.GaussianBlur(ink, (0, 0), 1.2), 0, 1))
    mix(area, LIGHT, 0.9 * ink)
