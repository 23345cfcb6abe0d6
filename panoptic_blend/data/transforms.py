"""Transforms of a picture together with its annotation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from panoptic_blend.config.options import Data
from panoptic_blend.data.photometric import change_colors, lower_quality
from panoptic_blend.deploy.resizing import scaled, size_for
from panoptic_blend.structures import Size

Ids = npt.NDArray[np.integer[Any]]


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize an image (3, H, W) uint8 to ``size`` (height, width): bilinear, with antialiasing."""
    interleaved = image.permute(1, 2, 0).contiguous().permute(2, 0, 1)  # twice as fast as three planes, same values
    resized: Tensor = functional.resize(interleaved, list(size), antialias=True)
    return resized


@dataclass(frozen=True)
class Resizing:
    """The resize of pictures in inference; the options are those of `panoptic_blend.config.options.Test`."""

    short_side: int
    long_side: int
    resize: Literal["antialiased", "opencv"] = "antialiased"

    def __call__(self, image: Tensor) -> Tensor:
        """Resize an image (3, H, W) uint8 to the size of `size_for`."""
        size = size_for((image.shape[1], image.shape[2]), self.short_side, self.long_side)
        return resize_image(image, size) if self.resize == "antialiased" else _resize_by_opencv(image, size)


def _resize_by_opencv(image: Tensor, size: tuple[int, int]) -> Tensor:
    pixels = image.permute(1, 2, 0).numpy()
    return torch.from_numpy(cv2.resize(pixels, (size[1], size[0]), interpolation=cv2.INTER_LINEAR)).permute(2, 0, 1)


def resize_ids(ids: Ids, size: tuple[int, int]) -> Ids:
    """Resize a map (H, W), int32 or uint8, to ``size`` (height, width); each pixel takes the value at its center."""
    rows, columns = (((np.arange(n) + 0.5) * old / n).astype(np.intp) for n, old in zip(size, ids.shape, strict=True))
    # copying whole rows is much faster than copying single pixels, so columns are transposed to rows and selected
    return cv2.transpose(cv2.transpose(ids)[columns])[rows]


@dataclass(frozen=True)
class Geometry:
    """A crop of an image to a ``window``, then a resize to ``size`` (height, width), then perhaps a mirror image."""

    window: tuple[slice, slice]
    size: Size
    is_flipped: bool

    def image(self, image: Tensor) -> Tensor:
        """Transform an image (3, H, W) uint8."""
        resized = resize_image(image[:, self.window[0], self.window[1]], self.size)
        return resized.flip(2) if self.is_flipped else resized

    def ids(self, ids: Ids) -> Ids:
        """Transform a map (H, W) as its image."""
        resized = resize_ids(ids[self.window], self.size)
        return cv2.flip(resized, 1) if self.is_flipped else resized  # type: ignore[return-value]

    def boxes(self, boxes: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Transform boxes (G, 4) of two corners as their image, and cut them off at its border."""
        corners = boxes.reshape(-1, 2, 2) - [self.window[1].start, self.window[0].start]
        cropped = [window.stop - window.start for window in self.window[::-1]]
        corners = corners * [new / old for new, old in zip(self.size[::-1], cropped, strict=True)]
        if self.is_flipped:
            corners[:, :, 0] = self.size[1] - corners[:, ::-1, 0]
        return np.clip(corners, 0, self.size[::-1]).reshape(-1, 4)


_PATCH_FACTORS = 0.5, 2.0
"""Factors of the size of an image whose things are pasted, where there is no jitter."""


@dataclass(frozen=True)
class Augmentation:
    """Random crop, resize and horizontal flip of an image together with its annotation, and changes of its pixels.

    The options are those of `panoptic_blend.config.options.Data`: ``short_sides`` and ``long_side`` in pixels,
    ``flip`` the probability of a flip, ``crop`` the smallest fraction of each side that a crop keeps, ``jitter`` the
    range of a log-uniform factor of the size, which is a crop to that size where it enlarges (large scale jitter:
    Ghiasi et al., Simple Copy-Paste, CVPR 2021, section 3), ``color`` the strength of `change_colors`, ``degrade`` the
    probability of `lower_quality`, ``copy_paste`` that of `cut_out`.
    """

    short_sides: Sequence[int]
    long_side: int
    flip: float = 0.5
    crop: float = 1.0
    side_sampling: Literal["choice", "range"] = "choice"
    jitter: tuple[float, float] | None = None
    color: float = 0.0
    degrade: float = 0.0
    copy_paste: float = 0.0

    @classmethod
    def from_options(cls, data: Data) -> Augmentation:
        """The augmentation that a config asks for."""
        return cls(**{field.name: getattr(data, field.name) for field in fields(cls)})

    @property
    def hides_parts(self) -> bool:
        """Whether an object may lose a part."""
        return self.crop < 1 or self.jitter is not None or self.copy_paste > 0

    def draw(self, size: Size, rng: np.random.Generator) -> Geometry:
        """A random transform for an image of ``size`` (height, width); ``rng`` makes all choices."""
        window = slice(0, size[0]), slice(0, size[1])
        if self.crop < 1:
            height, width = (max(int(n * rng.uniform(self.crop, 1)), 1) for n in size)
            window, size = _random_window(size, (height, width), rng), (height, width)
        resized = size_for(size, self._short_side(rng), self.long_side)
        if self.jitter:
            factor = _log_uniform(self.jitter, rng)
            if factor > 1:  # the crop of the enlarged image, taken before the resize: a window costs less than a whole
                window = _random_window(size, scaled(size, 1 / factor), rng)
            else:
                resized = scaled(resized, factor)
        return Geometry(window, resized, bool(rng.random() < self.flip))

    def draw_patch(self, size: Size, canvas: Size, rng: np.random.Generator) -> tuple[Geometry, tuple[slice, slice]]:
        """A random transform for an image of ``size`` of which parts are pasted into another of size ``canvas``.

        The image is scaled as a whole, by the factors of ``jitter`` or from half to double, and laid over the canvas
        anywhere. Only what lies over it is transformed.

        Returns:
            The transform, and rows and columns of the canvas that its result belongs to.
        """
        factor = _log_uniform(self.jitter or _PATCH_FACTORS, rng)
        scaled_size = scaled(size_for(size, self._short_side(rng), self.long_side), factor)
        rows, columns = (_overlap(*lengths, rng) for lengths in zip(size, scaled_size, canvas, strict=True))
        window = rows[1], columns[1]
        fitted = window[0].stop - window[0].start, window[1].stop - window[1].start
        return Geometry((rows[0], columns[0]), fitted, bool(rng.random() < self.flip)), window

    def alter(self, image: Tensor, rng: np.random.Generator) -> Tensor:
        """Change colors and sharpness of an image (3, H, W) uint8; ``rng`` makes all choices."""
        if self.color:
            image = change_colors(image, self.color, rng)
        return lower_quality(image, rng) if rng.random() < self.degrade else image

    def _short_side(self, rng: np.random.Generator) -> int:
        if self.side_sampling == "range":
            return int(rng.integers(min(self.short_sides), max(self.short_sides), endpoint=True))
        return int(rng.choice(self.short_sides))


def _log_uniform(limits: tuple[float, float], rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(*np.log(limits))))


def _overlap(old: int, new: int, canvas: int, rng: np.random.Generator) -> tuple[slice, slice]:
    """Lay a length, scaled from ``old`` to ``new``, over that of a canvas anywhere; the longer one covers the other.

    Returns:
        What of the unscaled length lies over the canvas, and where on the canvas it does.
    """
    offset = int(rng.integers(min(canvas - new, 0), max(canvas - new, 0), endpoint=True))
    start, stop = max(offset, 0), min(offset + new, canvas)
    return slice((start - offset) * old // new, -((stop - offset) * old // -new)), slice(start, stop)


def _random_window(whole: Size, part: Size, rng: np.random.Generator) -> tuple[slice, slice]:
    """The rows and columns of a part of a size (height, width), anywhere within the whole."""
    top, left = (int(rng.integers(n - kept + 1)) for n, kept in zip(whole, part, strict=True))
    return slice(top, top + part[0]), slice(left, left + part[1])
