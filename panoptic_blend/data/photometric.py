"""Random changes of the pixels of a training image that move nothing: colors, blur and JPEG artefacts."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

_FACTOR = 0.5
"""Largest change of brightness, contrast and saturation: factors from 0.5 to 1.5."""

_TURN = 0.2 * np.pi
"""Largest turn of the hue in radians: a tenth of the circle."""

_SIGMA = 0.5, 2.0
"""Standard deviation of the blur in pixels, log-uniform."""

_QUALITY = 20, 80
"""Lowest and highest quality of JPEG."""

_YIQ = np.array([[0.299, 0.587, 0.114], [0.596, -0.274, -0.322], [0.211, -0.523, 0.312]])
"""From RGB to the luma and the two color differences of the NTSC."""


def change_colors(image: Tensor, strength: float, rng: np.random.Generator) -> Tensor:
    """Change brightness, contrast, saturation and hue of an image (3, H, W) uint8 at random, by one matrix.

    Strength 1 multiplies the first three by 0.5 to 1.5 and turns the hue by up to 36 degrees, 0 changes nothing.
    Contrast is relative to the mean luma; gray stays gray.
    """
    brightness, contrast, saturation = 1 + _FACTOR * strength * rng.uniform(-1, 1, 3)
    angle = _TURN * strength * rng.uniform(-1, 1)
    cos, sin = saturation * np.cos(angle), saturation * np.sin(angle)
    chroma = np.linalg.inv(_YIQ) @ [[1, 0, 0], [0, cos, -sin], [0, sin, cos]] @ _YIQ
    pixels = pixels_of(image)
    mean = brightness * (_YIQ[0] @ cv2.mean(pixels)[:3])
    offset = np.full((3, 1), (1 - contrast) * mean)
    return image_of(cv2.transform(pixels, np.hstack([brightness * contrast * chroma, offset])))


def lower_quality(image: Tensor, rng: np.random.Generator) -> Tensor:
    """Blur an image (3, H, W) uint8, or compress it as JPEG, at random."""
    pixels = pixels_of(image)
    if rng.random() < 0.5:
        return image_of(cv2.GaussianBlur(pixels, (0, 0), float(np.exp(rng.uniform(*np.log(_SIGMA))))))
    quality = int(rng.integers(*_QUALITY, endpoint=True))
    _, encoded = cv2.imencode(".jpg", cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return image_of(cv2.imdecode(encoded, cv2.IMREAD_COLOR_RGB))


def pixels_of(image: Tensor) -> npt.NDArray[np.uint8]:
    """The pixels (H, W, channels) of an image (channels, H, W), copied only if they are not in this order in memory."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def image_of(pixels: Any) -> Tensor:
    """The image (channels, H, W) of pixels (H, W, channels), in the same memory."""
    return torch.from_numpy(pixels).permute(2, 0, 1)
