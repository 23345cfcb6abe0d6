"""Panoptic copy-paste: things of one training image over another, in the image and in its annotation.

A random subset of the things of a random image, scaled and flipped on its own, hides what lies below (Ghiasi et al.,
Simple Copy-Paste is a Strong Data Augmentation Method for Instance Segmentation, CVPR 2021, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
import numpy.typing as npt
from torch import Tensor

from panoptic_blend.data.photometric import image_of, pixels_of
from panoptic_blend.data.protocol import Sample
from panoptic_blend.data.regions import Regions
from panoptic_blend.data.transforms import Augmentation, Geometry
from panoptic_blend.structures import Size

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Patch:
    """Things cut out of an image, to be pasted over the rows and columns ``window`` (h, w) of another.

    ``things`` are (h, w). ``colors`` (h, w, 3) uint8 are already multiplied by ``alpha`` (h, w, 3) uint8, their
    opacity, so that no color from around the things comes along at their edges.
    """

    window: tuple[slice, slice]
    things: Regions
    colors: Pixels
    alpha: Pixels

    def over_image(self, image: Tensor) -> Tensor:
        """An image (3, H, W) uint8 with the things over it."""
        pixels = pixels_of(image).copy()
        below = cv2.multiply(pixels[self.window], 255 - self.alpha, scale=1 / 255)
        pixels[self.window] = cv2.add(below, self.colors)
        return image_of(pixels)

    def over_instances(self, regions: Regions) -> Regions:
        """The instances (H, W) of an image with the things over them."""
        return regions.covered(self.things, self.window)

    def over_panoptic(self, regions: Regions) -> Regions:
        """The panoptic segments (H, W) of an image with the things over them, in one layer."""
        return regions.covered(Regions([self.things.flat()], self.things.segments), self.window)


def cut_out(sample: Sample, size: Size, augmentation: Augmentation, rng: np.random.Generator) -> Patch | None:
    """Cut random things out of a sample, for an image of ``size`` (height, width); None if it has none to paste.

    Crowds and stuff are never taken, nor are things that the border of their own image cuts off, unless it falls on
    that of the other: their straight edge would be seen.
    """
    geometry, window = augmentation.draw_patch((sample.image.shape[1], sample.image.shape[2]), size, rng)
    source = Regions.of_things(sample)
    things = source.transformed(geometry)
    whole = _whole(things, window, size)
    if not whole:
        return None
    chosen = sorted(rng.choice(whole, rng.integers(1, len(whole), endpoint=True), replace=False).tolist())
    return Patch(window, things.only(chosen), *_cut_out_pixels(sample.image, source.only(chosen), geometry))


def _cut_out_pixels(image: Tensor, things: Regions, geometry: Geometry) -> tuple[Pixels, Pixels]:
    """Colors and opacity of a `Patch`: of the pixels of ``things`` alone, transformed together."""
    rows, columns = geometry.window
    pixels = pixels_of(image[:, rows, columns])
    mask = np.where(things.flat()[rows, columns] > 0, np.uint8(255), np.uint8(0))
    visible = np.dstack([cv2.bitwise_and(pixels, pixels, mask=mask), mask])
    whole = replace(geometry, window=(slice(0, mask.shape[0]), slice(0, mask.shape[1])))
    fitted = pixels_of(whole.image(image_of(visible)))
    return np.ascontiguousarray(fitted[:, :, :3]), fitted[:, :, [3, 3, 3]]


def _whole(regions: Regions, window: tuple[slice, slice], size: Size) -> list[int]:
    """Positions of the instances (h, w) that do not touch a side of their ``window`` inside an image of ``size``."""
    areas, boxes = regions.areas_and_boxes()
    (top, bottom), (left, right) = ((rows.start > 0, rows.stop < n) for rows, n in zip(window, size, strict=True))
    height, width = regions.layers[0].shape
    is_cut = (boxes == [0, 0, width, height]) & [left, top, right, bottom]
    return [i for i in regions.instances() if areas[i] and not is_cut[i].any()]
