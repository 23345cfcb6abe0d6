"""Draw the way of a single detection, from the location that found it to its mask (BlendMask, section 3.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.drawing.figures import (
    ACCENT,
    DARK,
    GAP,
    Array,
    caption,
    cell_size,
    centered,
    cut,
    diverging,
    in_rows,
    largest_score,
    outline,
    sequential,
    side_by_side,
    stack,
)
from panoptic_blend.drawing.overlay import draw_boxes
from panoptic_blend.formats.images import Picture

_CELL = 160
_WIDEST_TEXT = 640


@dataclass(frozen=True)
class Origin:
    """The location of FCOS that found a detection."""

    level: str
    """Name of the pyramid level, such as p4."""
    stride: int
    row: int
    column: int
    point: tuple[float, float]
    """x and y of the location in pixels of the picture."""
    probability: float
    """Probability of the class."""
    quality: float | None
    """The quality that was predicted for its box, if one was."""
    quality_name: str = "center-ness"
    factor: float | None = None
    """What the mask says of itself, by which the score was multiplied, if it was."""

    @property
    def formula(self) -> str:
        """What its score was computed from, such as "sqrt(class 0.600 x center-ness 0.600)"."""
        found = f"class {self.probability:.3f}"
        found = found if self.quality is None else f"sqrt({found} x {self.quality_name} {self.quality:.3f})"
        return found if self.factor is None else f"{found} x mask {self.factor:.3f}"


@dataclass(frozen=True, eq=False)
class Parts:
    """What the mask of a detection was made of; a part that its model does not have is None."""

    probabilities: Array
    """(R, R) mask probabilities, stretched over the box."""
    origin: Origin | None = None
    crops: Array | None = None
    """(K, R, R) bases, cropped to the box (BlendMask, equation 1)."""
    attentions: Array | None = None
    """(K, M, M) raw scores."""
    weights: Array | None = None
    """(K, R, R) weights of the bases (equations 2 and 3)."""


@dataclass(frozen=True, eq=False)
class Detection:
    """A detection, with what it was made of."""

    title: str
    """Its number, from 1 by score, its class and its score."""
    score: float
    box: Array
    """(4,) in pixels of the picture."""
    mask: npt.NDArray[np.bool_]
    """(H, W)"""
    parts: Parts


def draw_way(photo: Picture, one: Detection) -> Picture:
    """Draw the way of a detection from its location to its mask over a photo (H, W, 3).

    Below the photo, a row has a cell for each basis: attentions, weights, bases cropped to the box, weighted bases; the
    last row has their sum, the mask's probabilities and the mask. Captions have the range of every cell. Parts that the
    model does not have are left out.
    """
    parts, size = one.parts, cell_size(one.box, _CELL)
    where = draw_boxes(photo, one.box[None], [one.title], [ACCENT])
    if parts.origin:
        _mark(where, parts.origin)
    blocks = [_block(_facts(one), where)]
    if parts.attentions is not None:
        row = _row("a", parts.attentions, size)
        blocks.append(_block([f"attentions a: {_shape(parts.attentions)} scores"], row))
    if parts.weights is not None:
        how = "softmax over the bases" if len(parts.weights) > 1 else "sigmoid"
        row = _row("s", parts.weights, size, is_share=True)
        blocks.append(_block([f"weights s: {how} of a, resized to {_shape(parts.weights[0])}"], row))
    if parts.crops is not None:
        blocks.append(_block([f"bases r, cropped to the box: {_shape(parts.crops)}"], _row("r", parts.crops, size)))
        if parts.weights is not None and len(parts.crops) > 1:
            row = _row("s r", parts.weights * parts.crops, size)
            blocks.append(_block(["weighted bases s r; their sum is the score m of each pixel"], row))
    return stack([*blocks, _block([_rule(parts)], _result(photo, one, size))])


def _facts(one: Detection) -> list[str]:
    origin = one.parts.origin
    if origin is None:
        return [f"{one.title}: score {one.score:.3f}"]
    x, y = (index * origin.stride + origin.stride // 2 for index in (origin.column, origin.row))
    return [
        f"{one.title}: score {one.score:.3f} = {origin.formula}",
        f"found on {origin.level}, stride {origin.stride}, at row {origin.row}, column {origin.column}: "
        f"x {x}, y {y} of the network's input (cross)",
    ]


def _mark(picture: Picture, origin: Origin) -> None:
    """Draw a cross at the location of a detection."""
    x, y = (round(value) for value in origin.point)
    for color, thickness in ((DARK, 4), (ACCENT, 2)):
        cv2.drawMarker(picture, (x, y), color, cv2.MARKER_CROSS, 15, thickness, cv2.LINE_AA)


def _rule(parts: Parts) -> str:
    if parts.crops is None:
        made = "p"
    elif len(parts.crops) == 1:
        made = "p = s x sigmoid(r)"
    else:
        made = "p = sigmoid(m)"
    return f"mask: {made}, {_shape(parts.probabilities)}, stretched over the box, is at least 0.5"


def _result(photo: Picture, one: Detection, size: tuple[int, int]) -> Picture:
    """The scores and probabilities of R x R pixels, and the mask in the picture."""
    parts, p = one.parts, one.parts.probabilities
    shown = {}
    if parts.crops is not None and len(parts.crops) > 1:
        # probabilities of 0 and 1 have lost the score
        logits = np.log(p.clip(1e-9) / (1 - p).clip(1e-9))
        m = logits if parts.weights is None else (parts.weights * parts.crops).sum(axis=0)
        shown[f"m: {_range(m)}"] = _cell(diverging(m, largest_score(m)), size)
    shown[f"p: {_range(p)}"] = _cell(sequential(p), size)
    inside = cut(photo, one.box, size)
    outline(inside, cut(np.repeat(255 * one.mask[..., None].astype(np.uint8), 3, axis=2), one.box, size)[..., 0] >= 128)
    shown["mask"] = centered(inside, _CELL)
    return side_by_side(list(shown.values()), list(shown))


def _row(symbols: str, values: Array, size: tuple[int, int], *, is_share: bool = False) -> Picture:
    """A cell for each of ``values`` (K, n, n) with its range; ``symbols`` are the names of the values."""
    largest = largest_score(values)
    cells = [_cell(sequential(value) if is_share else diverging(value, largest), size) for value in values]
    names = (" ".join(f"{symbol}{k}" for symbol in symbols.split()) for k in range(1, len(values) + 1))
    return in_rows(cells, [f"{name}: {_range(value)}" for name, value in zip(names, values, strict=True)])


def _cell(picture: Picture, size: tuple[int, int]) -> Picture:
    return centered(np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST), np.uint8), _CELL)


def _block(lines: Sequence[str], picture: Picture) -> Picture:
    """Lines of text above a picture, and a space below it."""
    width = max(picture.shape[1], _WIDEST_TEXT)
    texts = [caption(line, width) for line in lines]
    page = np.pad(picture, ((0, GAP), (0, width - picture.shape[1]), (0, 0)), constant_values=255)
    return np.vstack([*texts, page])


def _shape(values: Array) -> str:
    return " x ".join(map(str, values.shape))


def _range(values: Array) -> str:
    return f"{values.min():z.2f} to {values.max():z.2f}"
