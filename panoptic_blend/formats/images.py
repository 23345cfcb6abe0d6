"""Read and write pictures and segment-id PNGs: JPEG, PNG, and the other formats of OpenCV."""

from __future__ import annotations

import logging
import mmap
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.files import printable, read_bytes, replacing
from panoptic_blend.formats.headers import require_decodable, undecodable
from panoptic_blend.formats.png import GRAY, PALETTE, PNG_SIGNATURE, decode_runs, without_palette
from panoptic_blend.formats.quiet import quiet
from panoptic_blend.structures import PanopticBlendError, Runs, Size

_log = logging.getLogger(__name__)

Picture = npt.NDArray[np.uint8]

PICTURE_SUFFIXES = {
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".dib", ".tif", ".tiff", ".webp"),
    *(".gif", ".avif", ".jp2", ".ppm", ".pgm", ".pbm", ".pnm"),
}
"""File name endings, in lower case, by which pictures are found in a folder."""


def read_picture(path: Path, size: Size | None = None) -> Picture:
    """Read a picture as (H, W, 3) uint8 RGB; gray is repeated, alpha dropped, 16 bits reduced to 8.

    The orientation tag of a camera (EXIF) is applied, unless only the stored picture has the annotated ``size``
    (height, width). 16-bit values are taken for 10, 12, 14 or 16 bits, the fewest that hold the largest value.

    Raises:
        PanopticBlendError: the file is missing, not a picture, truncated, too large, or not of ``size``.
    """
    return decode_picture(read_bytes(path), path, size)


def decode_picture(data: bytes, path: str | Path, size: Size | None = None, *, turn: bool = True) -> Picture:
    """Decode the bytes of a picture file as `read_picture` does; errors name ``path``.

    Without ``turn`` the orientation tag is not applied.
    """
    stored = require_decodable(data, path)
    if size is not None and sorted(stored) != sorted(size):
        raise _other_size(path, stored, size)
    flags = cv2.IMREAD_COLOR_RGB | cv2.IMREAD_ANYDEPTH | (0 if turn else cv2.IMREAD_IGNORE_ORIENTATION)
    pixels = _decode(data, path, flags)
    if size is not None and pixels.shape[:2] != size:
        if turn and stored == size:
            return decode_picture(data, path, size, turn=False)
        raise _other_size(path, pixels.shape, size)
    if pixels.dtype == np.uint16:
        return eight_bits(pixels, path)
    if pixels.dtype != np.uint8:
        raise PanopticBlendError(f"{path}: its values are {pixels.dtype}, not of 8 or 16 bits; save it in 8 bits")
    return pixels


def read_thumbnail(path: Path, side: int) -> npt.NDArray[np.uint8]:
    """Read a picture in gray (H, W), reduced by 2, 4 or 8 while its sides keep at least ``side`` pixels.

    JPEG is reduced while it is decoded, which takes a fraction of the time. The orientation tag is applied.

    Raises:
        PanopticBlendError: the file is missing, not a picture, truncated or too large.
    """
    data = read_bytes(path)
    shortest = min(require_decodable(data, path))
    flags = next((flag for factor, flag in _REDUCED.items() if shortest >= factor * side), cv2.IMREAD_GRAYSCALE)
    gray: npt.NDArray[np.uint8] = _decode(data, path, flags)
    return gray


_REDUCED = {
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
}


def _other_size(path: str | Path, found: tuple[int, ...], size: Size) -> PanopticBlendError:
    return PanopticBlendError(
        f"{path}: {_size(found)}, annotated as {_size(size)}; "
        "restore the original, or correct width and height in the JSON"
    )


def eight_bits(pixels: npt.NDArray[np.uint16], path: str | Path) -> Picture:
    """Reduce 16-bit values to 8 bits; says, once per command, if they are of a camera with fewer bits."""
    largest = int(pixels.max())
    bits = next(bits for bits in _CAMERA_BITS if largest < 2**bits)
    if bits < 16 and not _told_bits[0]:
        _told_bits[0] = 1
        _log.warning(
            f"{printable(str(path))}: 16-bit values up to {largest} are taken for {bits} bits and divided by "
            f"{2 ** (bits - 8)}; every picture has the divisor of its own largest value, so save them in 8 bits for one"
        )
    return (pixels >> (bits - 8)).astype(np.uint8)


_CAMERA_BITS = 10, 12, 14, 16
_told_bits = mmap.mmap(-1, 1)
"""Shared with processes that are forked later, so that one of them tells it."""


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture (H, W, 3) uint8 RGB in the format of the suffix; JPEG has quality 95."""
    data = encode_picture(path, picture)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def encode_picture(path: Path, rgb: Picture) -> bytes:
    """The bytes of the file that `write_picture` writes to ``path``."""
    if not path.suffix.isascii() or not cv2.haveImageWriter(f"any{path.suffix}"):  # OpenCV dies of other characters
        raise PanopticBlendError(f"{path}: cannot write {path.suffix} pictures; use .png or .jpg")
    options = [cv2.IMWRITE_JPEG_QUALITY, 95] if path.suffix.lower() in {".jpg", ".jpeg"} else []
    ok, data = cv2.imencode(path.suffix, rgb[:, :, ::-1], options)
    if not ok:
        raise PanopticBlendError(f"{path}: {_size(rgb.shape)} exceed the limits of {path.suffix}; use .png")
    return data.tobytes()


def read_segment_ids(path: Path, size: Size | None = None) -> npt.NDArray[np.int32]:
    """Read the segment ids (H, W) int32 of a COCO panoptic PNG: ``R + 256 G + 256**2 B``, 0 for void.

    Raises:
        PanopticBlendError: the file is missing, broken, too large, not 8-bit RGB, or not of ``size`` (height, width).
    """
    return decode_segment_ids(read_bytes(path), path, size)


def decode_segment_ids(data: bytes, path: str | Path, size: Size | None = None) -> npt.NDArray[np.int32]:
    """Decode the bytes of a PNG as `read_segment_ids` does; errors name ``path``."""
    _require_size(require_decodable(data, path), size, path)
    runs = decode_runs(data)
    return _ids_by_opencv(data, path) if runs is None else runs.paint(runs.values.astype(np.int32, copy=False))


def decode_segment_runs(data: bytes, path: str | Path, size: Size | None = None) -> Runs:
    """Decode the bytes of a PNG as `decode_segment_ids` does, to the run lengths of its ids."""
    _require_size(require_decodable(data, path), size, path)
    runs = decode_runs(data)
    return Runs.from_pixels(_ids_by_opencv(data, path)) if runs is None else runs


def _ids_by_opencv(data: bytes, path: str | Path) -> npt.NDArray[np.int32]:
    colors = _decode(data, path, cv2.IMREAD_UNCHANGED)
    if colors.ndim != 3 or colors.shape[2] != 3 or colors.dtype != np.uint8:
        raise PanopticBlendError(f"{path}: not an 8-bit RGB PNG; COCO panoptic PNGs hold ids as R + 256 G + 256^2 B")
    # little-endian: R is the lowest byte, an opaque alpha the highest
    ids = cv2.cvtColor(colors, cv2.COLOR_BGR2RGBA).view("<i4").squeeze(2)
    ids &= 0xFFFFFF
    return ids


def write_segment_ids(path: Path, ids: npt.NDArray[np.int32]) -> None:
    """Write segment ids (H, W) below 2**24 as a COCO panoptic PNG."""
    data = encode_segment_ids(ids, path)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


def encode_segment_ids(ids: npt.NDArray[np.int32], path: Path = Path("segments.png")) -> bytes:
    """The bytes of the PNG that `write_segment_ids` writes; errors name ``path``."""
    return encode_picture(path, np.stack([ids & 255, ids >> 8 & 255, ids >> 16], axis=-1).astype(np.uint8))


def decode_values(data: bytes, path: str | Path, size: Size | None = None) -> npt.NDArray[np.integer[Any]]:
    """Decode a PNG of 1 to 16 bits to the gray values or palette indices that it stores (H, W), uint8 or uint16.

    Raises:
        PanopticBlendError: the file, called ``path``, is not a PNG, has colors, is broken, too large, or not of
            ``size`` (height, width).
    """
    _require_size(require_decodable(data, path), size, path)
    if not data.startswith(PNG_SIGNATURE):
        raise PanopticBlendError(f"{path}: not a PNG, and other formats change values; save it as a gray PNG")
    if len(data) < 26:  # cut off inside the header
        raise undecodable(path)
    depth, color = data[24:26]
    if color not in (GRAY, PALETTE):
        raise PanopticBlendError(f"{path}: has colors or an alpha channel; save the class values as a gray PNG")
    values: npt.NDArray[np.integer[Any]] = _decode(without_palette(data), path, cv2.IMREAD_UNCHANGED)
    if depth < 8:  # OpenCV stretches them to 0..255
        values = values // (255 // (2**depth - 1))
    return values


def decode_mask(data: bytes, path: str | Path) -> npt.NDArray[np.bool_]:
    """The pixels (H, W) of a picture that are opaque, or not black if it has no transparency; errors name ``path``."""
    require_decodable(data, path)
    pixels = _decode(data, path, cv2.IMREAD_UNCHANGED)
    shown = pixels[:, :, 3] if pixels.ndim == 3 and pixels.shape[2] == 4 else pixels
    mask: npt.NDArray[np.bool_] = shown > 0 if shown.ndim == 2 else np.any(shown, axis=2)
    return mask


def write_values(path: Path, values: npt.NDArray[np.uint8] | npt.NDArray[np.uint16]) -> None:
    """Write values (H, W) as a gray PNG of 8 or 16 bits, which `decode_values` reads."""
    with replacing(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", values)[1].tobytes())


def may_be_turned(data: bytes) -> bool:
    """Whether a picture file holds metadata (EXIF) in which an orientation tag can be."""
    return b"Exif" in data[: 2**16]


def _require_size(found: Size, size: Size | None, path: str | Path) -> None:
    if size is not None and found != size:
        raise PanopticBlendError(f"{path}: {_size(found)}, but its picture is {_size(size)}; write it in that size")


def _decode(data: bytes, path: str | Path, flags: int) -> npt.NDArray[Any]:
    """The pixels of a file that `require_decodable` has passed, as ``cv2.imdecode`` returns them for ``flags``."""
    try:
        with quiet:
            pixels = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), flags)
    except cv2.error:  # a header that OpenCV refuses
        pixels = None
    if pixels is None:
        raise undecodable(path)
    return pixels


def _size(shape: tuple[int, ...]) -> str:
    return f"{shape[1]} x {shape[0]} pixels"
