"""PNGs decoded by zlib-ng and libspng: the result is that of OpenCV, or None."""

from __future__ import annotations

import itertools
import struct
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from panoptic_blend.formats import png
from panoptic_blend.formats.images import decode_segment_ids
from panoptic_blend.structures import PanopticBlendError

pytest.importorskip("pyspng")
pytest.importorskip("zlib_ng")

RGB = 8, 2, 0, 0, 0
ROWS = b"\0\1\2\3\4\5\6" + b"\2\1\1\1\1\1\1"  # a row of two pixels, and one with the filter Up that adds 1


def chunk(kind: bytes, data: bytes = b"") -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def header(width: int, height: int, form: tuple[int, ...] = RGB) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, *form))


def packed(width: int, height: int, rows: bytes, pieces: int = 1) -> bytes:
    """A PNG of filtered rows, with its data split into ``pieces`` chunks."""
    content = zlib.compress(rows)
    ends = [len(content) * piece // pieces for piece in range(pieces + 1)]
    chunks = (chunk(b"IDAT", content[start:end]) for start, end in itertools.pairwise(ends))
    return header(width, height) + b"".join(chunks) + chunk(b"IEND")


def by_opencv(data: bytes) -> npt.NDArray[Any]:
    colors = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert colors is not None
    return colors


def test_rows_are_as_written() -> None:
    decoded = png.decode_rgb(packed(2, 2, ROWS))
    assert decoded is not None and decoded.dtype == np.uint8
    assert decoded.tolist() == [[[1, 2, 3], [4, 5, 6]], [[2, 3, 4], [5, 6, 7]]]


@settings(max_examples=60)
@given(st.data())
def test_every_filter_is_reversed_as_by_opencv(data: st.DataObject) -> None:
    width, height = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 12))
    values = st.sampled_from([0, 0, 1, 127, 255]) if data.draw(st.booleans()) else st.integers(0, 255)
    rows = b"".join(
        bytes([data.draw(st.integers(0, 4)), *data.draw(st.lists(values, min_size=3 * width, max_size=3 * width))])
        for _ in range(height)
    )
    file = packed(width, height, rows, data.draw(st.integers(1, 4)))
    decoded = png.decode_rgb(file)
    assert decoded is not None and (decoded == by_opencv(file)).all()


@pytest.mark.parametrize("shape", [(1, 21844), (1, 21845), (400, 300), (3, 70000)])
def test_content_of_many_stored_blocks(shape: tuple[int, int]) -> None:
    """A row of 21845 pixels is 65536 bytes, one more than fits in a block."""
    colors = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    done, file = cv2.imencode(".png", colors[:, :, ::-1])
    decoded = png.decode_rgb(file.tobytes())
    assert done and decoded is not None and (decoded == colors).all()


def test_real_annotations(coco_sample: Path) -> None:
    for path in (coco_sample / "annotations" / "panoptic_val2017").iterdir():
        decoded = png.decode_rgb(path.read_bytes())
        assert decoded is not None and (decoded == by_opencv(path.read_bytes())).all()


SOUND, CONTENT = packed(2, 2, ROWS), zlib.compress(ROWS)
TEXT = chunk(b"tEXt", b"Software\0some")
OTHERS = {
    "nothing": b"",
    "no PNG": b"GIF89a",
    "the signature": SOUND[:8],
    "no pixels": header(2, 2) + chunk(b"IEND"),
    "no end": SOUND[:-12],
    "half an end": SOUND[:-1],
    "bytes behind the end": SOUND + b"\0",
    "an end with content": SOUND[:-12] + chunk(b"IEND", b"x"),
    "text": SOUND[:33] + TEXT + SOUND[33:],
    "a transparent color": SOUND[:33] + chunk(b"tRNS", bytes(6)) + SOUND[33:],
    "two headers": SOUND[:33] + SOUND[8:],
    "header last": SOUND[:8] + SOUND[33:] + SOUND[8:33],
    "gray": header(6, 2, (8, 0, 0, 0, 0)) + SOUND[33:],
    "16 bits": header(1, 2, (16, 2, 0, 0, 0)) + SOUND[33:],
    "interlaced": header(2, 2, (8, 2, 0, 0, 1)) + SOUND[33:],
    "no rows": header(2, 0) + SOUND[33:],
    "no columns": header(0, 2) + SOUND[33:],
    "a row too many": header(2, 1) + SOUND[33:],
    "a row too few": header(2, 3) + SOUND[33:],
    "huge": header(2**31 - 1, 2**31 - 1) + SOUND[33:],
    "an unknown filter": packed(2, 2, b"\5" + ROWS[1:]),
    "a wrong checksum of a chunk": SOUND[:-1] + b"\0",
    "a wrong checksum of the content": header(2, 2) + chunk(b"IDAT", CONTENT[:-1] + b"\0") + chunk(b"IEND"),
    "no checksum of the content": header(2, 2) + chunk(b"IDAT", CONTENT[:-4]) + chunk(b"IEND"),
    "bytes behind the content": header(2, 2) + chunk(b"IDAT", CONTENT + b"\0") + chunk(b"IEND"),
    "a bomb": packed(2, 2, bytes(10**7)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_all_other_files_are_left_to_opencv(name: str) -> None:
    assert png.decode_rgb(OTHERS[name]) is None


def test_without_the_libraries_all_files_are_left_to_opencv(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(png, "pyspng", None)
    assert png.decode_rgb(SOUND) is None
    assert decode_segment_ids(SOUND, "a.png").tolist() == [[0x030201, 0x060504], [0x040302, 0x070605]]


def outcome(data: bytes) -> object:
    """The decoded ids, or the error message."""
    try:
        return decode_segment_ids(data, "a.png").tolist()
    except PanopticBlendError as error:
        return str(error)


@settings(max_examples=40)
@given(
    changes=st.lists(st.tuples(st.integers(0, len(SOUND) - 1), st.integers(0, 255)), max_size=3),
    fix_checksum=st.booleans(),
)
@example([], False)
def test_ids_and_errors_are_those_of_opencv(changes: list[tuple[int, int]], fix_checksum: bool) -> None:
    """With any changed bytes, also if the checksum of the changed chunk is correct."""
    data = bytearray(SOUND)
    for place, value in changes:
        data[place] = value
    if fix_checksum:
        data[-16:-12] = struct.pack(">I", zlib.crc32(data[37:-16]))
    with pytest.MonkeyPatch.context() as patch:
        found = outcome(bytes(data))
        patch.setattr(png, "pyspng", None)
        assert outcome(bytes(data)) == found
