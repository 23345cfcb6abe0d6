"""LabelMe: one JSON beside each picture. A segment with a hole, or a part too thin for a polygon, is a mask."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath
from typing import ClassVar

import cv2
import numpy as np

from panoptic_blend.convert.labelme import CROWD
from panoptic_blend.files import inside, replacing
from panoptic_blend.formats.name_lists import all_names
from panoptic_blend.interchange.label_writer import LabelWriter
from panoptic_blend.interchange.rings import Part, center_rings
from panoptic_blend.interchange.source import LabeledPicture, Region
from panoptic_blend.structures import Cutout

_VERSION = "5.5.0"
"""The version of LabelMe that is said to have written the files: the first one with masks is 5.2."""


class LabelMe(LabelWriter):
    """Parts of one segment have one ``group_id``; scores are in the field ``score``, which LabelMe keeps."""

    rings: ClassVar[Callable[[Cutout, float], list[Part]]] = staticmethod(center_rings)

    def place(self, name: str) -> str:
        return name

    def add(self, picture: LabeledPicture) -> None:
        height, width = picture.size
        content: dict[str, object] = {
            "version": _VERSION,
            "flags": {},
            "shapes": [
                shape for group, region in enumerate(picture.regions, start=1) for shape in self._shapes(region, group)
            ],
            "imagePath": PurePosixPath(picture.name).name,
            "imageData": None,
            "imageHeight": height,
            "imageWidth": width,
        }
        with replacing(inside(self.context.folder, self.file_of(picture.name, ".json"))) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")

    def finish(self) -> None:
        """Every picture has a file of its own."""

    def way_back(self) -> Sequence[str]:
        things = [category.name for category in self.context.categories if category.is_thing]
        options = [("--things", things), ("--stuff", self.stuff)]
        return ["labelme", "DIR", *(word for option, names in options if names for word in (option, all_names(names)))]

    def _shapes(self, region: Region, group: int) -> list[dict[str, object]]:
        polygons, segment = self.polygons_of(region), region.segment
        shape: dict[str, object] = {
            "label": region.category.name,
            "group_id": group if polygons is not None and len(polygons) > 1 else None,
            "description": "",
            "flags": {CROWD: True} if segment.is_crowd else {},
        }
        if segment.score is not None:
            shape["score"] = round(segment.score, 6)
        if polygons is None:
            return [shape | _mask(region.cutout)]
        return [shape | {"shape_type": "polygon", "points": ring.tolist(), "mask": None} for ring in polygons]


def _mask(cutout: Cutout) -> dict[str, object]:
    """A mask as a PNG, with the first and the last of its pixels as points."""
    height, width = cutout.mask.shape
    corners = [[cutout.left, cutout.top], [cutout.left + width - 1, cutout.top + height - 1]]
    png = cv2.imencode(".png", cutout.mask.astype(np.uint8) * 255)[1].tobytes()
    return {"shape_type": "mask", "points": corners, "mask": base64.b64encode(png).decode("ascii")}
