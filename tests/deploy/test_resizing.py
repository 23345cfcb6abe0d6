"""Pictures resized in numpy are those of torchvision, bit for bit."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from panoptic_blend.data import transforms
from panoptic_blend.deploy.resizing import Resizing, resize_picture

side = st.integers(1, 70)


@settings(deadline=None, max_examples=150)
@given(side, side, side, side, st.sampled_from(["noise", "extremes"]), st.integers(0, 2**16))
@example(3000, 30, 4, 3, "noise", 0)  # weights so small that their number of bits is at its limit
@example(30, 5000, 1, 4, "noise", 0)
def test_pictures_are_those_of_torchvision(
    height: int, width: int, to_height: int, to_width: int, kind: str, seed: int
) -> None:
    picture = np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)
    if kind == "extremes":
        picture = picture // 128 * 255
    expected = transforms.resize_image(torch.from_numpy(picture).permute(2, 0, 1), (to_height, to_width))
    assert (resize_picture(picture, (to_height, to_width)) == expected.permute(1, 2, 0).numpy()).all()


@pytest.mark.parametrize("resize", ["antialiased", "opencv"])
@pytest.mark.parametrize("size", [(48, 64), (300, 40), (801, 900)])
def test_resizing_is_that_of_inference(size: tuple[int, int], resize: Literal["antialiased", "opencv"]) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    expected = transforms.Resizing(100, 160, resize)(torch.from_numpy(picture).permute(2, 0, 1))
    found = Resizing(100, 160, resize)(picture)
    assert found.dtype == np.uint8 and (found == expected.permute(1, 2, 0).numpy()).all()
