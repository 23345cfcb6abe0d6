"""The resize of pictures in inference without torch, to the last bit as torchvision resizes them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np

from panoptic_blend.formats.images import Picture
from panoptic_blend.postprocessing.interpolation import Floats, tiles
from panoptic_blend.structures import Size


def size_for(size: Size, short_side: int, long_side: int) -> Size:
    """The (height, width) of an image scaled to ``short_side``, but with a longer side of at most ``long_side``."""
    return scaled(size, min(short_side / min(size), long_side / max(size)))


def scaled(size: Size, factor: float) -> Size:
    """A (height, width) times ``factor``, rounded, at least one pixel each."""
    return max(int(size[0] * factor + 0.5), 1), max(int(size[1] * factor + 0.5), 1)


@dataclass(frozen=True)
class Resizing:
    """`data.transforms.Resizing` of arrays; the options are those of `panoptic_blend.config.options.Test`."""

    short_side: int
    long_side: int
    resize: Literal["antialiased", "opencv"] = "antialiased"

    def __call__(self, picture: Picture) -> Picture:
        """Resize a picture (H, W, 3) uint8 to the size of `size_for`."""
        height, width = size_for((picture.shape[0], picture.shape[1]), self.short_side, self.long_side)
        if self.resize == "opencv":
            return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_LINEAR), np.uint8)
        return resize_picture(picture, (height, width))


def resize_picture(picture: Picture, size: Size) -> Picture:
    """Resize a picture (H, W, 3) uint8 to ``size`` (height, width): bilinear, with antialiasing, as Pillow does.

    First its columns and then its rows are weighed, in whole numbers, and rounded to 8 bits each time.
    """
    if size[1] != picture.shape[1]:
        picture = np.asarray(cv2.transpose(_with_rows(np.asarray(cv2.transpose(picture)), size[1])))
    return _with_rows(picture, size[0]) if size[0] != picture.shape[0] else picture


_BAND = 16
"""Rows of the result that are computed together."""


def _with_rows(picture: Picture, rows: int) -> Picture:
    """Resize a picture (H, W, 3) to (rows, W, 3)."""
    weights, bits = _whole_weights(len(picture), rows)
    # whole numbers below 2 ** 24 are exact in float32, in any order of summation
    exact = np.float32 if bits <= 16 else np.float64
    flat, result = picture.reshape(len(picture), -1), np.empty((rows, *picture.shape[1:]), dtype=np.uint8)
    bands = zip(tiles(weights.astype(exact), _BAND), range(0, rows, _BAND), strict=True)
    for (part, read), first in bands:
        band = part @ flat[read].astype(exact)
        band += exact(1 << (bits - 1))
        band *= exact(0.5**bits)
        result[first : first + _BAND] = np.minimum(band, 255).reshape(-1, *picture.shape[1:])
    return result


def _whole_weights(old: int, new: int) -> tuple[Floats, int]:
    """Weights (new, old) of a triangle around each result as whole numbers, and the bits by which these are larger."""
    scale = old / new
    reach = max(scale, 1.0)
    centers = scale * (np.arange(new) + 0.5)
    firsts = np.maximum((centers - reach + 0.5).astype(int), 0)
    ends = np.minimum((centers + reach + 0.5).astype(int), old)
    numbers = firsts[:, None] + np.arange((ends - firsts).max())
    shares = np.maximum(1 - np.abs((numbers - centers[:, None] + 0.5) / reach), 0)
    shares[numbers >= ends[:, None]] = 0
    # zeros behind the end would change the order in which numpy adds, and so the last bit of a sum
    sums = [row[:count].sum() for row, count in zip(shares, (ends - firsts).tolist(), strict=True)]
    shares /= np.array(sums)[:, None]
    bits = next((bits for bits in range(22) if int(0.5 + shares.max() * (1 << (bits + 1))) >= 1 << 15), 22)
    whole = np.zeros((new, old + shares.shape[1]))
    np.put_along_axis(whole, numbers, np.floor(shares * (1 << bits) + 0.5), axis=1)
    return whole[:, :old], bits
