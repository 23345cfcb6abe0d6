"""What is true about one picture or one PNG on disk; runs in worker processes and knows nothing of the JSON."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_blend.doctor.kinds import (
    MAP_FORMAT,
    MAP_MISSING,
    MAP_UNREADABLE,
    PICTURE_MISSING,
    PICTURE_UNREADABLE,
    Finding,
    Kind,
)
from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.images import decode_picture, decode_segment_ids
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Segment, Size

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
COLORS = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGBA"}
"""Colour types of PNG (PNG specification, 11.2.2)."""

Measures = npt.NDArray[np.int32]
"""(n, 6): id, area, and the box as x, y, width, height of every segment that was asked for; 0 if it has no pixels."""


@dataclass(frozen=True)
class PictureFacts:
    """``size`` with its orientation tag followed, ``stored`` without, None where that is the same picture."""

    failure: Finding | None = None
    size: Size = (0, 0)
    stored: Size | None = None
    digest: bytes = b""
    """Of the file: the same for the same file only."""

    def fits(self, size: Size) -> bool:
        """Whether the picture can be read in a size (height, width)."""
        return size in (self.size, self.stored)


@dataclass(frozen=True, eq=False)
class MapFacts:
    """What a PNG holds of the segments asked for, and of others: how many, and the first with their pixels."""

    failure: Finding | None = None
    size: Size = (0, 0)
    measures: Measures | None = None
    num_strays: int = 0
    strays: tuple[tuple[int, int], ...] = ()
    is_void: bool = False


@dataclass(frozen=True)
class Look:
    """Looks at pictures and PNGs by name; made once, used in every worker."""

    pictures: Folder | None
    maps: Folder | None

    def at_picture(self, name: str) -> PictureFacts:
        """Read and decode a picture."""
        data = _read(self.pictures, name, PICTURE_MISSING, PICTURE_UNREADABLE)
        if isinstance(data, Finding):
            return PictureFacts(data)
        try:
            picture = decode_picture(data, name)
            stored = None
            if b"Exif" in data[: 2**16]:
                other = decode_picture(data, name, turn=False)
                stored = None if np.array_equal(other, picture) else other.shape[:2]
        except PanopticBlendError:
            return PictureFacts(_failure(PICTURE_UNREADABLE, name, data))
        return PictureFacts(None, picture.shape[:2], stored, hashlib.blake2b(data, digest_size=16).digest())

    def at_map(self, name: str, wanted: tuple[int, ...]) -> MapFacts:
        """Read and decode a PNG, and measure the segments ``wanted``; their ids are unique."""
        data = _read(self.maps, name, MAP_MISSING, MAP_UNREADABLE)
        if isinstance(data, Finding):
            return MapFacts(data)
        if not data.startswith(PNG_SIGNATURE) or len(data) < 26:
            return MapFacts(_no_png(name, data))
        *_, depth, color = struct.unpack(">IIBB", data[16:26])
        has_key = b"tRNS" in data[: max(data.find(b"IDAT"), 0)]
        if (depth, color, has_key) != (8, 2, False):
            seen = f"{depth}-bit {COLORS.get(color, 'unknown')}{' with a transparent colour' if has_key else ''}"
            return MapFacts(Finding(MAP_FORMAT, f"{name}: {seen}"))
        try:
            return _measured(decode_segment_ids(data, name), wanted)
        except PanopticBlendError:
            return MapFacts(_failure(MAP_UNREADABLE, name, data))


def _read(folder: Folder | None, name: str, missing: Kind, unreadable: Kind) -> bytes | Finding:
    assert folder is not None
    if name not in folder:
        return Finding(missing, f"{name}: not in {folder.path}")
    try:
        return folder.read(name)
    except PanopticBlendError as error:
        return Finding(unreadable, str(error))


def _failure(kind: Kind, name: str, data: bytes) -> Finding:
    return Finding(kind, f"{name}: {f'broken or cut short after {len(data)} bytes' if data else 'empty'}")


def _no_png(name: str, data: bytes) -> Finding:
    """A picture of another format lost its ids to compression; anything else is broken."""
    try:
        decode_picture(data, name)
    except PanopticBlendError:
        return _failure(MAP_UNREADABLE, name, data)
    return Finding(MAP_FORMAT, f"{name}: a picture of another format under the name of a PNG")


def _measured(ids: npt.NDArray[np.int32], wanted: tuple[int, ...]) -> MapFacts:
    panoptic = PanopticMap.measured(ids, [Segment(number, 0, False, None, 0, None) for number in wanted])
    rows = [
        (s.id, s.area, s.box[0], s.box[1], s.box[2] - s.box[0], s.box[3] - s.box[1]) if s.box else (s.id, 0, 0, 0, 0, 0)
        for s in panoptic.segments
    ]
    measures = np.array(rows, np.int32).reshape(-1, 6)
    num_pixels = np.count_nonzero(ids)
    height, width = ids.shape
    facts = MapFacts(None, (height, width), measures, is_void=num_pixels == 0)
    if measures[:, 1].sum() == num_pixels:
        return facts
    strays, pixels = np.unique(ids[(panoptic.index() == 0) & (ids != 0)], return_counts=True)
    first = tuple(zip(strays[:3].tolist(), pixels[:3].tolist(), strict=True))
    return MapFacts(None, (height, width), measures, len(strays), first)
