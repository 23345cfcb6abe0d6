"""Transforms of a picture together with its segment map, and training targets derived from the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from panoptic_blend.formats.categories import Categories
from panoptic_blend.structures import IGNORE, PanopticMap, Runs, Segment, Target

Ids = npt.NDArray[np.integer[Any]]


def size_for(size: tuple[int, int], short_side: int, long_side: int) -> tuple[int, int]:
    """The (height, width) of an image scaled to ``short_side``, but with a longer side of at most ``long_side``."""
    scale = min(short_side / min(size), long_side / max(size))
    return max(int(size[0] * scale + 0.5), 1), max(int(size[1] * scale + 0.5), 1)


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
class Augmentation:
    """Random crop, resize and horizontal flip of an image together with its map.

    The options are those of `panoptic_blend.config.options.Data`: ``short_sides`` and ``long_side`` in pixels,
    ``flip`` the probability of a flip, ``crop`` the smallest fraction of each side that a crop keeps.
    """

    short_sides: Sequence[int]
    long_side: int
    flip: float = 0.5
    crop: float = 1.0
    side_sampling: Literal["choice", "range"] = "choice"

    def __call__(self, image: Tensor, ids: Ids, rng: np.random.Generator) -> tuple[Tensor, Ids]:
        """Transform an image (3, H, W) uint8 and its map (H, W) in the same way; ``rng`` makes all random choices."""
        if self.crop < 1:
            height, width = (max(int(n * rng.uniform(self.crop, 1)), 1) for n in ids.shape)
            top, left = rng.integers(ids.shape[0] - height + 1), rng.integers(ids.shape[1] - width + 1)
            window = slice(top, top + height), slice(left, left + width)
            image, ids = image[:, window[0], window[1]], ids[window]
        size = size_for((ids.shape[0], ids.shape[1]), self._short_side(rng), self.long_side)
        image, ids = resize_image(image, size), resize_ids(ids, size)
        if rng.random() < self.flip:
            image, ids = image.flip(2), cv2.flip(ids, 1)  # type: ignore[assignment]
        return image, ids

    def _short_side(self, rng: np.random.Generator) -> int:
        if self.side_sampling == "range":
            return int(rng.integers(min(self.short_sides), max(self.short_sides), endpoint=True))
        return int(rng.choice(self.short_sides))


@dataclass(frozen=True)
class PackedTarget:
    """A `Target` as it is sent between processes: its maps are run lengths, which are much smaller than pixels.

    ``boxes`` (G, 4) float32 and ``labels`` (G,) int64 are those of the target. All maps of the target have the same
    ``runs``; for each map, by name, ``tables`` translates the values of the runs to those of the map.
    """

    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    runs: Runs
    tables: dict[str, Ids]

    @classmethod
    def from_runs(cls, runs: Runs, segments: Sequence[Segment], categories: Categories) -> PackedTarget:
        """Derive a target from the runs of a map (see `PanopticMap.runs`) and its ``segments`` with dataset ids.

        Crowds are not instances, but their pixels have their class in the semantic maps; void is ignored there.
        Areas and boxes are measured from the map; those of ``segments`` are not used.
        """
        areas, boxes = runs.areas_and_boxes(len(segments))
        labels = [categories.label(segment.category) for segment in segments]
        instances = [i for i, s in enumerate(segments) if s.is_thing and not s.is_crowd and areas[i]]
        numbers: Ids = np.zeros(len(segments) + 1, dtype=np.uint8 if len(instances) < 256 else np.int32)
        numbers[[i + 1 for i in instances]] = np.arange(1, len(instances) + 1)
        things = [IGNORE, *(0 if label is None else label + 1 for label in labels)]
        tables: dict[str, Ids] = {
            "instance_map": numbers,
            "semantic": _classes(segments, categories),
            "thing_semantic": np.array(things, dtype=np.uint8),
        }
        found = np.array([labels[i] for i in instances], dtype=np.int64)
        return cls(boxes[instances].astype(np.float32), found, runs, tables)

    def unpack(self) -> Target:
        """Decode the target."""
        decoded = {name: self.runs.paint(table[self.runs.values]) for name, table in self.tables.items()}
        maps = {name: torch.from_numpy(pixels) for name, pixels in decoded.items()}
        return {
            "boxes": torch.from_numpy(self.boxes),
            "labels": torch.from_numpy(self.labels),
            "instance_map": maps["instance_map"],
            "semantic": maps["semantic"],
            "thing_semantic": maps["thing_semantic"],
        }


def semantic_map(panoptic: PanopticMap, categories: Categories) -> npt.NDArray[np.uint8]:
    """The semantic classes (H, W) uint8 of a map with dataset category ids: 0 thing, 1..S stuff, 255 void."""
    runs = panoptic.runs()
    return runs.paint(_classes(panoptic.segments, categories)[runs.values])


def _classes(segments: Sequence[Segment], categories: Categories) -> npt.NDArray[np.uint8]:
    """The semantic class of void, then that of each segment."""
    return np.array([IGNORE, *(categories.semantic_class(segment.category) for segment in segments)], dtype=np.uint8)
