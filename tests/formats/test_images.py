"""Reading and writing pictures and segment-id PNGs: common formats, and broken files."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from PIL import Image

from panoptic_blend.formats import images
from panoptic_blend.formats.images import (
    Picture,
    decode_values,
    read_picture,
    read_segment_ids,
    write_picture,
    write_segment_ids,
)
from panoptic_blend.structures import PanopticBlendError

Refused = Callable[..., str]

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def quadrants() -> Picture:
    """32 x 48 pixels: red and green above blue and white, so that every turn and mirror image differs."""
    picture = np.empty((32, 48, 3), np.uint8)
    picture[:16, :24], picture[:16, 24:], picture[16:, :24], picture[16:, 24:] = RED, GREEN, BLUE, WHITE
    return picture


def is_close(one: Picture, other: Picture) -> bool:
    return one.shape == other.shape and float(np.abs(one.astype(int) - other).mean()) < 6


def encoded(suffix: str, array: npt.NDArray[np.integer]) -> bytes:
    """A file written by OpenCV, which expects the colors in the order blue, green, red."""
    done, data = cv2.imencode(suffix, array)
    assert done
    return data.tobytes()


def jpeg(picture: Picture, orientation: int, order: str = ">") -> bytes:
    """A JPEG with an orientation tag: APP1 right after SOI, holding a TIFF of one entry (EXIF 2.32, 4.6)."""
    content = encoded(".jpg", picture[:, :, ::-1])
    mark = b"MM\0*" if order == ">" else b"II*\0"
    entry = struct.pack(f"{order}HHIHH", 0x0112, 3, 1, orientation, 0)  # tag, SHORT, one value, padded
    tiff = mark + struct.pack(f"{order}IH", 8, 1) + entry + struct.pack(f"{order}I", 0)
    exif = b"Exif\0\0" + tiff
    return content[:2] + b"\xff\xe1" + struct.pack(">H", len(exif) + 2) + exif + content[2:]


def png(width: int, height: int, rows: bytes, depth: int = 8, color: int = 2) -> bytes:
    """A PNG, of 8-bit RGB by default, with the filtered ``rows`` and any size in its header."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def test_pictures_are_rgb(tmp_path: Path) -> None:
    path = tmp_path / "one pixel.png"
    path.write_bytes(png(2, 1, b"\0" + bytes([255, 0, 0, 1, 2, 3])))
    assert read_picture(path).tolist() == [[[255, 0, 0], [1, 2, 3]]]


@pytest.mark.parametrize("suffix", [".png", ".bmp", ".tif"])
def test_pictures_round_trip(tmp_path: Path, suffix: str) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (7, 5, 3), np.uint8)
    write_picture(tmp_path / f"new folder/ä b{suffix}", picture)
    read = read_picture(tmp_path / f"new folder/ä b{suffix}", (7, 5))
    assert read.dtype == np.uint8 and (read == picture).all()


@pytest.mark.parametrize("suffix", [".jpg", ".JPEG"])
def test_jpegs_are_written_well(tmp_path: Path, suffix: str) -> None:
    write_picture(tmp_path / f"a{suffix}", quadrants())
    assert is_close(read_picture(tmp_path / f"a{suffix}"), quadrants())
    assert [path.name for path in tmp_path.iterdir()] == [f"a{suffix}"]


def test_pictures_that_a_format_cannot_hold_are_refused(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.xyz"
    assert refused(write_picture, path, quadrants()) == f"{path}: cannot write .xyz pictures; use .png or .jpg"
    wide = tmp_path / "new" / "wide.jpg"
    expected = f"{wide}: 70000 x 1 pixels exceed the limits of .jpg; use .png"
    assert refused(write_picture, wide, np.zeros((1, 70000, 3), np.uint8)) == expected
    assert not list(tmp_path.iterdir())


def test_gray_is_repeated_and_alpha_dropped(tmp_path: Path) -> None:
    gray = np.repeat(np.arange(0, 256, 16, dtype=np.uint8)[None], 16, axis=0)
    (tmp_path / "gray.jpg").write_bytes(encoded(".jpg", gray))
    (tmp_path / "gray.png").write_bytes(encoded(".png", gray))
    assert is_close(read_picture(tmp_path / "gray.jpg"), gray[:, :, None].repeat(3, axis=2))
    assert (read_picture(tmp_path / "gray.png") == gray[:, :, None]).all()
    transparent = np.dstack([quadrants()[:, :, ::-1], np.full((32, 48), 7, np.uint8)])
    (tmp_path / "rgba.png").write_bytes(encoded(".png", transparent))
    assert (read_picture(tmp_path / "rgba.png", (32, 48)) == quadrants()).all()


@pytest.mark.parametrize("channels", [1, 3, 4])
def test_16_bits_become_8(tmp_path: Path, channels: int) -> None:
    values = np.array([0, 1, 100, 255], np.uint8)
    deep = (values.astype(np.uint16) * 257)[None, :, None].repeat(channels, axis=2)
    (tmp_path / "deep.png").write_bytes(encoded(".png", deep))
    assert read_picture(tmp_path / "deep.png").tolist() == [[[v, v, v] for v in values.tolist()]]


@pytest.fixture
def untold() -> Iterator[None]:
    """Let this process tell again that it reads fewer than 16 bits."""
    images._told_bits[0] = 0
    yield
    images._told_bits[0] = 0


@pytest.mark.parametrize(
    ("largest", "eight"), [(1023, 255), (1024, 64), (3376, 211), (4095, 255), (4096, 64), (16383, 255), (16384, 64)]
)
@pytest.mark.usefixtures("untold")
def test_the_bits_of_a_camera_are_those_of_its_largest_value(tmp_path: Path, largest: int, eight: int) -> None:
    for suffix in (".png", ".tif"):
        (tmp_path / f"a{suffix}").write_bytes(encoded(suffix, np.array([[0, largest]], np.uint16)))
        assert read_picture(tmp_path / f"a{suffix}").tolist() == [[[0] * 3, [eight] * 3]]


@pytest.mark.usefixtures("untold")
def test_fewer_than_16_bits_are_told_once_with_the_picture(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for name, largest in (("full.png", 65535), ("a.png", 3376), ("b.png", 1000)):
        (tmp_path / name).write_bytes(encoded(".png", np.array([[largest]], np.uint16)))
        read_picture(tmp_path / name)
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"{tmp_path}/a.png: 16-bit values up to 3376 are taken for 12 bits and")


def test_a_palette_is_read_as_colors_and_alpha_uncovers_them(tmp_path: Path) -> None:
    colors = [200, 30, 60, 10, 220, 90]
    picture = Image.new("P", (2, 1))
    picture.putpalette(colors)
    picture.putdata([0, 1])
    picture.save(tmp_path / "opaque.png")
    picture.save(tmp_path / "transparent.png", transparency=0)
    for name in ("opaque.png", "transparent.png"):
        assert read_picture(tmp_path / name).tolist() == [[colors[:3], colors[3:]]]


def test_the_four_inks_of_a_jpeg_become_rgb(tmp_path: Path) -> None:
    Image.fromarray(quadrants()).convert("CMYK").save(tmp_path / "a.jpg", quality=95)
    assert is_close(read_picture(tmp_path / "a.jpg"), quadrants())


def test_floats_are_refused(refused: Refused, tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(encoded(".tif", np.full((4, 4, 3), 0.5, np.float32)))
    assert "a.tif: its values are float32, not of 8 or 16 bits" in refused(read_picture, tmp_path / "a.tif")


@pytest.mark.parametrize(
    ("depth", "row", "values"),
    [
        (1, "b0", [1, 0, 1, 1]),
        (2, "1b", [0, 1, 2, 3]),
        (4, "0f37", [0, 15, 3, 7]),
        (8, "000180ff", [0, 1, 128, 255]),
        (16, "00000001ff00ffff", [0, 1, 65280, 65535]),
    ],
)
def test_labels_are_the_values_as_stored(depth: int, row: str, values: list[int]) -> None:
    assert decode_values(png(4, 1, b"\0" + bytes.fromhex(row), depth, 0), "a.png", (1, 4)).tolist() == [values]


def test_palette_pngs_are_read_by_index(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 16, (9, 13)).astype(np.uint8)
    for bits in (4, 8):
        image = Image.fromarray(values)
        image.putpalette([channel for i in range(256) for channel in (i * 7 % 256, 255 - i, 9)])
        image.save(tmp_path / "a.png", bits=bits, transparency=3)
        data = (tmp_path / "a.png").read_bytes()
        assert data[24:26] == bytes([bits, 3])
        assert (decode_values(data, "a.png", (9, 13)) == values).all()


@pytest.mark.parametrize("length", range(8, 60))
def test_labels_that_are_cut_off_anywhere_are_refused(length: int, refused: Refused) -> None:
    assert "cannot be decoded" in refused(decode_values, png(4, 1, bytes(5), 8, 0)[:length], "a.png")


def test_labels_of_another_kind_are_refused(refused: Refused) -> None:
    assert "has colors or an alpha channel" in refused(decode_values, png(1, 1, bytes(4)), "a.png")
    assert "not a PNG, and other formats" in refused(
        decode_values, encoded(".jpg", np.zeros((4, 4), np.uint8)), "a.png"
    )
    assert "4 x 4 pixels, but its picture is 5 x 4 pixels" in refused(
        decode_values, encoded(".png", np.zeros((4, 4), np.uint8)), "a.png", (4, 5)
    )


def test_one_pixel_is_a_picture(tmp_path: Path) -> None:
    for name in ("a.png", "a.jpg"):
        write_picture(tmp_path / name, np.full((1, 1, 3), 200, np.uint8))
        assert is_close(read_picture(tmp_path / name, (1, 1)), np.full((1, 1, 3), 200, np.uint8))


UPRIGHT: dict[int, Callable[[Picture], Picture]] = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.transpose(1, 0, 2),
    6: lambda a: a.transpose(1, 0, 2)[:, ::-1],  # a quarter turn clockwise
    7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
    8: lambda a: a.transpose(1, 0, 2)[::-1],
}


@pytest.mark.parametrize("order", [">", "<"])
@pytest.mark.parametrize("orientation", UPRIGHT)
def test_the_orientation_tag_of_a_camera_is_applied(tmp_path: Path, orientation: int, order: str) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg(quadrants(), orientation, order))
    upright = UPRIGHT[orientation](quadrants())
    assert is_close(read_picture(path), upright)
    assert is_close(read_picture(path, (upright.shape[0], upright.shape[1])), upright)


@pytest.mark.parametrize("orientation", [5, 6, 7, 8])
def test_an_annotation_of_the_stored_frame_wins_over_orientation(tmp_path: Path, orientation: int) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg(quadrants(), orientation))
    assert is_close(read_picture(path, (32, 48)), quadrants())


def test_pictures_of_another_size_are_refused(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(jpeg(quadrants(), 6))
    expected = (
        f"{path}: 48 x 32 pixels, annotated as 480 x 640 pixels; "
        "restore the original, or correct width and height in the JSON"
    )
    assert refused(read_picture, path, (640, 480)) == expected


@pytest.mark.parametrize("read", [read_picture, read_segment_ids])
@pytest.mark.parametrize("suffix", [".png", ".jpg"])
@pytest.mark.parametrize("cut", [0, 1, 9, 0.5, 0.9, -8, -1])
def test_files_cut_short_are_refused(
    refused: Refused, tmp_path: Path, read: Callable[[Path], object], suffix: str, cut: float
) -> None:
    content = encoded(suffix, np.random.default_rng(0).integers(0, 256, (40, 40, 3), np.uint8))
    path = tmp_path / f"a{suffix}"
    path.write_bytes(content)
    read(path)
    path.write_bytes(content[: int(cut * len(content)) if isinstance(cut, float) else cut])
    expected = f"{path}: cannot be decoded; it is cut short or not a picture, so fetch it again"
    assert refused(read, path) == expected


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"no picture at all", b"GIF89a", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n"]
)
def test_files_that_are_not_pictures_are_refused(refused: Refused, tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    assert "cannot be decoded" in refused(read_picture, path)
    assert "cannot be decoded" in refused(read_segment_ids, path)


def test_a_picture_with_a_huge_size_in_its_header_is_refused_before_decoding(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(20000, 10001, b""))  # without pixels, so decoding would fail in another way
    expected = f"{path}: 20000 x 10001 pixels, more than 200,000,000 in all; cut it into tiles"
    assert refused(read_picture, path) == expected
    assert refused(read_segment_ids, path) == expected


def test_a_size_that_is_not_the_annotated_one_is_refused_before_decoding(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png(9000, 9000, b""))
    assert "9000 x 9000 pixels, annotated as 16 x 16" in refused(read_picture, path, (16, 16))
    assert "9000 x 9000 pixels, but its picture is 16 x 16" in refused(read_segment_ids, path, (16, 16))


def test_missing_files_are_refused(refused: Refused, tmp_path: Path) -> None:
    for read in (read_picture, read_segment_ids):
        assert refused(read, tmp_path / "no.png") == f"{tmp_path}/no.png: no such file; check the path"


def test_ids_are_red_and_256_green_and_65536_blue(tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    rows = b"\0" + bytes([0, 0, 0, 1, 0, 0, 0, 1, 0]) + b"\0" + bytes([0, 0, 1, 12, 34, 56, 255, 255, 255])
    path.write_bytes(png(3, 2, rows))
    ids = read_segment_ids(path, (2, 3))
    assert ids.dtype == np.int32
    assert ids.tolist() == [[0, 1, 256], [65536, 12 + 34 * 256 + 56 * 65536, 2**24 - 1]]


IDS = arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 2**24 - 1))


@settings(max_examples=50)
@given(ids=IDS)
def test_ids_survive_the_disk(tmp_path_factory: pytest.TempPathFactory, ids: npt.NDArray[np.int32]) -> None:
    path = tmp_path_factory.getbasetemp() / "ids.png"
    write_segment_ids(path, ids)
    assert (read_segment_ids(path, (ids.shape[0], ids.shape[1])) == ids).all()


def test_maps_of_another_kind_are_refused(refused: Refused, tmp_path: Path) -> None:
    gray = np.zeros((4, 4), np.uint8)
    kinds: dict[str, npt.NDArray[np.integer]] = {
        "gray": gray,
        "rgba": np.zeros((4, 4, 4), np.uint8),
        "gray 16 bits": gray.astype(np.uint16),
        "16 bits": np.zeros((4, 4, 3), np.uint16),
    }
    for name, array in kinds.items():
        path = tmp_path / f"{name}.png"
        path.write_bytes(encoded(".png", array))
        expected = f"{path}: not an 8-bit RGB PNG; COCO panoptic PNGs hold ids as R + 256 G + 256^2 B"
        assert refused(read_segment_ids, path) == expected


def test_maps_of_another_size_are_refused(refused: Refused, tmp_path: Path) -> None:
    path = tmp_path / "map.png"
    write_segment_ids(path, np.zeros((2, 3), np.int32))
    expected = f"{path}: 3 x 2 pixels, but its picture is 2 x 3 pixels; write it in that size"
    assert refused(read_segment_ids, path, (3, 2)) == expected


@settings(max_examples=100)
@given(data=st.data(), suffix=st.sampled_from([".png", ".jpg"]))
def test_damaged_files_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, suffix: str
) -> None:
    content = bytearray(encoded(suffix, np.random.default_rng(0).integers(0, 256, (9, 11, 3), np.uint8)))
    for place in data.draw(st.lists(st.integers(0, len(content) - 1), min_size=1, max_size=4)):
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / f"damaged{suffix}"
    path.write_bytes(content)
    for read in (read_picture, read_segment_ids):
        try:
            array: npt.NDArray[np.integer] = read(path)
        except PanopticBlendError as error:
            assert str(error).startswith(f"{path}: ") and len(str(error).splitlines()) == 1
        else:
            assert array.size > 0
