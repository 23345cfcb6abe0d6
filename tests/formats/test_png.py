"""PNGs decoded to run lengths: the result is that of OpenCV, or None."""

from __future__ import annotations

import itertools
import struct
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from panoptic_blend.formats import images
from panoptic_blend.formats.images import decode_segment_ids
from panoptic_blend.formats.png import decode_runs
from panoptic_blend.structures import PanopticBlendError, Runs

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


def assert_as_opencv(data: bytes) -> None:
    """The runs are those of the ids that OpenCV decodes."""
    colors = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR_RGB)
    assert colors is not None
    expected, runs = Runs.from_pixels(colors.astype(np.int32) @ np.array([1, 2**8, 2**16], np.int32)), decode_runs(data)
    assert runs is not None and runs.shape == expected.shape and runs.values.dtype == np.int32
    assert np.array_equal(runs.starts, expected.starts) and np.array_equal(runs.values, expected.values)


def test_runs_are_as_written() -> None:
    rows = b"\0" + b"\1\2\3" * 2 + b"\4\5\6" + b"\2" + bytes(8) + b"\1"  # of three pixels; Up adds 1 to the last byte
    runs = decode_runs(packed(3, 2, rows))
    assert runs is not None
    assert runs.starts.tolist() == [0, 2, 3, 5]
    assert runs.values.tolist() == [0x030201, 0x060504, 0x030201, 0x070504]


@pytest.mark.parametrize("zeros", [0.0, 0.5, 0.97])
@pytest.mark.parametrize("seed", range(40))
def test_every_filter_is_reversed_as_by_opencv(seed: int, zeros: float) -> None:
    generator = np.random.default_rng(seed)
    width, height = generator.integers(1, [40, 12])
    rows = generator.choice(np.array([1, 127, 200, 255]), (height, 1 + 3 * width)).astype(np.uint8)
    rows[generator.random(rows.shape) < zeros] = 0
    rows[:, 0] = generator.integers(0, 5, height)
    assert_as_opencv(packed(width, height, rows.tobytes(), pieces=seed % 4 + 1))


@pytest.mark.parametrize("shape", [(1, 1), (400, 300), (3, 70000)])
def test_noise(shape: tuple[int, int]) -> None:
    colors = np.random.default_rng(0).integers(0, 256, (*shape, 3), np.uint8)
    done, file = cv2.imencode(".png", colors)
    assert done
    assert_as_opencv(file.tobytes())


def test_real_annotations(coco_sample: Path) -> None:
    for path in (coco_sample / "annotations" / "panoptic_val2017").iterdir():
        assert_as_opencv(path.read_bytes())


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
    assert decode_runs(OTHERS[name]) is None


def test_where_wasmtime_cannot_run_all_files_are_left_to_opencv(without_wasmtime: None) -> None:
    assert decode_runs(SOUND) is None
    assert decode_segment_ids(SOUND, "a.png").tolist() == [[0x030201, 0x060504], [0x040302, 0x070605]]


def test_threads_decode_at_once() -> None:
    files = [packed(2, 2, ROWS), packed(3, 1, b"\1" + bytes(range(9)))] * 20
    with ThreadPoolExecutor(4) as pool:
        found = [runs.values.tolist() for runs in pool.map(decode_runs, files) if runs]
    assert found == [runs.values.tolist() for runs in map(decode_runs, files) if runs] and len(found) == len(files)


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
        patch.setattr(images, "decode_runs", lambda data: None)
        assert outcome(bytes(data)) == found
