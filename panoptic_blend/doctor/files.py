"""Inspect one picture or one PNG on disk; runs in worker processes and does not read the JSON."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_blend.doctor.jpeg import damage
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
from panoptic_blend.formats.images import decode_picture, decode_segment_runs, may_be_turned
from panoptic_blend.formats.png import PNG_SIGNATURE
from panoptic_blend.formats.quiet import quiet
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Runs, Segment, Size

COLORS = {0: "gray", 2: "RGB", 3: "palette", 4: "gray with alpha", 6: "RGBA"}
"""Color types of PNG (PNG specification, 11.2.2)."""

Measures = npt.NDArray[np.int32]
"""(n, 6): id, area, and box (x, y, width, height) of every requested segment; zeros if it has no pixels."""


@dataclass(frozen=True)
class PictureFacts:
    """Facts about a picture, or the failure to read it.

    ``size`` is the size after turning by the orientation tag; ``stored`` the size before, None if the tag turns
    nothing. ``digest`` is a hash of the file. ``damage`` says what is damaged inside of a picture that can be decoded
    nevertheless.
    """

    failure: Finding | None = None
    size: Size = (0, 0)
    stored: Size | None = None
    digest: bytes = b""
    damage: str | None = None

    def fits(self, size: Size) -> bool:
        """Whether the picture has a size (height, width), turned by its orientation tag or as stored."""
        return size in (self.size, self.stored)


@dataclass(frozen=True, eq=False)
class MapFacts:
    """Facts about a PNG, or the failure to read it.

    ``measures`` describes the requested segments. ``num_unlisted`` counts all other segments, and ``unlisted`` holds
    the first few as (id, number of pixels). ``num_void`` pixels are 0.
    """

    failure: Finding | None = None
    size: Size = (0, 0)
    measures: Measures | None = None
    num_unlisted: int = 0
    unlisted: tuple[tuple[int, int], ...] = ()
    num_void: int = 0

    @property
    def is_void(self) -> bool:
        """Whether every pixel is 0."""
        return self.num_void == self.size[0] * self.size[1]


@dataclass(frozen=True)
class FileInspector:
    """Reads and inspects pictures and PNGs by name; one object, copied to every worker process."""

    pictures: Folder | None
    maps: Folder | None

    def inspect_picture(self, name: str) -> PictureFacts:
        """Read and decode a picture."""
        data = _read(self.pictures, name, PICTURE_MISSING, PICTURE_UNREADABLE)
        if isinstance(data, Finding):
            return PictureFacts(data)
        try:
            with quiet.overhearing() as printed:
                picture = decode_picture(data, name)
                said = printed()
            stored = None
            if may_be_turned(data):
                other = decode_picture(data, name, turn=False)
                stored = None if np.array_equal(other, picture) else other.shape[:2]
        except PanopticBlendError:
            return PictureFacts(_failure(PICTURE_UNREADABLE, name, data))
        digest = hashlib.blake2b(data, digest_size=16).digest()
        return PictureFacts(None, picture.shape[:2], stored, digest, damage(data, said))

    def inspect_map(self, name: str, wanted: tuple[int, ...]) -> MapFacts:
        """Read and decode a PNG, and measure the segments with the ids ``wanted``, which are unique."""
        data = _read(self.maps, name, MAP_MISSING, MAP_UNREADABLE)
        if isinstance(data, Finding):
            return MapFacts(data)
        if not data.startswith(PNG_SIGNATURE) or len(data) < 26:
            return MapFacts(_not_a_png(name, data))
        *_, depth, color = struct.unpack(">IIBB", data[16:26])
        is_transparent = b"tRNS" in data[: max(data.find(b"IDAT"), 0)]
        if (depth, color, is_transparent) != (8, 2, False):
            suffix = " with a transparent color" if is_transparent else ""
            return MapFacts(Finding(MAP_FORMAT, f"{name}: {depth}-bit {COLORS.get(color, 'unknown')}{suffix}"))
        try:
            return _measure(decode_segment_runs(data, name), wanted)
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


def _not_a_png(name: str, data: bytes) -> Finding:
    """The finding for a file without a PNG header: a picture of another format, or a broken file."""
    try:
        decode_picture(data, name)
    except PanopticBlendError:
        return _failure(MAP_UNREADABLE, name, data)
    return Finding(MAP_FORMAT, f"{name}: a picture of another format, not a PNG")


def _measure(runs: Runs, wanted: tuple[int, ...]) -> MapFacts:
    panoptic = PanopticMap.from_runs(runs, [Segment(number, 0, False, None, 0, None) for number in wanted]).measure()
    rows = [
        (s.id, s.area, s.box[0], s.box[1], s.box[2] - s.box[0], s.box[3] - s.box[1]) if s.box else (s.id, 0, 0, 0, 0, 0)
        for s in panoptic.segments
    ]
    measures = np.array(rows, np.int32).reshape(-1, 6)
    num_pixels = int(runs.lengths[runs.values != 0].sum())
    height, width = runs.shape
    num_void = height * width - num_pixels
    facts = MapFacts(None, (height, width), measures, num_void=num_void)
    if measures[:, 1].sum() == num_pixels:
        return facts
    is_unlisted = (panoptic.runs().values == 0) & (runs.values != 0)
    unlisted, inverse = np.unique(runs.values[is_unlisted], return_inverse=True)
    pixels = np.bincount(inverse, runs.lengths[is_unlisted]).astype(np.int64)
    first = tuple(zip(unlisted[:3].tolist(), pixels[:3].tolist(), strict=True))
    return MapFacts(None, (height, width), measures, len(unlisted), first, num_void)
