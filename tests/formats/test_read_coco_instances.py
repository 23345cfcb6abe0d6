"""COCO instances are read as pycocotools reads them, and what is malformed is told in one line."""

from __future__ import annotations

import json
import pickle
from array import array
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pycocotools import mask as coco

from panoptic_blend.formats import coco_instances
from panoptic_blend.formats.coco_instances import read_instances_json
from panoptic_blend.formats.columns import DecimalColumn

TRIANGLE = [1.0, 1.0, 7.5, 1.0, 1.0, 6.25]
RING = {"size": [8, 10], "counts": [9, 6, 2, 1, 4, 1, 2, 1, 4, 1, 2, 6, 41]}
"""A square ring of 6 x 4 pixels: a mask with a hole."""

RECORDS: list[dict[str, Any]] = [
    {"id": 11, "image_id": 5, "category_id": 3, "segmentation": [TRIANGLE], "bbox": [1, 1, 6.5, 5.25], "area": 17.1},
    {"id": 12, "image_id": "b", "category_id": 9, "segmentation": RING, "bbox": [1.5, 1, 4, 6], "area": 20},
    {"id": 13, "image_id": 5, "category_id": 9, "segmentation": RING, "iscrowd": 1},
    {"id": 14, "image_id": 5, "category_id": 3, "segmentation": [TRIANGLE, [8, 2, 9.01, 2, 9, 7.99]], "bbox": [0] * 4},
]


def content() -> dict[str, Any]:
    ids = [5, 6, "b"]
    images = [{"id": name, "file_name": f"{name}.jpg", "height": 8, "width": 10} for name in ids]
    categories = [{"id": 9, "name": "dog", "supercategory": "animal"}, {"id": 3, "name": "cat"}]
    return {"images": images, "annotations": deepcopy(RECORDS), "categories": categories}


def write(folder: Path, data: object) -> Path:
    path = folder / "i.json"
    path.write_text(json.dumps(data))
    return path


def test_instances_are_those_of_the_file_in_its_order(tmp_path: Path) -> None:
    data = read_instances_json(write(tmp_path, content()))
    assert [(c.id, c.name, c.is_thing) for c in data.categories] == [(3, "cat", True), (9, "dog", True)]
    images = pickle.loads(pickle.dumps(data)).images
    assert list(images.ids) == [5, 6, "b"] and list(images.file_names) == ["5.jpg", "6.jpg", "b.jpg"]
    assert list(images.sizes) == [(8, 10)] * 3 and images.instance_counts().tolist() == [2, 0, 1]
    first, empty, last = images
    assert first.category_ids.tolist() == [3, 9, 3] and images.annotation_ids(0).tolist() == [11, 13, 14]
    assert first.is_crowd.tolist() == [False, True, False]
    assert first.boxes.tolist() == [[1, 1, 6.5, 5.25], [1, 1, 4, 6], [0, 0, 0, 0]]  # the second is that of the mask
    assert first.areas.tolist()[:2] == [17.1, 16]
    assert (len(empty), empty.boxes.shape, empty.masks, empty.size) == (0, (0, 4), [], (8, 10))
    ring = np.zeros((8, 10), np.uint8)
    ring[1:7, 1:5] = 1
    ring[2:6, 2:4] = 0
    for mask in (first.masks[1], last.masks[0]):
        assert (coco.decode({"size": [8, 10], "counts": mask}) == ring).all()
    for record, mask in ((RECORDS[0], first.masks[0]), (RECORDS[3], first.masks[2])):  # as ``COCO.annToRLE``
        assert mask == coco.merge(coco.frPyObjects(record["segmentation"], 8, 10))["counts"]
    assert first.areas[2] == coco.area({"size": [8, 10], "counts": first.masks[2]})


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (lambda d: d.pop("images"), "no list of records `images`; this is not a COCO instances JSON"),
        (lambda d: d.pop("annotations"), "no list of records `annotations`; this is not a COCO instances JSON"),
        (lambda d: d["annotations"][0].pop("image_id"), "annotations[0]: `image_id` is None, neither a number nor"),
        (lambda d: d["annotations"][0].pop("category_id"), "annotations[0]: `category_id` is None, not a whole number"),
        (lambda d: d["annotations"].append(3), "`annotations` holds other records, or its records stand elsewhere"),
        (lambda d: d["annotations"][0].update(image_id="5"), "an annotation is for image '5', which `images` lacks"),
        (lambda d: d["annotations"][0].update(category_id=4), "an annotation has category 4, which `categories` lacks"),
        (lambda d: d["annotations"][0].update(iscrowd=2), "annotation 11: `iscrowd` is 2, not 0 or 1; correct it"),
        (lambda d: d["annotations"][0].update(bbox=[1, 2]), "annotation 11: `bbox` is [1, 2], not the numbers"),
        (lambda d: d["annotations"][0].update(bbox="wide"), "annotation 11: `bbox` is 'wide', not the numbers"),
        (lambda d: d["annotations"][0].update(area="big"), "annotation 11: `area` is 'big', not a number"),
        (lambda d: d["annotations"][0].update(area=10**400), "`area` is 1000000"),
        (lambda d: d["annotations"][0].update(area=float("inf")), "annotation 11: `bbox` or `area` is infinite"),
        (lambda d: d["annotations"][0].update(area=-9), "annotation 11: width, height or `area` is negative; correct"),
        (
            lambda d: d["annotations"][0].update(bbox=[9, 9, -5, 5]),
            "annotation 11: width, height or `area` is negative",
        ),
        (lambda d: d["images"][0].update(height=0), "image 5: `height` and `width` are 0 and "),
        (lambda d: d["categories"].append({"id": 3, "name": "x"}), "category id 3 is used twice; ids are unique"),
        (lambda d: d["images"].append(d["images"][0]), "image 5 is listed twice; image ids are unique"),
        (lambda d: d["images"].clear() or d["annotations"].clear(), "`images` is empty; a data set needs at least"),
        (
            lambda d: [d["annotations"][i].pop("segmentation") for i in (0, 3)],
            "annotation 11 of 5.jpg has a box and no mask, and 1 more have no valid mask either; correct the file or",
        ),
        (lambda d: d["annotations"][3]["segmentation"][1].append(5), "annotation 14 of 5.jpg has a polygon of 7 numb"),
        (lambda d: d["annotations"][0].update(segmentation=[[1, 2, "3", 4, 5, 6]]), "with coordinates that are not n"),
        (lambda d: d["annotations"][0].update(segmentation=[[1, 2, float("nan"), 4, 5, 6]]), "coordinates that are no"),
        (
            lambda d: d["annotations"][0].update(segmentation=[[1, 2, 3, 4, 101, 6]]),
            "has a polygon with the coordinate",
        ),
        (lambda d: d["annotations"][0].update(segmentation=[[0, 0, 99, 99] * 30000]), "a polygon whose outline is 5"),
        (lambda d: d["annotations"][1].update(segmentation={**RING, "size": [10, 8]}), "an RLE of [height, width] [10"),
        (lambda d: d["annotations"][1].update(segmentation={**RING, "counts": [80.0]}), "an RLE with unreadable `cou"),
        (
            lambda d: d["annotations"][1].update(segmentation={"size": [2**16, 2**16], "counts": [2**32]}),
            "an RLE of [height, width] [65536, 65536]",
        ),
    ],
)
def test_broken_files_are_refused(
    change: Callable[[dict[str, Any]], object], problem: str, refused: Callable[..., str], tmp_path: Path
) -> None:
    data = content()
    change(data)
    message = refused(read_instances_json, write(tmp_path, data))
    assert message.startswith("i.json: ") and problem in message


@pytest.mark.parametrize("chunk", [1, 6, 7, 18, 1000])
@pytest.mark.parametrize("row", range(4))
def test_malformed_rows_are_found_in_all_chunks(
    row: int, chunk: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, refused: Callable[..., str]
) -> None:
    monkeypatch.setattr(coco_instances, "_CHUNK", chunk)
    data = content()
    assert len(read_instances_json(write(tmp_path, data)).images) == 3
    data["annotations"][row]["segmentation"] = [TRIANGLE, [3, 3, 5, -200.5, 7, 7]]
    message = refused(read_instances_json, write(tmp_path, data))
    assert f"annotation {11 + row} of " in message and "has a polygon with the coordinate 200.5 in a" in message


def test_results_and_panoptic_files_are_no_instances(tmp_path: Path, refused: Callable[..., str]) -> None:
    results = [{"image_id": 5, "category_id": 3, "score": 0.5}]
    assert "no list of records `images`" in refused(read_instances_json, write(tmp_path, results))
    panoptic = content() | {"annotations": [{"image_id": 5, "file_name": "5.png", "segments_info": []}]}
    assert "has `segments_info`, as COCO panoptic has" in refused(read_instances_json, write(tmp_path, panoptic))


hundredths = st.integers(-(2**33), 2**33).map(lambda number: number / 100)


@given(st.lists(st.lists(hundredths | st.floats(allow_nan=False), max_size=5), max_size=20), st.integers(1, 5))
def test_decimals_are_preserved_to_the_last_bit(groups: list[list[float]], block: int) -> None:
    column, all_numbers = DecimalColumn(block), [number for group in groups for number in group]
    for group in groups:
        column.extend(array("d", group))
    for start, stop in ((0, len(all_numbers)), (1, len(all_numbers) - 1), (2, 3)):
        found = column.read(start, max(start, min(stop, len(all_numbers))))
        assert found.tobytes() == np.array(all_numbers[start : max(start, stop)], np.float64).tobytes()


def test_numbers_with_two_decimals_take_two_or_four_bytes() -> None:
    column = DecimalColumn(100)
    column.extend(array("d", [i / 100 for i in range(0, 65536, 60)]))
    assert len(pickle.dumps(column)) < 11 * 500
    column.extend(array("d", [-3.25, 1e5]))
    assert column.read(1092, 1095).tolist() == [655.2, -3.25, 1e5]
