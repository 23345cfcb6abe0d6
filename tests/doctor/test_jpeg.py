"""Damage inside of JPEGs is found, and nothing in whole ones."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import numpy.typing as npt
import pytest

from panoptic_blend.doctor.jpeg import damage
from panoptic_blend.formats.images import decode_picture
from panoptic_blend.formats.quiet import quiet
from panoptic_blend.structures import PanopticBlendError

BLOCKS = np.random.default_rng(0).integers(0, 256, (12, 16, 3)).astype(np.uint8)
PHOTO = cv2.resize(BLOCKS, (320, 240), interpolation=cv2.INTER_CUBIC).astype(np.uint8)


def jpeg(picture: npt.NDArray[np.uint8], quality: int = 95, optimized: int = 0, progressive: int = 0) -> bytes:
    options = [
        *(cv2.IMWRITE_JPEG_QUALITY, quality),
        *(cv2.IMWRITE_JPEG_OPTIMIZE, optimized),
        *(cv2.IMWRITE_JPEG_PROGRESSIVE, progressive),
    ]
    return cv2.imencode(".jpg", picture, options)[1].tobytes()


def found(data: bytes) -> str | None:
    try:
        with quiet.overhearing() as printed:
            decode_picture(data, "a.jpg")
            said = printed()
    except PanopticBlendError:
        return "cannot be decoded"
    return damage(data, said)


@pytest.mark.parametrize("progressive", [0, 1])
@pytest.mark.parametrize("fill", [b"\0" * 200, b"\xff" * 200, b""])
@pytest.mark.parametrize("share", [0.4, 0.5, 0.6, 0.7])
def test_bytes_that_were_overwritten_or_lost_are_found(fill: bytes, share: float, progressive: int) -> None:
    data = jpeg(PHOTO, progressive=progressive)
    assert found(data) is None
    middle = int(share * len(data))
    assert found(data[:middle] + fill + data[middle + 200 :]) is not None


def test_whole_pictures_are_not_suspected() -> None:
    flat, ramp = np.full((200, 300, 3), 200, np.uint8), np.arange(300 * 200 * 3).reshape(200, 300, 3).astype(np.uint8)
    for picture, quality, optimized, progressive in itertools.product(
        (PHOTO, flat, ramp, np.zeros_like(flat), PHOTO[:, :, 0].copy()), (1, 50, 100), (0, 1), (0, 1)
    ):
        data = jpeg(picture, quality, optimized, progressive)
        for whole in (data, data[:-2] + bytes(30) + data[-2:], data + bytes(1000)):  # as cameras pad their files
            assert found(whole) is None


def test_what_libjpeg_prints_is_overheard_and_does_not_reach_the_terminal(capfd: pytest.CaptureFixture[str]) -> None:
    data = jpeg(PHOTO)
    assert found(data[: len(data) // 2] + b"\xff\xd9") == "premature end of data segment"
    assert "extraneous bytes before marker 0xd9" in str(found(data[:-2] + b"12345678" + data[-2:]))
    assert capfd.readouterr().err == ""


def test_a_scan_without_a_header_is_left_to_the_decoder() -> None:
    assert damage(b"\xff\xd8\xff\xc0\x00\x02\xff\xda\x00\x02" + bytes(100), "") is None
