"""Instance annotation of generated data sets, for tests of several packages."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as coco

from panoptic_blend.data.dataset import CocoPanoptic


def write_instances(root: Path, split: str, change: Callable[[dict[str, Any]], object] = lambda content: None) -> None:
    """Write the things of a panoptic split as COCO instances, in their order."""
    data = CocoPanoptic(root, split)
    annotations: list[dict[str, Any]] = []
    for index, image in enumerate(data.images):
        truth = data.truth(index)
        for segment in truth.segments:
            if segment.is_thing and segment.box:
                mask = coco.encode(np.asfortranarray((truth.segment_ids == segment.id).astype(np.uint8)))
                x0, y0, x1, y1 = segment.box
                annotations.append(
                    {
                        "id": len(annotations) + 1,
                        "image_id": image.id,
                        "category_id": segment.category,
                        "segmentation": {"size": mask["size"], "counts": mask["counts"].decode()},
                        "bbox": [x0, y0, x1 - x0, y1 - y0],
                        "area": segment.area,
                        "iscrowd": int(segment.is_crowd),
                    }
                )
    images = [
        {"id": image.id, "file_name": image.file_name, "height": image.size[0], "width": image.size[1]}
        for image in reversed(data.images)
    ]
    things = [{"id": category.id, "name": category.name} for category in data.categories if category.is_thing]
    content = {"images": images, "annotations": annotations, "categories": things}
    change(content)
    (root / "annotations" / f"instances_{split}.json").write_text(json.dumps(content))
