"""Operations on a picture and its segment map together; everything else of a target is derived from the map."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional

from panoptic_blend.data.categories import Categories
from panoptic_blend.structures import IGNORE, PanopticMap, Target

Ids = npt.NDArray[np.int32]


def size_for(size: tuple[int, int], short_side: int, long_side: int) -> tuple[int, int]:
    """The (height, width) at which the shorter side is ``short_side``, unless the longer would pass ``long_side``."""
    scale = min(short_side / min(size), long_side / max(size))
    return max(int(size[0] * scale + 0.5), 1), max(int(size[1] * scale + 0.5), 1)


def resize_image(image: Tensor, size: tuple[int, int]) -> Tensor:
    """Image (3, H, W) uint8 to ``size``, bilinear, smoothed where it shrinks."""
    resized: Tensor = functional.resize(image, list(size), antialias=True)
    return resized


def resize_ids(ids: Ids, size: tuple[int, int]) -> Ids:
    """Segment ids (H, W) to ``size``: each pixel takes the id at its centre."""
    rows, columns = (((np.arange(n) + 0.5) * old / n).astype(np.intp) for n, old in zip(size, ids.shape, strict=True))
    return ids[rows[:, None], columns]


@dataclass(frozen=True)
class Augmentation:
    """A random crop, resize and flip of image and map; see ``config.Data`` for the options."""

    short_sides: Sequence[int]
    long_side: int
    flip: float = 0.5
    crop: float = 1.0
    side_sampling: Literal["choice", "range"] = "choice"

    def __call__(self, image: Tensor, ids: Ids, rng: np.random.Generator) -> tuple[Tensor, Ids]:
        """Image (3, H, W) uint8 and its segment ids (H, W), changed alike; all chance comes from ``rng``."""
        if self.crop < 1:
            height, width = (max(int(n * rng.uniform(self.crop, 1)), 1) for n in ids.shape)
            top, left = rng.integers(ids.shape[0] - height + 1), rng.integers(ids.shape[1] - width + 1)
            window = slice(top, top + height), slice(left, left + width)
            image, ids = image[:, window[0], window[1]], ids[window]
        size = size_for((ids.shape[0], ids.shape[1]), self._short_side(rng), self.long_side)
        image, ids = resize_image(image, size), resize_ids(ids, size)
        if rng.random() < self.flip:
            image, ids = image.flip(2), ids[:, ::-1]
        return image, np.ascontiguousarray(ids)

    def _short_side(self, rng: np.random.Generator) -> int:
        if self.side_sampling == "range":
            return int(rng.integers(min(self.short_sides), max(self.short_sides), endpoint=True))
        return int(rng.choice(self.short_sides))


def to_target(panoptic: PanopticMap, categories: Categories) -> Target:
    """What the model trains on, derived from a map of dataset category ids.

    Crowds and void are no instances; semantics count crowds under their class and ignore void.
    """
    index = panoptic.index()
    labels = [categories.label(segment.category) for segment in panoptic.segments]
    things = [IGNORE, *(0 if label is None else label + 1 for label in labels)]
    instances = [i for i, s in enumerate(panoptic.segments) if s.is_thing and not s.is_crowd and s.box is not None]
    numbers = torch.tensor(instances, dtype=torch.int32) + 1
    return {
        "boxes": torch.tensor([panoptic.segments[i].box for i in instances], dtype=torch.float32).reshape(-1, 4),
        "labels": torch.tensor([labels[i] for i in instances], dtype=torch.int64),
        "masks": torch.from_numpy(index) == numbers[:, None, None],
        "semantic": torch.from_numpy(semantic_map(panoptic, categories)),
        "thing_semantic": torch.from_numpy(np.array(things, dtype=np.uint8)[index]),
    }


def semantic_map(panoptic: PanopticMap, categories: Categories) -> npt.NDArray[np.uint8]:
    """Semantic classes (H, W) of a map of dataset category ids: 0 thing, 1..S stuff, 255 void."""
    classes = [IGNORE, *(categories.semantic_class(segment.category) for segment in panoptic.segments)]
    return np.array(classes, dtype=np.uint8)[panoptic.index()]
