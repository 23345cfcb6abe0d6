"""Encode photos and maps for a page."""

from __future__ import annotations

import base64
import zlib
from dataclasses import dataclass

import cv2
import numpy as np

from panoptic_blend.formats.images import Picture
from panoptic_blend.structures import Size

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
    large = cv2.resize(photo, (width, height), interpolation=cv2.INTER_AREA)
    thumbnail = cv2.resize(large, bounded((height, width), THUMBNAIL)[::-1], interpolation=cv2.INTER_AREA)
    return EncodedPhoto(_jpeg(large), _jpeg(thumbnail), (height, width))


def pack_map(index: np.ndarray) -> str:
    """Encode a map (H, W) uint16 as text: each row XOR the row above, little-endian, zlib, base64."""
    rows = index.astype("<u2")
    rows[1:] ^= index[:-1].astype("<u2")
    return base64.b64encode(zlib.compress(rows.tobytes(), 6)).decode()


def bounded(size: Size, side: int) -> Size:
    """Height and width, scaled down, if necessary, to a long side of ``side``."""
    scale = min(1.0, side / max(size))
    height, width = (max(1, round(scale * length)) for length in size)
    return height, width


def _jpeg(picture: Picture | np.ndarray) -> bytes:
    _, data = cv2.imencode(".jpg", np.ascontiguousarray(picture[:, :, ::-1]), [cv2.IMWRITE_JPEG_QUALITY, 75])
    return data.tobytes()
