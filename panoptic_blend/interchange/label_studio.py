"""Label Studio: ``tasks.json`` to import, and ``config.xml``, the labeling interface that the project needs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import ClassVar
from urllib.parse import quote
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, SubElement

import numpy as np

from panoptic_blend.convert.label_studio import BRUSH, CROWD, LOCAL_FILES, POLYGON
from panoptic_blend.files import replacing
from panoptic_blend.formats.name_lists import all_names
from panoptic_blend.formats.rle_pack import pack_mask
from panoptic_blend.interchange.label_writer import Context, LabelWriter
from panoptic_blend.interchange.source import LabeledPicture, Region
from panoptic_blend.structures import Size

FILE, INTERFACE, PICTURES = "tasks.json", "config.xml", "images"


class LabelStudio(LabelWriter):
    """Predictions become ``predictions``, with their scores, and labels become ``annotations``.

    A segment of several parts or with a hole is a brush mask. Crowds have the meta text ``crowd``. Pictures are named
    as those of a local storage whose document root is the folder.
    """

    most_parts: ClassVar[int | None] = 1

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._tasks: list[dict[str, object]] = []

    def place(self, name: str) -> str:
        return f"{PICTURES}/{name}"

    def add(self, picture: LabeledPicture) -> None:
        results = list(self._results(picture))
        found: dict[str, object] = {"result": results}
        if self.context.are_found:
            scores = [region.segment.score for region in picture.regions if region.segment.score is not None]
            found |= {"model_version": "panoptic-blend"}
            if scores:
                found["score"] = round(sum(scores) / len(scores), 6)
        data = {"image": f"{LOCAL_FILES}{quote(self.place(picture.name))}"}
        self._tasks.append({"data": data, "predictions" if self.context.are_found else "annotations": [found]})

    def finish(self) -> None:
        view = Element("View")
        SubElement(view, "Image", name="image", value="$image")
        for tag, name in (("BrushLabels", "brush"), ("PolygonLabels", "polygon")):
            labels = SubElement(view, tag, name=name, toName="image")
            for category in self.context.categories:
                label = SubElement(labels, "Label", value=category.name)
                if category.color:
                    label.set("background", "#{:02x}{:02x}{:02x}".format(*category.color))
        texts = {FILE: json.dumps(self._tasks), INTERFACE: ElementTree.tostring(view, encoding="unicode")}
        for name, text in texts.items():
            with replacing(self.context.folder / name) as temporary:
                temporary.write_text(text, encoding="utf-8")

    def way_back(self) -> Sequence[str]:
        options = [f"DIR/{FILE}", "--pictures", f"DIR/{PICTURES}", "--interface", f"DIR/{INTERFACE}"]
        options += ["--predictions"] if self.context.are_found else []
        return ["label-studio", *options, *(["--stuff", all_names(self.stuff)] if self.stuff else [])]

    def _results(self, picture: LabeledPicture) -> Iterator[dict[str, object]]:
        for number, region in enumerate(picture.regions, start=1):
            kind, value = self._value(region, picture.size)
            height, width = picture.size
            result: dict[str, object] = {
                "id": f"segment{number}",
                "from_name": kind.removesuffix("labels"),
                "to_name": "image",
                "type": kind,
                "original_width": width,
                "original_height": height,
                "image_rotation": 0,
                "value": value | {kind: [region.category.name]},
            }
            if region.segment.score is not None:
                result["score"] = round(region.segment.score, 6)
            if region.segment.is_crowd:
                result["meta"] = {"text": [CROWD]}
            yield result

    def _value(self, region: Region, size: Size) -> tuple[str, dict[str, object]]:
        """The type of a result and its shape: a polygon in percent of the sides, or a mask of the whole picture."""
        polygons = self.polygons_of(region)
        if polygons is not None:
            return POLYGON, {"points": (polygons[0] * 100 / size[::-1]).tolist(), "closed": True}
        mask = np.zeros(size, bool)
        mask[region.cutout.window] = region.cutout.mask
        return BRUSH, {"format": "rle", "rle": pack_mask(mask)}
