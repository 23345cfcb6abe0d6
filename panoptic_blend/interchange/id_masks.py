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
        things = [r for r in picture.regions if r.category.is_thing and not r.segment.is_crowd]
        if len(things) > _LARGEST:
            raise PanopticBlendError(
                f"{picture.name}: has {len(things)} things, more than a gray PNG can number; remove some"
            )
        classes, instances = np.zeros(picture.size, np.uint16), np.zeros(picture.size, np.uint16)
        for region in picture.regions:
            classes[region.cutout.window][region.cutout.mask] = region.category.id
        for number, thing in enumerate(things, start=1):
            instances[thing.cutout.window][thing.cutout.mask] = number
        name = self.file_of(picture.name, ".png")
        write_values(inside(self.context.folder / CLASSES, name), classes)
        write_values(inside(self.context.folder / INSTANCES, name), instances)

    def finish(self) -> None:
        with replacing(self.context.folder / TABLE) as temporary:
            temporary.write_text(json.dumps({"categories": self.context.categories.records()}), encoding="utf-8")

    def way_back(self) -> Sequence[str]:
        folders = ["--instances", f"DIR/{INSTANCES}", "--pictures", f"DIR/{PICTURES}"]
        return ["masks", f"DIR/{CLASSES}", "--classes", f"DIR/{TABLE}", *folders]
