"""Images as callers give them to the model, in training and in evaluation."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from panoptic_blend.models.inputs import Doubts, checked_images
from panoptic_blend.structures import PanopticBlendError

COLORS = torch.rand(3, 6, 8, generator=torch.Generator().manual_seed(0))


def checked(images: Any) -> list[Tensor]:
    doubts = Doubts()
    found = checked_images(images, doubts)
    doubts.settle()
    return found


@pytest.mark.parametrize(
    "images",
    [
        [COLORS, (255 * COLORS).byte()],
        (COLORS.half(), COLORS.double()),
        torch.stack([COLORS, COLORS]),
        [COLORS * 1.8 - 0.4],  # noise and bicubic resizing overshoot
        [torch.zeros(3, 1, 1), torch.ones(3, 1, 5)],
    ],
)
def test_images_that_are_right(images: Any) -> None:
    found = checked(images)
    assert len(found) == len(images)
    assert all(torch.equal(image, given) for image, given in zip(found, images, strict=True))


@pytest.mark.parametrize(
    ("images", "message"),
    [
        (COLORS, "images are one tensor of shape (3, 6, 8); give a list of images (3, H, W), such as [image]"),
        (COLORS[0], "images are one tensor of shape (6, 8); give a list of images (3, H, W), such as [image]"),
        ([], "the list of images is empty; leave out batches without images"),
        (None, "images are a NoneType; give a list of tensors (3, H, W)"),
        (iter([COLORS]), "images are a list_iterator; give a list of tensors (3, H, W)"),
        ([COLORS, COLORS[:1]], "image 1 has the shape (1, 6, 8), not (3, H, W); repeat its gray with image.expand"),
        (
            [COLORS.permute(1, 2, 0)],
            "image 0 has the shape (6, 8, 3), not (3, H, W); turn it with image.permute(2, 0, 1)",
        ),
        ([torch.rand(4, 6, 8)], "image 0 has the shape (4, 6, 8), not (3, H, W); drop its alpha with image[:3]"),
        ([COLORS[None]], "image 0 has the shape (1, 3, 6, 8), not (3, H, W); give RGB with the channels first"),
        ([COLORS[:, :0]], "image 0 has the shape (3, 0, 8), not (3, H, W); give RGB with the channels first"),
        ([(255 * COLORS).long()], "image 0 is of type int64; give uint8 from 0 to 255, or float from 0 to 1"),
        ([COLORS.to_sparse()], "image 0 is sparse, or without values; give a dense tensor of pixels"),
        ([COLORS.to("meta")], "image 0 is sparse, or without values; give a dense tensor of pixels"),
        ([COLORS.to(torch.complex64)], "image 0 is of type complex64; give uint8 from 0 to 255, or float from 0 to 1"),
        ([COLORS > 0.5], "image 0 is of type bool; give uint8 from 0 to 255, or float from 0 to 1"),
        (
            [np.zeros((6, 8, 3), dtype=np.uint8)],
            "image 0 is a ndarray; give a tensor (3, H, W) RGB, which torchvision.",
        ),
        (
            [COLORS, 255 * torch.ones(3, 2, 2)],
            "image 1 holds 255 to 255, but a float image goes from 0 to 1; divide it by",
        ),
        ([COLORS * 4 - 2], "but a float image goes from 0 to 1; give it as it is in the file: the model normalizes it"),
        ([torch.full((3, 2, 2), torch.nan)], "image 0 holds nan to nan, but a float image goes from 0 to 1; "),
    ],
)
def test_images_that_are_wrong(images: Any, message: str) -> None:
    with pytest.raises(PanopticBlendError) as error:
        checked(images)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_doubts_are_read_together_and_the_first_is_said() -> None:
    doubts = Doubts()
    doubts.settle()
    for number, flag in enumerate([False, True, True]):
        doubts.add(partial(torch.tensor, flag), lambda _, number=number: f"doubt {number}")  # type: ignore[misc]
    with pytest.raises(PanopticBlendError, match="doubt 1"):
        doubts.settle()
