"""COCO instances, in the layouts of COCO, FiftyOne and Roboflow: things and stuff, as polygons or run lengths."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import ClassVar

from panoptic_blend.convert.instance_writing import run_lengths
from panoptic_blend.files import replacing
from panoptic_blend.interchange.label_writer import Context, LabelWriter
from panoptic_blend.interchange.source import LabeledPicture, Region
from panoptic_blend.structures import ImageId, Size


class CocoInstances(LabelWriter):
    """Crowds and segments with holes are run lengths; scores are in the field ``score``, as in COCO's results."""

    pictures: ClassVar[str] = "images/"
    json: ClassVar[str] = "annotations/instances_{split}.json"

    def __init__(self, context: Context) -> None:
        super().__init__(context)
        self._name = self.json.format(split=context.split)
        self._images: list[dict[str, object]] = []
        self._annotations: list[dict[str, object]] = []

    def place(self, name: str) -> str:
        return f"{self.pictures}{name}"

    def add(self, picture: LabeledPicture) -> None:
        height, width = picture.size
        self._images.append({"id": picture.image_id, "file_name": picture.name, "height": height, "width": width})
        for region in picture.regions:
            number = len(self._annotations) + 1
            self._annotations.append({"id": number, **self._record(picture.image_id, picture.size, region)})

    def finish(self) -> None:
        categories = self.context.categories.records()
        content = {"images": self._images, "annotations": self._annotations, "categories": categories}
        with replacing(self.context.folder / self._name) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")

    def way_back(self) -> Sequence[str]:
        return ["coco-instances", f"DIR/{self._name}", "--pictures", f"DIR/{self.pictures}".removesuffix("/")]

    def _record(self, image_id: ImageId, size: Size, region: Region) -> dict[str, object]:
        segment = region.segment
        assert segment.box is not None
        left, top, right, bottom = segment.box
        polygons = self.polygons_of(region, as_mask=segment.is_crowd)
        shape: object = [ring.ravel().tolist() for ring in polygons or ()]
        if polygons is None:
            shape = {"size": list(size), "counts": run_lengths(region.cutout, size).decode("ascii")}
        record: dict[str, object] = {
            "image_id": image_id,
            "category_id": segment.category,
            "iscrowd": int(segment.is_crowd),
            "area": segment.area,
            "bbox": [left, top, right - left, bottom - top],
            "segmentation": shape,
        }
        return record if segment.score is None else record | {"score": round(segment.score, 6)}


class FiftyOne(CocoInstances):
    """The layout of ``fiftyone.types.COCODetectionDataset``."""

    pictures: ClassVar[str] = "data/"
    json: ClassVar[str] = "labels.json"


class Roboflow(CocoInstances):
    """The layout of Roboflow, which ``supervision.DetectionDataset.from_coco`` reads."""

    pictures: ClassVar[str] = ""
    json: ClassVar[str] = "_annotations.coco.json"
