"""Encode photos and maps for a page."""

from __future__ import annotations

import base64
from dataclasses import dataclass

import cv2
import numpy as np
from zlib_ng import zlib_ng

from panoptic_blend.formats.images import Picture
from panoptic_blend.structures import PanopticMap, Runs, Size

THUMBNAIL = 192
"""Long side of a thumbnail in pixels."""


@dataclass(frozen=True, eq=False)
class EncodedPhoto:
    """JPEGs of an image, the larger one of ``size`` (height, width), which is that of its maps in the page."""

    photo: bytes
    thumbnail: bytes
    size: Size


def encode_picture(photo: Picture, side: int) -> EncodedPhoto:
    """Encode a picture (H, W, 3) with a long side of at most ``side`` pixels."""
    height, width = bounded(photo.shape[:2], side)
    is_small = photo.shape[:2] == (height, width)
    large = photo if is_small else cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    return EncodedPhoto(_jpeg(large), _jpeg(_reduced(large, bounded((height, width), THUMBNAIL))), (height, width))


def index_runs(panoptic: PanopticMap, size: Size) -> Runs:
    """The map of segment indices, from 1 in the order of the segments, 0 for void, at this (height, width)."""
    runs = panoptic.runs()
    if runs.shape == size:
        return runs
    index = runs.paint(runs.values.astype(np.uint16))
    return Runs.from_pixels(np.asarray(cv2.resize(index, size[::-1], interpolation=cv2.INTER_NEAREST), np.uint16))


def packed(runs: Runs) -> str:
    """Values and then lengths of the runs of a map as text: uint16, little-endian, zlib, base64.

    A map has at most 65,535 columns.
    """
    numbers = np.concatenate([runs.values, runs.lengths]).astype("<u2")
    return base64.b64encode(zlib_ng.compress(numbers.tobytes(), 6)).decode()


def bounded(size: Size, side: int) -> Size:
    """Height and width, scaled down, if necessary, to a long side of ``side``."""
    scale = min(1.0, side / max(size))
    height, width = (max(1, round(scale * length)) for length in size)
    return height, width


def _reduced(picture: Picture | np.ndarray, size: Size) -> np.ndarray:
    """A smaller copy of a picture; it is halved first, which takes a sixth of the time of an area of any size."""
    found = np.asarray(picture)
    while min(found.shape[0] // size[0], found.shape[1] // size[1]) >= 2:
        found = np.asarray(cv2.resize(found, (found.shape[1] // 2, found.shape[0] // 2), interpolation=cv2.INTER_AREA))
    return np.asarray(cv2.resize(found, size[::-1], interpolation=cv2.INTER_LINEAR))


def _jpeg(picture: Picture | np.ndarray) -> bytes:
    _, data = cv2.imencode(".jpg", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, 75])
    return data.tobytes()
