"""The data set of COCO's supercategories: its classes, its merged stuff, its splits."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from evaluation.coco_supercategories import Supercategories, derive
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.formats.images import write_picture
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.structures import PanopticMap, Segment

CLASSES = [
    {"id": 1, "name": "cat", "isthing": 1, "supercategory": "animal"},
    {"id": 3, "name": "dog", "isthing": 1, "supercategory": "animal"},
    {"id": 4, "name": "car", "isthing": 1, "supercategory": "vehicle"},
    {"id": 90, "name": "river", "isthing": 0, "supercategory": "water"},
    {"id": 95, "name": "sea", "isthing": 0, "supercategory": "water"},
    {"id": 99, "name": "wall", "isthing": 0, "supercategory": "wall"},
]
MAP = [[7, 7, 8, 8], [7, 7, 20, 20], [30, 30, 20, 20], [30, 30, 40, 0]]
KINDS = {7: 1, 8: 3, 20: 95, 30: 90, 40: 99}


def write_split(root: Path, split: str, ids: list[int], shade: int = 0) -> None:
    """Pictures with ``MAP``; the shade of a picture depends on its id."""
    panoptic = PanopticMap.measured(
        np.array(MAP, np.int32), [Segment(i, kind, kind < 10, None, 0, None) for i, kind in KINDS.items()]
    )
    json_path = root / "annotations" / f"panoptic_{split}.json"
    with PanopticWriter(json_path, categories=CLASSES) as writer:
        for number in ids:
            write_picture(root / split / f"{number}.png", np.full((4, 4, 3), number + shade, np.uint8))
            writer.add(number, f"{number}.png", panoptic)
    content = json.loads(json_path.read_text())
    json_path.write_text(json.dumps(content | {"categories": CLASSES}))


def write_instances(root: Path, ids: list[int]) -> None:
    annotations: list[dict[str, object]] = []
    for number in ids:
        write_picture(root / "instances_train" / f"{number}.png", np.full((4, 4, 3), number, np.uint8))
        for category, square in ((4, [0, 0, 3, 0, 3, 3, 0, 3]), (1, [0, 0, 1, 0, 1, 1, 0, 1])):
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": category, "iscrowd": 0})
            annotations[-1] |= {"segmentation": [square]}
    images = [{"id": number, "file_name": f"{number}.png", "height": 4, "width": 4} for number in ids]
    content = {"images": images, "annotations": annotations, "categories": [c for c in CLASSES if c["isthing"]]}
    (root / "annotations" / "instances_instances_train.json").write_text(json.dumps(content))


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    root = tmp_path / "photos"
    write_split(root, "train2017", [1, 2])
    write_split(root, "val2017", [3])
    write_instances(root, [5, 6, 3, 2])
    return root


def test_classes_become_supercategories_and_their_stuff_one_segment(photos: Path, tmp_path: Path) -> None:
    lines = list(derive(photos, tmp_path / "out"))
    assert lines[0].endswith(": 2"), "3 is in val2017, and 2 in train2017"
    assert [line.partition(",")[0] for line in lines[1:]] == [
        "val2017: 1 pictures",
        "train2017: 2 pictures",
        "instances2017: 2 pictures",
        "more2017: 4 pictures",
    ]
    dataset = CocoPanoptic(tmp_path / "out", "train2017")
    assert [(c.id, c.name, c.is_thing) for c in dataset.categories] == [
        (1, "animal", True),
        (2, "vehicle", True),
        (3, "water", False),
        (4, "wall", False),
    ]
    sample = dataset[0]
    assert sample.image.unique().tolist() == [1]
    truth = sample.panoptic_truth()
    kinds = {segment.id: (segment.category, segment.area) for segment in truth.segments}
    assert kinds == {7: (1, 4), 8: (1, 2), 20: (3, 8), 40: (4, 1)}, "two animals stay two, river and sea are one"
    assert (truth.segment_ids == np.where(np.array(MAP) == 30, 20, MAP)).all()


def test_of_instances_what_is_no_thing_is_void(photos: Path, tmp_path: Path) -> None:
    list(derive(photos, tmp_path / "out"))
    truth = CocoPanoptic(tmp_path / "out", "instances2017").truth(0)
    assert [(segment.category, segment.area) for segment in truth.segments] == [(2, 8), (1, 1)]
    assert (truth.segment_ids == 0).sum() == 7
    assert list(CocoPanoptic(tmp_path / "out", "more2017").images.ids) == [1, 2, 5, 6]


def test_pictures_of_a_second_test_set_are_left_out_by_their_content(photos: Path, tmp_path: Path) -> None:
    write_split(tmp_path / "others", "val2017", [71, 72], shade=-66)  # as pictures 5 and 6
    lines = list(derive(photos, tmp_path / "out", tmp_path / "others"))
    assert lines[0].endswith(": 4")
    assert {line.partition(":")[0] for line in lines[1:]} == {"val2017", "others2017", "train2017"}


def test_finished_splits_are_kept(photos: Path, tmp_path: Path) -> None:
    list(derive(photos, tmp_path / "out"))
    (tmp_path / "out" / "annotations" / "panoptic_more2017.json").unlink()
    written = [line.split()[0] for line in derive(photos, tmp_path / "out") if line.endswith("written")]
    assert written == ["more2017:"]


def test_categories_without_supercategory_are_refused(photos: Path, refused: Callable[..., str]) -> None:
    path = photos / "annotations" / "panoptic_train2017.json"
    path.write_text(json.dumps({"categories": [{"id": 1, "name": "cat", "isthing": 1}]}))
    assert "supercategory" in refused(Supercategories.read, path)
