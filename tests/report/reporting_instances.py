"""Instances for the tests of the report: the things of the small data set, and two result sets with known outcomes."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from pycocotools import mask as rle
from reporting_files import CATEGORIES, Small

LEFT, RIGHT, CORNER = (5, 10, 30, 30), (45, 10, 30, 30), (0, 50, 10, 10)
"""Boxes x, y, width, height: the two of the truth, and one on the sky."""


@dataclass(frozen=True)
class Instances:
    """Paths of the instances JSON and of two result sets."""

    truth: Path
    first: Path
    second: Path


def small_instances(files: Small, images: int = 3) -> Instances:
    """Write the instances of a small data set: class 3 at the left and class 7 at the right of each image.

    The first results, from the highest score:

    * image 1: left 0.9, right 0.8
    * image 2: left as class 7 0.7, right 0.6
    * image 3: left 0.55, and class 3 in a corner, where nothing is, 0.2

    The others have no detection. The second results are correct in all images, with a score of 0.9.
    """
    truth, first, second = (files.root / name for name in ("instances.json", "first_i.json", "second_i.json"))
    listed = json.loads(files.truth.read_text())["images"][:images]
    things = [category for category in CATEGORIES if category["isthing"]]
    correct = [(number, box, category) for number in range(1, images + 1) for box, category in ((LEFT, 3), (RIGHT, 7))]
    annotations = [annotation(id, *place) for id, place in enumerate(correct, start=1)]
    truth.write_text(json.dumps({"images": listed, "categories": things, "annotations": annotations}))
    found = [(1, LEFT, 3, 0.9), (1, RIGHT, 7, 0.8), (2, LEFT, 7, 0.7), (2, RIGHT, 7, 0.6), (3, LEFT, 3, 0.55)]
    first.write_text(json.dumps([detection(*row) for row in [*found, (3, CORNER, 3, 0.2)]]))
    second.write_text(json.dumps([detection(*place, 0.9) for place in correct]))
    return Instances(truth, first, second)


def annotation(id: int, image: int, box: tuple[int, int, int, int], category: int, crowd: int = 0) -> dict[str, Any]:
    """A true instance that fills its box."""
    x, y, width, height = box
    corners = [x, y, x + width, y, x + width, y + height, x, y + height]
    area = {"area": width * height, "iscrowd": crowd}
    return {"id": id, "image_id": image, "category_id": category, "bbox": box, "segmentation": [corners], **area}


def detection(image: int, box: tuple[int, int, int, int], category: int, score: float) -> dict[str, Any]:
    """A detection that fills its box, of an image of 80 x 60 pixels."""
    x, y, width, height = box
    mask = np.zeros((60, 80), np.uint8, order="F")
    mask[y : y + height, x : x + width] = 1
    counts = rle.encode(mask)["counts"].decode()
    segmentation = {"size": [60, 80], "counts": counts}
    return {"image_id": image, "category_id": category, "bbox": box, "segmentation": segmentation, "score": score}
