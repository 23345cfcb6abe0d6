"""Sizes in the headers of all formats, without their pixels."""

from __future__ import annotations

import io
import struct
from typing import Any

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from panoptic_blend.formats.headers import stored_size

PIXELS = np.random.default_rng(0).integers(0, 256, (37, 53, 3), np.uint8)


@pytest.mark.parametrize(
    ("suffix", "options"),
    [
        (".png", []),
        (".jpg", []),
        (".jpg", [cv2.IMWRITE_JPEG_PROGRESSIVE, 1]),
        (".tif", []),
        (".webp", [cv2.IMWRITE_WEBP_QUALITY, 50]),
        (".webp", [cv2.IMWRITE_WEBP_QUALITY, 101]),
        (".bmp", []),
        (".jp2", []),
        (".ppm", []),
    ],
)
def test_files_of_opencv(suffix: str, options: list[int]) -> None:
    content = cv2.imencode(suffix, PIXELS, options)[1].tobytes()
    assert stored_size(content) == (37, 53)
    assert all(stored_size(content[:end]) in (None, (37, 53)) for end in range(100))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("TIFF", {"big_tiff": True}), ("WEBP", {"lossless": True, "exif": b"Exif"}), ("GIF", {}), ("AVIF", {})],
)
def test_files_of_pillow(kind: str, options: dict[str, Any]) -> None:
    if kind == "AVIF" and "AVIF" not in Image.registered_extensions().values():
        pytest.skip("this Pillow has no AVIF")
    file = io.BytesIO()
    Image.fromarray(PIXELS).save(file, kind, **options)
    assert stored_size(file.getvalue()) == (37, 53)


def _encoded(suffix: str, picture: np.ndarray) -> bytes:
    return cv2.imencode(suffix, picture)[1].tobytes()


def test_what_decoders_pass_over_hides_no_size() -> None:
    """Else a picture that says it has 6 x 5 pixels would be decoded to more than a server allows."""
    honest, small = _encoded(".jpg", PIXELS), _encoded(".jpg", PIXELS[:5, :6])
    frame = small[small.index(b"\xff\xc0") :]
    for marker in (b"\xff\x00", b"\xff\x01", b"\xff\xd3"):  # a stuffed zero, TEM and a restart have no length
        content = honest[:2] + b"\xff\xfe\0\x02" + marker + struct.pack(">H", len(honest)) + honest[2:] + frame
        assert stored_size(content) == _decoded(content) == (37, 53)

    honest = _encoded(".jp2", PIXELS)
    end = 12 + struct.unpack_from(">I", honest, 12)[0]  # of the second box, after which any may follow
    other = _encoded(".jp2", PIXELS[:32, :32])
    other = other[other.index(b"\xff\x4f\xff\x51") :]
    content = honest[:end] + struct.pack(">I", 8 + len(other)) + b"free" + other + honest[end:]
    assert stored_size(content) == _decoded(content) == (37, 53)

    content = b"P6 #a 6 5\n53#\n37 255\n" + PIXELS.tobytes()  # a number in front of a comment, which OpenCV takes
    assert stored_size(content) is None and _decoded(content) == (37, 53)


def _decoded(content: bytes) -> tuple[int, ...]:
    return np.asarray(cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)).shape[:2]


@pytest.mark.parametrize(
    ("content", "size"),
    [
        (b"MM\0*" + struct.pack(">IHHHIHHHHIHH", 8, 2, 257, 3, 1, 5, 0, 256, 3, 1, 6, 0), (5, 6)),
        (b"BM" + bytes(12) + struct.pack("<IHH", 12, 6, 5), (5, 6)),  # the header of OS/2
        (b"BM" + bytes(12) + struct.pack("<Iii", 40, 6, -5), (5, 6)),  # rows from top to bottom
        (b"P5 # by hand\n# twice\n6\n5 255\n", (5, 6)),
        (b"\xff\xd8\xff\xe0\0\x02\0\0\xff\xff\xc2\0\x0b\x08\0\x05\0\x06", (5, 6)),  # stray and padding bytes
        (b"\xff\xd8\xff\xc4\0\x02\xff\xc0\0\x0b\x08\0\x05\0\x06", (5, 6)),  # a table is no frame
        (b"\0\0\0\x08ftypavif" + bytes(4) + b"\0\0\0\x1cfreeispe" + struct.pack(">III", 0, 6, 5), None),
        (b"P5 0 7 255\n", None),
        (b"BM" + bytes(12) + struct.pack("<Iii", 40, -6, 5), None),
        (b"RIFF\0\0\0\0WEBPVP9 ", None),
        (b"", None),
        (b"<svg width='5' height='6'/>", None),
    ],
)
def test_headers_by_hand(content: bytes, size: tuple[int, int] | None) -> None:
    assert stored_size(content) == size


STARTS = (
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"\xff\xd8\xff",
    b"II*\0",
    b"MM\0+",
    b"RIFF\0\0\0\0WEBPVP8X",
    b"BM",
    b"GIF89a",
)


@given(start=st.sampled_from((*STARTS, b"\0\0\0\0ftypavif", b"\xff\x4f\xff\x51", b"P6\n")), rest=st.binary(max_size=99))
def test_anything_behind_a_signature_has_a_size_or_none(start: bytes, rest: bytes) -> None:
    size = stored_size(start + rest)
    assert size is None or min(size) > 0
