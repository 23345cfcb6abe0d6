"""Read and write pictures and segment-id PNGs: JPEG, PNG, and the other formats of OpenCV."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.files import read_bytes, replacing
from panoptic_blend.formats.png import decode_rgb
from panoptic_blend.structures import PanopticBlendError, Size

Picture = npt.NDArray[np.uint8]

PICTURE_SUFFIXES = {".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff", ".webp"}
"""File name endings, in lower case, by which pictures are found in a folder."""


def read_picture(path: Path, size: Size | None = None) -> Picture:
    """Read a picture as (H, W, 3) uint8 RGB; gray is repeated, alpha dropped, 16 bits reduced to 8.

    The orientation tag of a camera (EXIF) is applied, unless only the stored picture has the annotated ``size``
    (height, width).

    Raises:
        PanopticBlendError: the file is missing, not a picture, truncated, or not of ``size``.
    """
    data = read_bytes(path)
    picture = decode_picture(data, path)
    if size is not None and picture.shape[:2] != size:
        upright = picture.shape[:2]
        picture = decode_picture(data, path, turn=False)
        if picture.shape[:2] != size:
            raise PanopticBlendError(f"{path}: {_size(upright)}, annotated as {_size(size)}; restore the original")
    return picture


def decode_picture(data: bytes, path: str | Path, *, turn: bool = True) -> Picture:
    """Decode the bytes of a picture file as `read_picture` does; errors name ``path``.

    ``turn`` applies the orientation tag.
    """
    return _decode(data, path, cv2.IMREAD_COLOR_RGB | (0 if turn else cv2.IMREAD_IGNORE_ORIENTATION))


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture (H, W, 3) uint8 RGB in the format of the suffix; JPEG has quality 95."""
    data = _encode(path, picture)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def read_segment_ids(path: Path, size: Size | None = None) -> npt.NDArray[np.int32]:
    """Read the segment ids (H, W) int32 of a COCO panoptic PNG: ``R + 256 G + 256**2 B``, 0 for void.

    Raises:
        PanopticBlendError: the file is missing, broken, not 8-bit RGB, or not of ``size`` (height, width).
    """
    return decode_segment_ids(read_bytes(path), path, size)


def decode_segment_ids(data: bytes, path: str | Path, size: Size | None = None) -> npt.NDArray[np.int32]:
    """Decode the bytes of a PNG as `read_segment_ids` does; errors name ``path``."""
    colors, order = decode_rgb(data), cv2.COLOR_RGB2RGBA
    if colors is None:  # not a PNG that the fast decoder supports
        colors = _decode(data, path, cv2.IMREAD_UNCHANGED)
        order = cv2.COLOR_BGR2RGBA
    if colors.ndim != 3 or colors.shape[2] != 3 or colors.dtype != np.uint8:
        raise PanopticBlendError(f"{path}: not an 8-bit RGB PNG; COCO panoptic PNGs hold ids as R + 256 G + 256^2 B")
    if size is not None and colors.shape[:2] != size:
        raise PanopticBlendError(
            f"{path}: {_size(colors.shape[:2])}, but its picture is {_size(size)}; write it in that size"
        )
    # little-endian: R is the lowest byte, an opaque alpha the highest
    ids = cv2.cvtColor(colors, order).view("<i4").squeeze(2)
    ids &= 0xFFFFFF
    return ids


def write_segment_ids(path: Path, ids: npt.NDArray[np.int32]) -> None:
    """Write segment ids (H, W) below 2**24 as a COCO panoptic PNG."""
    colors = np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8)
    data = _encode(path, colors)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


class _Quiet:
    """A context in which OpenCV logs nothing to standard error, while any thread is in it."""

    _set_level = staticmethod(getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)  # OpenCV 4 and 5

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = self._set_level(0)
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._set_level(self._before)


quiet = _Quiet()
"""Shared by all threads, because the log level of OpenCV is global."""


def decode_pixels(data: bytes, flags: int) -> npt.NDArray[Any] | None:
    """The pixels of an image file as ``cv2.imdecode`` returns them for ``flags``; None if it cannot be decoded."""
    try:
        with quiet:
            return cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error:  # an empty file in OpenCV 4, or a header that claims too many pixels
        return None


def _decode(data: bytes, path: str | Path, flags: int) -> Picture:
    pixels = decode_pixels(data, flags)
    if pixels is None:
        raise PanopticBlendError(f"{path}: cannot be decoded; it is cut short or not a picture, so fetch it again")
    return pixels


def _encode(path: Path, rgb: Picture) -> bytes:
    if not cv2.haveImageWriter(path.name):
        raise PanopticBlendError(f"{path}: cannot write {path.suffix} pictures; use .png or .jpg")
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix.lower() in {".jpg", ".jpeg"} else []
    ok, data = cv2.imencode(path.suffix, rgb[:, :, ::-1], options)
    if not ok:
        raise PanopticBlendError(f"{path}: {_size(rgb.shape)} exceed the limits of {path.suffix}; use .png")
    return data.tobytes()


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} pixels"
