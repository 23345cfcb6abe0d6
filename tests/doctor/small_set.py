"""A valid data set of two small images, and functions that change it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.doctor.checkup import check
from panoptic_blend.formats.images import read_segment_ids, write_picture, write_segment_ids
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.structures import Category, PanopticMap, Segment

SPLIT = "val2017"
CATEGORIES = [
    Category(3, "cat", True),
    Category(4, "dog", True),
    Category(21, "grass", False),
    Category(22, "sky", False),
]
CAT, CAT_TOO, CROWD, GRASS, SKY = 70001, 2, 300, 65535, 5
SEGMENTS = [
    Segment(CAT, 3, True, None, 0, None),
    Segment(CAT_TOO, 4, True, None, 0, None),
    Segment(CROWD, 4, True, None, 0, None, is_crowd=True),
    Segment(GRASS, 21, False, None, 0, None),
    Segment(SKY, 22, False, None, 0, None),
]
HEIGHT, WIDTH = 16, 24


def segment_map() -> npt.NDArray[np.int32]:
    """Segment ids: 8 rows of sky above grass, on it two cats of 3 x 4 pixels and a crowd of 4 x 2; column 0 is void."""
    ids = np.full((HEIGHT, WIDTH), SKY, np.int32)
    ids[8:] = GRASS
    ids[9:12, 2:6] = CAT
    ids[9:12, 10:14] = CAT_TOO
    ids[10:14, 20:22] = CROWD
    ids[:, 0] = 0
    return ids


def write_small_set(root: Path, splits: tuple[str, ...] = (SPLIT,)) -> None:
    """Write images 1 and 2 of each split, as 1.jpg and 2.jpg."""
    for number, split in enumerate(splits):
        rng = np.random.default_rng(number)
        with PanopticWriter(json_of(root, split), categories=CATEGORIES) as writer:
            for image_id in (1, 2):
                name = f"{image_id}.jpg"
                write_picture(root / split / name, rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8))
                writer.add(image_id, name, PanopticMap.measured(segment_map(), SEGMENTS))


def json_of(root: Path, split: str = SPLIT) -> Path:
    return root / "annotations" / f"panoptic_{split}.json"


def png_of(root: Path, number: int = 1) -> Path:
    return root / "annotations" / f"panoptic_{SPLIT}" / f"{number}.png"


def picture_of(root: Path, number: int = 1) -> Path:
    return root / SPLIT / f"{number}.jpg"


def content_of(root: Path, split: str = SPLIT) -> Any:
    return json.loads(json_of(root, split).read_text())


def edit(change: Callable[[Any], object]) -> Callable[[Path], None]:
    """A function that changes the JSON of a data set."""

    def edited(root: Path) -> None:
        content = content_of(root)
        change(content)
        json_of(root).write_text(json.dumps(content))

    return edited


def edit_image(**fields: object) -> Callable[[Path], None]:
    """A function that sets fields in the record of image 1; None removes a field."""
    return edit(lambda content: _update(content["images"][0], fields))


def edit_annotation(**fields: object) -> Callable[[Path], None]:
    """A function that sets fields in the annotation of image 1; None removes a field."""
    return edit(lambda content: _update(content["annotations"][0], fields))


def edit_segment(number: int, **fields: object) -> Callable[[Path], None]:
    """A function that sets fields in a segment of image 1; None removes a field."""

    def change(content: Any) -> None:
        [segment] = [s for s in content["annotations"][0]["segments_info"] if s["id"] == number]
        _update(segment, fields)

    return edit(change)


def _update(record: dict[str, Any], fields: dict[str, object]) -> None:
    record.update(fields)
    for name in [name for name, value in fields.items() if value is None]:
        del record[name]


def repaint(before: int, after: int, number: int = 1) -> Callable[[Path], None]:
    """A function that gives the pixels of a segment another id in the PNG of an image."""

    def painted(root: Path) -> None:
        ids = read_segment_ids(png_of(root, number))
        write_segment_ids(png_of(root, number), np.where(ids == before, after, ids).astype(np.int32))

    return painted


def png_as(convert: Callable[[npt.NDArray[np.uint8]], npt.NDArray[np.generic]]) -> Callable[[Path], None]:
    """A function that rewrites the PNG of image 1 with its (H, W, 3) BGR array converted."""

    def written(root: Path) -> None:
        colors = cv2.imread(str(png_of(root)), cv2.IMREAD_UNCHANGED)
        assert cv2.imwrite(str(png_of(root)), convert(colors))  # type: ignore[arg-type]

    return written


def found(root: Path, split: str | None = None) -> dict[str, tuple[str, ...]]:
    """All cases of every problem in a data set, by name; also checks that the report's counts agree."""
    report = check(root, split, cases=1000, workers=1)
    cases: dict[str, tuple[str, ...]] = {}
    for problem in (*(p for s in report.splits for p in s.problems), *report.between):
        assert problem.count == len(problem.cases)
        cases[problem.kind.name] = cases.get(problem.kind.name, ()) + problem.cases
    errors = [p.kind for s in report.splits for p in s.problems if p.kind.severity == "error"]
    errors += [p.kind for p in report.between if p.kind.severity == "error"]
    assert report.is_sound == (not errors)
    return cases
