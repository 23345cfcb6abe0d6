"""Masks of COCO instances from polygons and run lengths, rasterized by pycocotools as COCO itself does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco

from panoptic_blend.convert.records import points
from panoptic_blend.structures import Cutout, PanopticBlendError, is_integer


def cutout_of(segmentation: Any, size: tuple[int, int], where: str) -> Cutout:
    """The mask of an annotation's ``segmentation``: a list of polygons of one instance, or an RLE.

    Raises:
        PanopticBlendError: it is neither, or an RLE of another size than the picture's ``size`` (height, width).
    """
    if isinstance(segmentation, dict):
        return _cutout(_run_lengths(segmentation, size, where))
    if isinstance(segmentation, list) and segmentation and all(isinstance(part, list) for part in segmentation):
        return _cutout(_polygons(segmentation, size, where))
    raise PanopticBlendError(f"{where}: `segmentation` is neither polygons nor an RLE; add one, a box is not enough")


def _polygons(parts: Sequence[Sequence[Any]], size: tuple[int, int], where: str) -> Any:
    """The union of polygons, each a flat list x, y, x, y, ..., as pycocotools' RLE."""
    flat = []
    for part in parts:
        if len(part) % 2:
            raise PanopticBlendError(f"{where}: a polygon has {len(part)} numbers, not pairs of x and y; correct it")
        corners = points([part[i : i + 2] for i in range(0, len(part), 2)], size, where)
        if len(corners) >= 3:  # fewer enclose no area, and pycocotools reads four numbers as a box
            flat.append(corners.ravel().tolist())
    return coco.merge(coco.frPyObjects(flat, *size)) if flat else coco.encode(np.zeros(size, np.uint8, order="F"))


def _run_lengths(segmentation: dict[str, Any], size: tuple[int, int], where: str) -> Any:
    """A checked RLE as pycocotools' own; unchecked, it would read past the end of counts that are too short."""
    found, counts = segmentation.get("size"), segmentation.get("counts")
    if found != list(size):
        raise PanopticBlendError(
            f"{where}: its RLE has [height, width] {found}, the picture {list(size)}; correct the RLE"
        )
    if isinstance(counts, str):
        counts = _decompressed(counts)
    if not isinstance(counts, list) or not all(is_integer(count) and count >= 0 for count in counts):
        raise PanopticBlendError(f"{where}: the `counts` of its RLE are unreadable; export it again")
    if sum(counts) != size[0] * size[1]:
        raise PanopticBlendError(
            f"{where}: its RLE covers {sum(counts)} pixels, the picture has {size[0] * size[1]}; export it again"
        )
    return coco.frPyObjects({"size": list(size), "counts": counts}, *size)


def _cutout(rle: Any) -> Cutout:
    left, top, width, height = coco.toBbox(rle).astype(int).tolist()
    return Cutout(coco.decode(rle)[top : top + height, left : left + width].astype(bool), top, left)


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
