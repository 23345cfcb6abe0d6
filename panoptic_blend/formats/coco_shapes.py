"""Read the ``segmentation`` of COCO instances, polygons or run lengths, and say in which way one is malformed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from panoptic_blend.structures import Size, is_integer

REACH = 10
"""A point may lie up to this many picture sizes away; shapes may cross the border, but farther off is a mistake."""

MAX_OUTLINE = 4 * 10**6
"""Maximum length of a polygon's outline in pixels; pycocotools takes about 100 bytes for each."""


BOX_ONLY = "a box and no mask"
NOT_NUMBERS = "a polygon with coordinates that are not numbers"


class MalformedShapeError(Exception):
    """A ``segmentation`` without a mask; ``kind`` is what it is instead, and ``detail`` the same with its numbers."""

    def __init__(self, kind: str, detail: str | None = None) -> None:
        super().__init__(kind)
        self.kind, self.detail = kind, detail or kind


@dataclass(frozen=True, eq=False)
class Polygons:
    """The polygons of one instance, each (n, 2) float64 with n at least 3.

    ``num_short`` more had fewer points, which enclose no area.
    """

    parts: Sequence[npt.NDArray[np.float64]]
    num_short: int


@dataclass(frozen=True, eq=False)
class RunLengths:
    """An RLE that fills a picture of ``size``: numbers of pixels by columns, of void and of the mask in turn."""

    size: Size
    counts: npt.NDArray[np.int64]


Shape = Polygons | RunLengths


def compressed(shape: Shape, size: Size) -> bytes:
    """The mask of a shape in a picture of ``size`` (height, width), as the compressed run lengths of pycocotools.

    It is rasterized as COCO itself does. The ``size`` of run lengths is their own.
    """
    if isinstance(shape, RunLengths):
        encoded = coco.frPyObjects({"size": list(shape.size), "counts": shape.counts.tolist()}, *shape.size)
    else:
        encoded = coco.merge(coco.frPyObjects([part.ravel().tolist() for part in shape.parts], *size))
    counts: bytes = encoded["counts"]
    return counts


def read_shape(annotation: Mapping[str, Any], size: Size) -> Shape:
    """Read the ``segmentation`` of an annotation in a picture of ``size`` (height, width).

    Raises:
        MalformedShapeError: there is none, or it is not what COCO defines.
    """
    segmentation = annotation.get("segmentation")
    if isinstance(segmentation, dict):
        return _run_lengths(segmentation)
    if segmentation is None or segmentation == []:
        raise MalformedShapeError(BOX_ONLY if annotation.get("bbox") else "no `segmentation`")
    if not isinstance(segmentation, list):
        raise MalformedShapeError("a `segmentation` that is neither polygons nor an RLE")
    if not any(isinstance(part, list) for part in segmentation):
        raise MalformedShapeError("a flat list of coordinates, where COCO has one such list for each polygon")
    if all(isinstance(part, list) and len(part) == 2 and _are_numbers(part) for part in segmentation):
        raise MalformedShapeError("points as pairs [x, y], where COCO has a flat list x, y, x, y, ... for each polygon")
    return _polygons(segmentation, size)


def _are_numbers(values: Sequence[Any]) -> bool:
    return all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)


def _polygons(parts: Sequence[Any], size: Size) -> Polygons:
    read = []
    for part in parts:
        if not isinstance(part, list):
            raise MalformedShapeError("a polygon that is not a list of coordinates")
        if any(isinstance(value, list) for value in part):
            raise MalformedShapeError(
                "polygons that are nested too deep, where COCO has a flat list x, y, x, y, ... for each"
            )
        if not _are_numbers(part):
            raise MalformedShapeError(NOT_NUMBERS)
        if len(part) % 2:
            raise MalformedShapeError(
                "a polygon with an odd number of coordinates", f"a polygon of {len(part)} numbers"
            )
        read.append(_corners(part, size))
    long = [corners for corners in read if len(corners) >= 3]
    if not long:  # pycocotools would read four numbers as a box
        raise MalformedShapeError("a polygon with fewer than three points")
    return Polygons(long, len(read) - len(long))


def _corners(part: Sequence[float], size: Size) -> npt.NDArray[np.float64]:
    try:
        corners = np.array(part, np.float64).reshape(-1, 2)
    except OverflowError:
        corners = np.full((1, 2), math.inf)
    if not np.isfinite(corners).all():
        raise MalformedShapeError(NOT_NUMBERS)
    farthest = np.abs(corners).max(initial=0)
    if farthest > REACH * max(size):
        detail = f"a polygon with the coordinate {farthest:g} in a picture of {size[1]} x {size[0]}"
        raise MalformedShapeError("a polygon with a point far outside of its picture", detail)
    outline = np.abs(np.diff(corners, axis=0, append=corners[:1])).max(axis=1, initial=0).sum()
    if outline > MAX_OUTLINE:
        raise MalformedShapeError(
            "a polygon that is not an outline", f"a polygon whose outline is {outline:.0f} pixels long"
        )
    return corners


def _run_lengths(segmentation: dict[str, Any]) -> RunLengths:
    """A checked RLE; unchecked, pycocotools would read past the end of counts that are too short."""
    size, counts = segmentation.get("size"), segmentation.get("counts")
    if not isinstance(size, list) or len(size) != 2 or not all(is_integer(side) and side > 0 for side in size):
        raise MalformedShapeError("an RLE without a [height, width] as its `size`")
    if isinstance(counts, str):
        counts = _decompressed(counts)
    if not isinstance(counts, list) or not _are_counts(counts):
        raise MalformedShapeError("an RLE with unreadable `counts`")
    if sum(counts) != size[0] * size[1]:
        detail = f"an RLE that covers {sum(counts)} pixels in a picture of {size[0] * size[1]}"
        raise MalformedShapeError("an RLE that does not fill its picture", detail)
    try:
        return RunLengths((size[0], size[1]), np.array(counts, np.int64))
    except OverflowError:
        raise MalformedShapeError("an RLE with unreadable `counts`") from None


def _are_counts(values: list[Any]) -> bool:
    """Whether all values are whole numbers, none negative; a crowd has thousands of them."""
    return set(map(type, values)) <= {int} and min(values, default=0) >= 0


def _decompressed(code: str) -> list[int] | None:
    """The counts of a compressed RLE; None if the text is not a valid one.

    A character holds six bits: five of the number, the lowest first, and one that says whether another character
    follows. The number is signed. From the fourth count on, it is the difference to the count two before.
    """
    counts: list[int] = []
    value = shift = 0
    for character in code:
        bits = ord(character) - 48
        if not 0 <= bits < 64 or shift > 60:
            return None
        value |= (bits & 31) << shift
        shift += 5
        if not bits & 32:
            value -= (bits & 16) << (shift - 4)
            counts.append(value + (counts[-2] if len(counts) > 2 else 0))
            value = shift = 0
    return None if shift else counts
