"""YOLO segmentation: a text file for each picture, one line for each segment: its class and one polygon."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from panoptic_blend.convert.yolo import SPLITS
from panoptic_blend.files import inside, replacing
from panoptic_blend.formats.name_lists import all_names
from panoptic_blend.interchange.label_writer import POLYGON, Context, LabelWriter
from panoptic_blend.interchange.rings import edge_rings, joined
from panoptic_blend.interchange.source import LabeledPicture, Region
from panoptic_blend.structures import Size

_DIGITS = 7
"""Decimals of a coordinate: a millionth of a picture would be a hundredth of a pixel at 10,000 pixels."""


class Yolo(LabelWriter):
    """Parts and holes of a segment are joined to one polygon; crowds, for which there is no place, are left out."""

    has_masks: ClassVar[bool] = False
    has_scores: ClassVar[bool] = False
    has_crowds: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._split = next((name for name in SPLITS if context.split.startswith(name)), SPLITS[0])

    def place(self, name: str) -> str:
        return f"images/{self._split}/{name}"

    def add(self, picture: LabeledPicture) -> None:
        name = f"labels/{self._split}/{self.file_of(picture.name, '.txt')}"
        with replacing(inside(self.context.folder, name)) as temporary:
            temporary.write_text("".join(self._line(region, picture.size) for region in picture.regions))

    def finish(self) -> None:
        names = [category.name for category in self.context.categories]
        lines = [f"{split}: {f'images/{split}' if split == self._split else ''}".rstrip() for split in SPLITS]
        lines += ["names:", *(f"  {index}: {json.dumps(name)}" for index, name in enumerate(names))]
        with replacing(self.context.folder / "data.yaml") as temporary:
            temporary.write_text("\n".join([*lines, ""]), encoding="utf-8")

    def way_back(self) -> Sequence[str]:
        return ["yolo", "DIR", *(["--stuff", all_names(self.stuff)] if self.stuff else [])]

    def _line(self, region: Region, size: Size) -> str:
        self.drawn[POLYGON] += 1
        ring = joined(edge_rings(region.cutout, self.context.drawing.tolerance)) / size[::-1]
        index = self.context.categories.places[region.category.id]
        return " ".join([str(index), *(f"{number:.{_DIGITS}g}" for number in ring.ravel().tolist())]) + "\n"
