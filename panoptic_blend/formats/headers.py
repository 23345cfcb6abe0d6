"""Read the size of a picture from the header of its file, before anything is decoded."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Callable, Iterator
from pathlib import Path

from panoptic_blend.formats.png import PNG_SIGNATURE
from panoptic_blend.structures import PanopticBlendError, Size

MAX_PIXELS = 200_000_000
"""Maximum number of pixels of a picture or map; the largest sensors of phones have 16320 x 12240."""


def stored_size(data: bytes) -> Size | None:
    """Height and width that the header states, before turning by an orientation tag.

    The formats are PNG, JPEG, TIFF, WebP, BMP, GIF, AVIF, JPEG 2000, PBM, PGM and PPM. Returns None for other files,
    which are not decoded.
    """
    for signature, read in _FORMATS:
        if re.match(signature, data, re.DOTALL):
            try:
                height, width = read(data)
            except (struct.error, ValueError, OverflowError, KeyError):
                return None
            return (abs(height), width) if height and width > 0 else None
    return None


def require_decodable(data: bytes, path: str | Path) -> Size:
    """The `stored_size` of a picture file, or an error, which names ``path``, if it cannot or should not be decoded."""
    size = stored_size(data)
    if size is None:
        raise undecodable(path)
    if size[0] * size[1] > MAX_PIXELS:
        raise PanopticBlendError(
            f"{path}: {size[1]} x {size[0]} pixels, more than {MAX_PIXELS:,} in all; cut it into tiles"
        )
    return size


def undecodable(path: str | Path) -> PanopticBlendError:
    """The error for a file that is no picture or is damaged."""
    return PanopticBlendError(f"{path}: cannot be decoded; it is cut short or not a picture, so fetch it again")


def _png(data: bytes) -> Size:
    width, height = struct.unpack_from(">II", data, 16)
    return height, width


def _jpeg(data: bytes) -> Size:
    """The size in the first frame header (ITU-T T.81, B.2.2), which markers with lengths precede."""
    place = 2
    while True:
        place = data.index(0xFF, place)  # decoders, too, pass over bytes between markers
        kind, length = struct.unpack_from(">BH", data, place + 1)
        if kind == 0xFF:  # padding
            place += 1
        elif kind in _ALONE:
            place += 2
        elif kind in _FRAMES:
            height, width = struct.unpack_from(">HH", data, place + 5)
            return height, width
        else:
            place += 2 + length


_FRAMES = set(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
"""Start-of-frame markers; the other three of the range are tables."""

_ALONE = {0x00, 0x01, *range(0xD0, 0xD8)}
"""A stuffed zero, and markers that have no length: what decoders pass over must not hide a frame from us."""


def _tiff(data: bytes) -> Size:
    """The size in the first directory (TIFF 6.0, section 2; BigTIFF has wider fields)."""
    order = "<" if data.startswith(b"II") else ">"
    is_big = struct.unpack_from(f"{order}H", data, 2) == (43,)
    (place,) = struct.unpack_from(f"{order}{'Q' if is_big else 'I'}", data, 8 if is_big else 4)
    tags: dict[int, int] = {}
    for tag, value in _tiff_tags(data, place, order, is_big):
        tags.setdefault(tag, value)  # of two equal tags the first counts
    return tags[257], tags[256]


def _tiff_tags(data: bytes, place: int, order: str, is_big: bool) -> Iterator[tuple[int, int]]:
    """Tag and first value of the entries of a TIFF directory that hold whole numbers."""
    count, length, offset = ("Q", 20, 12) if is_big else ("H", 12, 8)
    (entries,) = struct.unpack_from(f"{order}{count}", data, place)
    start = place + struct.calcsize(f"{order}{count}")
    for entry in range(start, min(start + entries * length, len(data)), length):
        tag, kind = struct.unpack_from(f"{order}HH", data, entry)
        if tag in {256, 257} and kind in _TIFF_KINDS:
            yield tag, struct.unpack_from(f"{order}{_TIFF_KINDS[kind]}", data, entry + offset)[0]


_TIFF_KINDS = {3: "H", 4: "I", 16: "Q"}


def _webp(data: bytes) -> Size:
    """The size in the first chunk (WebP container specification; RFC 6386, 9.1; lossless bitstream, section 3)."""
    kind = data[12:16]
    if kind == b"VP8X":
        width, height = (int.from_bytes(data[place : place + 3], "little") + 1 for place in (24, 27))
    elif kind == b"VP8 ":
        width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, 26))
    elif kind == b"VP8L":
        (bits,) = struct.unpack_from("<I", data, 21)
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    else:
        raise ValueError("no known chunk")
    return height, width


def _bmp(data: bytes) -> Size:
    """The size after the length of the information header, in 16 bits if the header is that of OS/2."""
    (length,) = struct.unpack_from("<I", data, 14)
    width, height = struct.unpack_from("<HH" if length == 12 else "<ii", data, 18)
    return height, width


def _gif(data: bytes) -> Size:
    width, height = struct.unpack_from("<HH", data, 6)
    return height, width


def _box(data: bytes, kind: bytes) -> int:
    """Where the first top-level box of a ``kind`` begins (ISO/IEC 14496-12, 4.2; ITU-T T.800, I.4)."""
    place = 0
    while True:
        length, found = struct.unpack_from(">I4s", data, place)
        if found == kind:
            return place
        if length == 1:
            (length,) = struct.unpack_from(">Q", data, place + 8)
        if length < 8:  # 0 is the last box
            raise ValueError("no such box")
        place += length


def _jpeg_2000(data: bytes) -> Size:
    """The size of the reference grid less its offset, in the codestream (ITU-T T.800, A.5.1)."""
    place = data.index(_CODESTREAM, 0 if data.startswith(_CODESTREAM) else _box(data, b"jp2c"))
    right, bottom, left, top = struct.unpack_from(">IIII", data, place + 8)
    return bottom - top, right - left


_CODESTREAM = b"\xff\x4f\xff\x51"


def _avif(data: bytes) -> Size:
    """The largest size of the image and its parts (ISO/IEC 23008-12, 6.5.3)."""
    start = _box(data, b"meta")
    (length,) = struct.unpack_from(">I", data, start)
    found = re.finditer(b"ispe", data[start : start + length])
    width, height = max((struct.unpack_from(">II", data, start + one.end() + 4) for one in found), key=math.prod)
    return height, width


def _netpbm(data: bytes) -> Size:
    """The size after the magic number; lines that begin with ``#`` are comments, whose numbers do not count."""
    found = re.match(rb"P\d(?:\s+#[^\n]*+)*+\s+(\d{1,9})(?:\s+#[^\n]*+)*+\s+(\d{1,9})\s", data)
    if not found:
        raise ValueError("no size")
    return int(found[2]), int(found[1])


_FORMATS: tuple[tuple[bytes, Callable[[bytes], Size]], ...] = (
    (re.escape(PNG_SIGNATURE) + b".{4}IHDR", _png),
    (rb"\xff\xd8\xff", _jpeg),
    (rb"II[*+]\0|MM\0[*+]", _tiff),
    (rb"RIFF.{4}WEBP", _webp),
    (rb"BM", _bmp),
    (rb"GIF8[79]a", _gif),
    (rb".{4}ftypavif", _avif),
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", _jpeg_2000),
    (rb"P[1-6]\s", _netpbm),
)
"""Signatures, and the function that reads the size."""
