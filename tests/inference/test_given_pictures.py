"""One picture in all forms that callers have: the same pixels, or one sentence."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from panoptic_blend.formats.images import read_picture
from panoptic_blend.prediction.given_pictures import are_many, picture_of
from panoptic_blend.structures import PanopticBlendError

RGB = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
GRAY = RGB[:, :, 0]
ALPHA = np.dstack([RGB, GRAY])
DEEP = RGB.astype(np.uint16) * 257  # 16 bits whose upper byte is RGB
TENSOR = torch.from_numpy(RGB).permute(2, 0, 1)


def png(array: np.ndarray[Any, Any]) -> bytes:
    """The PNG of an RGB(A) or gray array."""
    channels = [2, 1, 0, 3][: array.shape[2]] if array.ndim == 3 else ...
    return cv2.imencode(".png", array[..., channels] if array.ndim == 3 else array)[1].tobytes()


class Named:
    """A path that is neither a string nor a Path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __fspath__(self) -> str:
        return str(self.path)


@pytest.mark.parametrize(
    "given",
    [
        RGB,
        RGB[::-1][::-1],
        RGB[:, :, ::-1].copy()[:, :, ::-1],  # negative strides
        RGB / 255,
        (RGB / 255).astype(np.float32),
        ALPHA,
        DEEP,
        DEEP.astype(">u2"),
        TENSOR,
        TENSOR / 255,
        (TENSOR / 255).double(),
        torch.from_numpy(ALPHA).permute(2, 0, 1),
        torch.nn.Parameter(TENSOR / 255),
        Image.fromarray(RGB),
        Image.fromarray(ALPHA),
        png(RGB),
        bytearray(png(ALPHA)),
        memoryview(png(DEEP)),
    ],
)
def test_colors(given: Any) -> None:
    found = picture_of(given)
    assert found.dtype == np.uint8 and found.flags.c_contiguous
    assert np.array_equal(found, RGB)
    assert not are_many(given)


@pytest.mark.parametrize(
    "given",
    [
        GRAY,
        GRAY[:, :, None],
        GRAY / 255,
        DEEP[:, :, 0],
        torch.from_numpy(GRAY.copy()),
        torch.from_numpy(GRAY.copy())[None],
        Image.fromarray(GRAY),
        Image.fromarray(np.dstack([GRAY, GRAY]), "LA"),
        Image.open(BytesIO(png(DEEP[:, :, 0]))),
        Image.fromarray(DEEP[:, :, 0].astype(np.int32)),
        png(GRAY),
    ],
)
def test_gray_is_repeated(given: Any) -> None:
    assert np.array_equal(picture_of(given), np.dstack([GRAY] * 3))


def test_paths(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "it.png"
    path.write_bytes(png(RGB))
    for given in (path, str(path), Named(path)):
        assert np.array_equal(picture_of(given), RGB)
        assert not are_many(given)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "disk:").mkdir()
    (tmp_path / "disk:" / "it.png").write_bytes(png(RGB))
    assert np.array_equal(picture_of("disk:/it.png"), RGB)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_orientation_tag_is_applied_as_to_files(tmp_path: Path, orientation: int) -> None:
    tag = Image.Exif()
    tag[0x0112] = orientation
    Image.fromarray(RGB).save(tmp_path / "it.png", exif=tag)
    assert np.array_equal(picture_of(Image.open(tmp_path / "it.png")), read_picture(tmp_path / "it.png"))


def test_other_modes_of_pil() -> None:
    image = Image.fromarray(RGB)
    for mode in ("P", "1", "CMYK", "YCbCr", "HSV", "LAB"):
        assert picture_of(image.convert("RGB" if mode == "LAB" else mode)).shape == (5, 7, 3)
    palette = image.convert("P", palette=Image.Palette.ADAPTIVE, colors=256)
    assert np.array_equal(picture_of(palette), np.asarray(palette.convert("RGB")))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            None,
            "None is not a picture, but what cv2.imread returns for a path that it cannot read; pass the path itself",
        ),
        ("https://127.0.0.1/a.jpg", "is a URL, and nothing is fetched from the network; download it first"),
        (PurePosixPath("s3://bucket/a.jpg"), "s3:/bucket/a.jpg: is a URL"),
        (7, "a int is not a picture; give a path, bytes, an array or a tensor"),
        ({"image": RGB}, "a dict is not a picture; give a path, bytes, an array or a tensor"),
        (BytesIO(b""), "a BytesIO is not a picture; give a path, bytes, such as file.read(), an array or a tensor"),
        (b"", "bytes of a picture: "),
        (b"\xff\xd8\xff", "bytes of a picture: "),
        (np.zeros(3, np.uint8), "an array of shape (3,) and type uint8 is not a picture; give (H, W, 3) uint8 RGB"),
        (np.zeros((0, 5, 3), np.uint8), "an array of shape (0, 5, 3) and type uint8 is not a picture; give (H, W, 3)"),
        (
            np.zeros((3, 4, 5), np.uint8),
            "an array of shape (3, 4, 5) and type uint8 is not a picture; turn it with transp",
        ),
        (
            np.zeros((4, 5, 3), np.int64),
            "an array of shape (4, 5, 3) and type int64 is not a picture; give (H, W, 3) uint8 RGB; "
            "if its values go from 0 to 255, convert it with .astype(np.uint8)",
        ),
        (
            np.zeros((4, 5), bool),
            "an array of shape (4, 5) and type bool is not a picture; give (H, W, 3) uint8 RGB; if",
        ),
        (
            1.0 * RGB,
            ", but floats go from 0 to 1; divide it by its largest possible value, or give uint8",
        ),
        (np.full((4, 5, 3), np.nan), "type float64 holds values that are not finite; replace NaN and infinity"),
        (np.full((4, 5, 3), -np.inf), "type float64 holds values that are not finite; replace NaN and infinity"),
        (RGB / 127.5 - 1, ", but floats go from 0 to 1; undo its normalization, or give uint8"),
        (
            TENSOR.permute(1, 2, 0),
            "a tensor of shape (5, 7, 3) and type uint8 is not a picture; turn it with permute(2, 0, 1)",
        ),
        (TENSOR.float(), "a tensor of shape (3, 5, 7) and type float32 holds "),
        (TENSOR.to_sparse(), "is sparse, or without values; give a dense tensor of pixels"),
        (TENSOR.to("meta"), "is sparse, or without values; give a dense tensor of pixels"),
        (
            TENSOR.long(),
            "is not a picture; give (H, W, 3) uint8 RGB; if its values go from 0 to 255, convert it with .to(",
        ),
        (Image.fromarray(300 * RGB[..., 0].astype(np.float32)), "a PIL image of mode F holds "),
    ],
)
def test_what_is_not_a_picture(given: Any, message: str) -> None:
    with pytest.raises(PanopticBlendError) as error:
        picture_of(given)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not are_many(given)


def test_a_damaged_file_opened_by_pil() -> None:
    image = Image.open(BytesIO(png(np.tile(RGB, (40, 40, 1)))[:3000]))
    with pytest.raises(PanopticBlendError, match="a PIL image of mode RGB cannot be decoded"):
        picture_of(image)


@pytest.mark.parametrize("many", [[], (RGB,), iter([RGB]), RGB[None], TENSOR[None], {"a.jpg"}, (x for x in [RGB])])
def test_many(many: Any) -> None:
    assert are_many(many)
