"""Cityscapes' panoptic files: the JSON and PNGs of ``createPanopticImgs``, and pictures in folders of cities."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import ClassVar

from panoptic_blend.convert.cityscapes import PICTURE
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.interchange.label_writer import MASK, Context, LabelWriter
from panoptic_blend.interchange.source import LabeledPicture


class Cityscapes(LabelWriter):
    """Image ids are the names of the pictures, without suffix; those of a subfolder, or of the split, are one city."""

    has_polygons: ClassVar[bool] = False

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        path = context.folder / "gtFine" / f"cityscapes_panoptic_{context.split}.json"
        self._writer = PanopticWriter(path, categories=context.categories)

    def place(self, name: str) -> str:
        path = PurePosixPath(name)
        city = "_".join(path.parts[:-1]) or self.context.split
        return f"leftImg8bit/{self.context.split}/{city}/{_identity(name)}{PICTURE}{path.suffix}"

    def add(self, picture: LabeledPicture) -> None:
        self.drawn[MASK] += len(picture.regions)
        identity = _identity(self.file_of(picture.name, ""))
        image, annotation = self._writer.save(
            identity, f"{identity}_gtFine{PICTURE}.png", picture.panoptic, f"{identity}_gtFine_panoptic.png"
        )
        self._writer.append([image], [annotation])

    def finish(self) -> None:
        with self._writer:
            pass

    def way_back(self) -> Sequence[str]:
        split = self.context.split
        return ["cityscapes", f"DIR/gtFine/cityscapes_panoptic_{split}.json", "--pictures", f"DIR/leftImg8bit/{split}"]


def _identity(name: str) -> str:
    return str(PurePosixPath(name).with_suffix("")).replace("/", "_")
