"""Folders of PNGs: one with the class of each pixel, one with its instance, and a table of the classes."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

import numpy as np

from panoptic_blend.files import inside, replacing
from panoptic_blend.formats.images import write_values
from panoptic_blend.interchange.label_writer import MASK, Context, LabelWriter
from panoptic_blend.interchange.source import LabeledPicture
from panoptic_blend.structures import PanopticBlendError

PICTURES, CLASSES, INSTANCES, TABLE = "images", "classes", "instances", "classes.json"
_LARGEST = 2**16 - 1


class IdMasks(LabelWriter):
    """Gray PNGs of 16 bits, named like the pictures: the id of the class, 0 for void, and the number of the instance.

    The instances of a picture are numbered from 1; stuff and crowds have 0. Ids of classes are those of the data set.
    """

    has_polygons: ClassVar[bool] = False
    has_scores: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        for category in context.categories:
            if not 0 < category.id <= _LARGEST:
                raise PanopticBlendError(
                    f"category {category.name} has the id {category.id}, which a gray PNG cannot hold beside 0 for "
                    f"void; give it one from 1 to {_LARGEST}"
                )

    def place(self, name: str) -> str:
        return f"{PICTURES}/{name}"

    def add(self, picture: LabeledPicture) -> None:
        self.drawn[MASK] += len(picture.regions)
        classes, instances = np.zeros(picture.size, np.uint16), np.zeros(picture.size, np.uint16)
        number = 0
        for region in picture.regions:
            window, mask = region.cutout.window, region.cutout.mask
            classes[window][mask] = region.category.id
            if region.category.is_thing and not region.segment.is_crowd:
                number += 1
                instances[window][mask] = number
        if number > _LARGEST:
            raise PanopticBlendError(
                f"{picture.name}: has {number} things, more than a gray PNG can number; remove some"
            )
        name = self.file_of(picture.name, ".png")
        write_values(inside(self.context.folder / CLASSES, name), classes)
        write_values(inside(self.context.folder / INSTANCES, name), instances)

    def finish(self) -> None:
        with replacing(self.context.folder / TABLE) as temporary:
            temporary.write_text(json.dumps({"categories": self.context.categories.records()}), encoding="utf-8")

    def way_back(self) -> Sequence[str]:
        folders = ["--instances", f"DIR/{INSTANCES}", "--pictures", f"DIR/{PICTURES}"]
        return ["masks", f"DIR/{CLASSES}", "--classes", f"DIR/{TABLE}", *folders]
