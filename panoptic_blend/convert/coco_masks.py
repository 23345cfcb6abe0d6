"""Masks of COCO instances: polygons and run lengths, as COCO itself rasterises and counts them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco

from panoptic_blend.convert.records import points
from panoptic_blend.structures import Cutout, PanopticBlendError, is_integer


def cutout_of(segmentation: Any, size: tuple[int, int], where: str) -> Cutout:
    """The mask of an annotation's ``segmentation``: a list of polygons, all of one instance, or an RLE.

    Raises:
        PanopticBlendError: neither, or of another size than the picture.
    """
    if isinstance(segmentation, dict):
        return _cutout(_run_lengths(segmentation, size, where))
    if isinstance(segmentation, list) and segmentation and all(isinstance(part, list) for part in segmentation):
        return _cutout(_polygons(segmentation, size, where))
    raise PanopticBlendError(f"{where}: `segmentation` is neither polygons nor an RLE; give it one, a box is no mask")


def _polygons(parts: Sequence[Sequence[Any]], size: tuple[int, int], where: str) -> Any:
    """An RLE of pycocotools."""
    flat = []
    for part in parts:
        if len(part) % 2:
            raise PanopticBlendError(f"{where}: a polygon of {len(part)} numbers, not x and y in turn; correct it")
        corners = points([part[i : i + 2] for i in range(0, len(part), 2)], size, where)
        if len(corners) >= 3:  # fewer enclose nothing, and COCO takes four numbers for a box
            flat.append(corners.ravel().tolist())
    return coco.merge(coco.frPyObjects(flat, *size)) if flat else coco.encode(np.zeros(size, np.uint8, order="F"))


def _run_lengths(segmentation: dict[str, Any], size: tuple[int, int], where: str) -> Any:
    """An RLE of pycocotools, which reads past the end of one that is too short, so this makes sure that it is not."""
    found, counts = segmentation.get("size"), segmentation.get("counts")
    if found != list(size):
        raise PanopticBlendError(
            f"{where}: an RLE of size {found} in a picture of [height, width] {list(size)}; correct it"
        )
    if isinstance(counts, str):
        counts = _expanded(counts)
    if not isinstance(counts, list) or not all(is_integer(count) and count >= 0 for count in counts):
        raise PanopticBlendError(f"{where}: the `counts` of its RLE are unreadable; export it again")
    if sum(counts) != size[0] * size[1]:
        raise PanopticBlendError(
            f"{where}: its RLE has {sum(counts)} pixels, the picture {size[0] * size[1]}; export it again"
        )
    return coco.frPyObjects({"size": list(size), "counts": counts}, *size)


def _cutout(rle: Any) -> Cutout:
    left, top, width, height = coco.toBbox(rle).astype(int).tolist()
    return Cutout(coco.decode(rle)[top : top + height, left : left + width].astype(bool), top, left)


def _expanded(code: str) -> list[int] | None:
    """The counts of a compressed RLE: six-bit characters of five bits each, the low ones first, with a sign bit; from
    the fourth on each is the difference to the one two before. None if this is no such code."""
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
