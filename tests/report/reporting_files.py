"""A small data set with two result sets with known outcomes, for the tests of the report."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from panoptic_blend.formats.images import write_picture, write_segment_ids

EVIL = "<script>alert(1)</script>"
CATEGORIES = [
    {"id": 3, "name": EVIL, "isthing": 1, "color": [200, 30, 40]},
    {"id": 7, "name": "cat & 'dog'", "isthing": 1},
    {"id": 9, "name": "sky\u2028</script>", "isthing": 0, "color": [70, 130, 180]},
    {"id": 12, "name": "never seen", "isthing": 0},
]


@dataclass(frozen=True)
class Small:
    """Paths of the data set and the result sets."""

    root: Path
    truth: Path
    first: Path
    second: Path
    photos: Path


def small(root: Path, names: Sequence[str] = ("a.jpg", "b.jpg", "c <b>.jpg")) -> Small:
    """Write images of 80 x 60 pixels with two boxes on a sky as the truth, and two result sets.

    The first results are correct in image 1, predict another class for the left box (segment 1) in image 2, and miss
    the right box (segment 2) in all others. The second results are correct in all images.
    """
    photos, truth = root / "photos", root / "annotations" / "truth.json"
    photos.mkdir(parents=True)
    ids = np.full((60, 80), 5, np.int32)
    ids[10:40, 5:35], ids[10:40, 45:75] = 1, 2
    images, annotations = [], []
    for number, name in enumerate(names, start=1):
        write_picture(photos / name, np.full((60, 80, 3), (40 * number) % 256, np.uint8))
        images.append({"id": number, "file_name": name, "height": 60, "width": 80})
        annotations.append(annotation(number, {1: 3, 2: 7, 5: 9}))
    write_results(truth, annotations, [ids] * len(names), images=images, categories=CATEGORIES)
    wrong, maps = [annotations[0]], [ids]
    for number in range(2, len(names) + 1):
        wrong.append(annotation(number, {1: 7, 2: 7, 5: 9} if number == 2 else {1: 3, 5: 9}))
        maps.append(ids if number == 2 else np.where(ids == 2, 5, ids).astype(np.int32))
    write_results(root / "first.json", wrong, maps)
    write_results(root / "second.json", annotations, [ids] * len(names))
    return Small(root, truth, root / "first.json", root / "second.json", photos)


def annotation(number: int, segments: dict[int, int]) -> dict[str, Any]:
    """An annotation of the segments id -> category id."""
    records = [{"id": segment, "category_id": category, "iscrowd": 0} for segment, category in segments.items()]
    return {"image_id": number, "file_name": f"{number}.png", "segments_info": records}


def write_results(path: Path, annotations: list[dict[str, Any]], maps: Sequence[np.ndarray], **others: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    for record, ids in zip(annotations, maps, strict=True):
        write_segment_ids(path.with_suffix("") / record["file_name"], ids)
    path.write_text(json.dumps({"annotations": annotations, **others}))
