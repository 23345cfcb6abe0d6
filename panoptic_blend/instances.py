"""Instances of one image as COCO's instance files have them: boxes and run-length masks, which may overlap.

Here boxes are ``x, y, width, height``, as in these files, because the official AP is computed from these four numbers;
everywhere else in the library they are two corners.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pycocotools import mask as coco

from panoptic_blend.structures import Size

_AREAS_AT_ONCE = 255
"""pycocotools fails to compute the areas of more masks at once."""


@dataclass(frozen=True, eq=False)
class TrueInstances:
    """The annotated instances of one image of ``size`` (height, width), G of them, in the order of their file."""

    size: Size
    category_ids: npt.NDArray[np.int64]
    """Category ids of the data set (G,)."""
    boxes: npt.NDArray[np.float64]
    """Boxes (G, 4) as x, y, width, height in pixels."""
    masks: Sequence[bytes]
    """G masks, as the compressed run lengths of pycocotools; none at all if the annotations are boxes only."""
    areas: npt.NDArray[np.float64]
    """The ``area`` of the annotations (G,) in pixels, which need not be that of the masks."""
    is_crowd: npt.NDArray[np.bool_]
    """Whether each annotation (G,) is a region of many instances that cannot be told apart."""

    def __len__(self) -> int:
        return len(self.category_ids)

    def corners(self) -> npt.NDArray[np.float64]:
        """The boxes (G, 4) as two corners x0, y0, x1, y1."""
        return np.concatenate([self.boxes[:, :2], self.boxes[:, :2] + self.boxes[:, 2:]], axis=1)


@dataclass(frozen=True, eq=False)
class FoundInstances:
    """The detections of one image of ``size`` (height, width), D of them, in the order of their file."""

    size: Size
    category_ids: npt.NDArray[np.int64]
    """Category ids of the data set (D,)."""
    scores: npt.NDArray[np.float64]
    """Scores (D,)."""
    boxes: npt.NDArray[np.float64]
    """Boxes (D, 4) as x, y, width, height in pixels."""
    masks: Sequence[bytes] | None
    """D masks, as the compressed run lengths of pycocotools; None for detections that are boxes only."""
    areas: npt.NDArray[np.float64] | None = None
    """Areas (D,) by which unmatched detections are small, medium or large.

    pycocotools takes those of the boxes, for masks too, if a file of results has boxes, else those of the masks. None
    for the areas of boxes in AP of boxes and of masks in AP of masks, as detectron2 and mmdetection have it.
    """

    def __len__(self) -> int:
        return len(self.category_ids)


def run_lengths(size: Size, masks: Sequence[bytes]) -> list[dict[str, Any]]:
    """Masks as the records that the functions of ``pycocotools.mask`` take."""
    return [{"size": list(size), "counts": mask} for mask in masks]


def mask_areas(masks: Sequence[dict[str, Any]]) -> npt.NDArray[np.float64]:
    """Areas (D,) in pixels of masks as `run_lengths` gives them."""
    chunks = (list(masks[start : start + _AREAS_AT_ONCE]) for start in range(0, len(masks), _AREAS_AT_ONCE))
    return np.concatenate([np.zeros(0), *map(coco.area, chunks)])
