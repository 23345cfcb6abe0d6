"""Write the things of converted labels as COCO instances, in which they may overlap."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from pycocotools import mask as coco

from panoptic_blend.convert.painting import Labels
from panoptic_blend.files import replacing
from panoptic_blend.formats.categories import Categories
from panoptic_blend.structures import Cutout, ImageId, Size


class InstancesWriter:
    """Collects the things of pictures, one by one, and writes them as one COCO instances JSON.

    ``area`` is the sum of the pixels of all instances so far.
    """

    def __init__(self, categories: Categories) -> None:
        self._categories, self.area = categories, 0
        self._images: list[dict[str, object]] = []
        self._annotations: list[dict[str, object]] = []

    def add(self, image_id: ImageId, name: str, labels: Labels) -> None:
        """Add a picture and those of its labels that are things and have pixels."""
        height, width = labels.size
        self._images.append({"id": image_id, "file_name": name, "height": height, "width": width})
        for region in labels.regions:
            category = region.category
            if category is None or not category.is_thing or not region.cutout.mask.any():
                continue
            mask = run_lengths(region.cutout, labels.size)
            area = int(np.count_nonzero(region.cutout.mask))
            self.area += area
            record = {"image_id": image_id, "category_id": category.id, "iscrowd": int(region.is_crowd), "area": area}
            box = coco.toBbox({"size": [height, width], "counts": mask}).tolist()
            segmentation = {"size": [height, width], "counts": mask.decode("ascii")}
            number = len(self._annotations) + 1
            self._annotations.append({"id": number, **record, "bbox": box, "segmentation": segmentation})

    def write(self, path: Path) -> None:
        """Write the JSON; its categories are the things."""
        categories = [record for record in self._categories.records() if record["isthing"]]
        content = {"images": self._images, "annotations": self._annotations, "categories": categories}
        with replacing(path, durable=True) as temporary:
            temporary.write_text(json.dumps(content), encoding="utf-8")


def run_lengths(cutout: Cutout, size: Size) -> bytes:
    """The pixels of a cutout in a picture of ``size`` (height, width) as COCO's compressed run lengths."""
    mask = np.zeros(size, np.uint8, order="F")
    mask[cutout.window] = cutout.mask
    counts: bytes = coco.encode(mask)["counts"]
    return counts
