"""Maps of other tools: run lengths, polygons, masks, supervision, FiftyOne, DeepLab and Cityscapes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import supervision
from pycocotools import mask as coco

from panoptic_blend import Category, PanopticMap, PanopticQuality, evaluate_files
from panoptic_blend.compat import from_cityscapes_ids, from_fiftyone, from_labels, from_segments, from_supervision
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.metrics.conversion import panoptic_map

Refused = Callable[..., str]

CATEGORIES = {
    category.id: category
    for category in (Category(24, "person", True), Category(26, "car", True), Category(7, "road", False))
}
IDS = np.array([[1, 1, 2, 2, 0], [1, 1, 2, 3, 3]])
"""A person, a car, road, and one pixel of void."""
TRUTH = IDS, [{"id": 1, "category_id": 24}, {"id": 2, "category_id": 26}, {"id": 3, "category_id": 7}]
LEFT = [[0, 0, 2, 0, 2, 2, 0, 2]]
"""The person as a polygon."""


def classes(panoptic: PanopticMap) -> list[list[int]]:
    """The category of each pixel, 0 for void."""
    of_id = {segment.id: segment.category for segment in panoptic.segments}
    return [[of_id.get(id, 0) for id in row] for row in panoptic.segment_ids.tolist()]


def is_the_truth(panoptic: PanopticMap) -> None:
    """All scores are 1, and so is the number of segments of each class."""
    quality = PanopticQuality(list(CATEGORIES.values()))
    quality.update(truth=TRUTH, prediction=panoptic)
    assert {id: (q["pq"], q["tp"], q["fp"]) for id, q in quality.compute().per_class.items()} == dict.fromkeys(
        CATEGORIES, (1, 1, 0)
    )
    assert classes(panoptic)[0][4] == 0


def test_run_lengths_polygons_and_masks() -> None:
    compressed = coco.encode(np.asfortranarray(IDS == 2, dtype=np.uint8))  # counts are bytes, size a list
    plain = {"size": [2, 5], "counts": [7, 1, 1, 1]}  # by columns: road is at (1, 3) and (1, 4)
    records = [
        {"category_id": 24, "segmentation": LEFT},
        {"category_id": 26, "segmentation": compressed},
        {"category_id": 7, "segmentation": plain},
    ]
    is_the_truth(from_segments(records, CATEGORIES))
    masks = [{"category_id": info["category_id"], "segmentation": info["id"] == IDS} for info in TRUTH[1]]
    is_the_truth(from_segments(masks, CATEGORIES))
    text = {**compressed, "counts": compressed["counts"].decode()}
    [crowd] = from_segments([{"category_id": 26, "iscrowd": 1, "segmentation": text}], CATEGORIES).segments
    assert (crowd.is_crowd, crowd.area, crowd.box) == (True, 3, (2, 0, 4, 2))
    assert from_segments([], CATEGORIES, (2, 5)).segments == []


def test_overlaps_are_refused_unless_the_first_is_to_keep_the_pixel(refused: Refused) -> None:
    records = [
        {"category_id": 24, "segmentation": np.array([[True, True, False]])},
        {"category_id": 26, "segmentation": np.array([[False, True, True]])},
        {"category_id": 26, "segmentation": np.array([[True, False, False]])},
    ]
    message = refused(from_segments, records, CATEGORIES)
    assert message.startswith("prediction: segments 1 and 2 share 1 pixels, and a pixel has one segment;")
    panoptic = from_segments(records, CATEGORIES, overlaps="first")
    assert classes(panoptic) == [[24, 24, 26]]
    assert [(segment.id, segment.area) for segment in panoptic.segments] == [(1, 2), (2, 1)]  # the third is hidden


WRONG: dict[str, tuple[list[dict[str, Any]], str]] = {
    "size": ([{"category_id": 24, "segmentation": LEFT}], "nothing says how large the picture is"),
    "category": ([{"category_id": 3, "segmentation": IDS == 1}], "unknown category 3 of segment 1"),
    "no category": ([{"segmentation": IDS == 1}], "a segment has `category_id` None"),
    "no shape": ([{"category_id": 24}, {"category_id": 7, "segmentation": IDS == 3}], "segment 1: no `segmentation`"),
    "integers": ([{"category_id": 24, "segmentation": IDS}], "segment 1: a mask of int64 (2, 5)"),
    "sizes": (
        [{"category_id": 24, "segmentation": IDS == 1}, {"category_id": 7, "segmentation": IDS.T == 3}],
        "segment 2: a mask of (5, 2) in a picture of (2, 5)",
    ),
    "short": (
        [{"category_id": 24, "segmentation": {"size": [2, 5], "counts": [3, 4]}}],
        "segment 1: an RLE that covers 7 pixels in a picture of 10",
    ),
    "bytes": (
        [{"category_id": 24, "segmentation": {"size": [2, 5], "counts": b"\xff"}}],
        "segment 1: an RLE with unreadable `counts`",
    ),
    "empty": ([{"category_id": 24, "segmentation": IDS == 9}], "segment 1 has no pixel in the picture"),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_segments_are_refused(case: str, refused: Refused) -> None:
    records, message = WRONG[case]
    assert refused(from_segments, records, CATEGORIES).startswith(f"prediction: {message}")


def test_detections_of_supervision(refused: Refused) -> None:
    masks = np.stack([number == IDS for number in (1, 2, 3)])
    boxes = np.array([[0, 0, 2, 2], [2, 0, 4, 2], [3, 1, 5, 2]])
    found = supervision.Detections(xyxy=boxes, mask=masks, class_id=np.array([0, 1, 2]), confidence=np.ones(3))
    is_the_truth(from_supervision(found, CATEGORIES, category_ids=[24, 26, 7]))
    found.class_id = np.array([24, 26, 7])
    is_the_truth(from_supervision(found, CATEGORIES))
    nothing = supervision.Detections.empty()
    assert from_supervision(nothing, CATEGORIES, size=(2, 5)).segment_ids.shape == (2, 5)
    assert "how large the picture is" in refused(from_supervision, nothing, CATEGORIES)
    assert "no category id is given for class 7" in refused(from_supervision, found, CATEGORIES, {24: 24, 26: 26})
    found.mask = None
    assert "the detections have no `mask`" in refused(from_supervision, found, CATEGORIES)
    assert "list is no `Detections` of supervision" in refused(from_supervision, [], CATEGORIES)


class Sample(dict[str, Any]):
    """The documented shape of a sample of FiftyOne: fields by name, and metadata."""

    metadata = SimpleNamespace(width=5, height=2)


def detection(label: str, box: list[float], mask: Any, **attributes: Any) -> SimpleNamespace:
    return SimpleNamespace(label=label, bounding_box=box, mask=mask, **attributes)


def test_samples_of_fiftyone(refused: Refused) -> None:
    car = np.array([[True, True], [True, False]])
    things = [
        detection("person", [0, 0, 0.4, 1.0], np.ones((4, 4), np.uint8)),  # at twice the resolution
        detection("car", [0.4, 0, 0.4, 1.0], car, iscrowd=0),
    ]
    semantic = np.array([[9, 9, 5, 5, 0], [9, 9, 5, 3, 3]])
    sample = Sample(things=SimpleNamespace(detections=things), stuff=SimpleNamespace(mask=semantic))
    targets = {9: "person", 5: "car", 3: "road"}
    is_the_truth(from_fiftyone(sample, CATEGORIES, "things", "stuff", mask_targets=targets))
    assert classes(from_fiftyone(sample, CATEGORIES, "things")) == [[24, 24, 26, 26, 0], [24, 24, 26, 0, 0]]
    things[1].iscrowd = 1
    assert from_fiftyone(sample, CATEGORIES, "things").segments[1].is_crowd

    def message(*fields: Any, **options: Any) -> str:
        return refused(lambda: from_fiftyone(sample, CATEGORIES, *fields, **options))

    assert message("predictions").startswith("prediction: the sample has no field `predictions`")
    assert message("stuff").startswith("prediction: field `stuff` has no `detections`")
    assert message("things", "stuff").startswith("prediction: stuff has the value 3, which is no category")
    things[0].bounding_box = [0.8, 0, 0.4, 1.0]
    assert message("things").startswith("prediction: things[0]: the box [0.8, 0, 0.4, 1.0] leaves the picture")
    things[0].label = "dog"
    assert message("things").startswith("prediction: things[0]: label 'dog' is not the name of a category")
    things[0] = detection("person", [0, 0, 0.4, 1.0], None)
    assert message("things").startswith("prediction: things[0]: has no `mask`")
    sample.metadata = None  # type: ignore[assignment]
    assert message("things").startswith("prediction: the sample has no metadata")


def test_labels_of_deeplab(refused: Refused) -> None:
    labels = np.array([[24001, 24001, 26002, 26002, 255000], [24001, 24001, 26002, 7000, 7000]])
    is_the_truth(from_labels(labels, CATEGORIES, void=[255]))
    is_the_truth(from_labels(np.where(labels == 255000, -1, labels), CATEGORIES))
    halved = labels // 1000 * 256 + labels % 1000
    is_the_truth(from_labels(halved, CATEGORIES, 256, void={255}))
    assert "is of category 255, which is unknown" in refused(from_labels, labels, CATEGORIES)


def test_instance_ids_of_cityscapes() -> None:
    """0 is unlabeled, 7 road, 24 a group of persons, 26000 the first car."""
    ids = np.array([[24, 24, 26000, 26001, 0], [24, 24, 26000, 7, -1]])
    panoptic = from_cityscapes_ids(ids, CATEGORIES)
    assert classes(panoptic) == [[24, 24, 26, 26, 0], [24, 24, 26, 7, 0]]
    assert sorted((segment.category, segment.is_crowd, segment.area) for segment in panoptic.segments) == [
        *((7, False, 1), (24, True, 4), (26, False, 1), (26, False, 2))
    ]


def test_maps_that_are_not_measured_are_written_with_all_their_segments(tmp_path: Path) -> None:
    pairs = np.array([[[26, 1], [26, 2]], [[7, 0], [7, 0]]])
    with PanopticWriter(tmp_path / "panoptic.json", categories=list(CATEGORIES.values())) as writer:
        writer.add(1, "a.png", panoptic_map(pairs, CATEGORIES, "prediction"))
    [annotation] = json.loads((tmp_path / "panoptic.json").read_text())["annotations"]
    assert sorted((info["category_id"], info["area"]) for info in annotation["segments_info"]) == [
        *((7, 2), (26, 1), (26, 1))
    ]


def own_panoptic_files(folder: Path, name: str, image_id: str, png: str, categories: list[dict[str, Any]]) -> Path:
    """A JSON and a PNG as the scripts of Cityscapes and Mask2Former (for ADE20K) write them."""
    first, second = (category["id"] for category in categories)
    ids = np.array([[1000 * first + 257] * 3 + [second + 1] * 3] * 2)
    segments = [(1000 * first + 257, first), (second + 1, second)]
    infos = [{"id": i, "category_id": c, "area": 6, "bbox": [0, 0, 3, 2], "iscrowd": 0} for i, c in segments]
    path = folder / f"{name}.json"
    path.with_suffix("").mkdir(parents=True)
    cv2.imwrite(str(path.with_suffix("") / png), np.stack([ids >> 16, ids >> 8 & 255, ids & 255], -1).astype(np.uint8))
    image = {"id": image_id, "width": 6, "height": 2, "file_name": f"{image_id}_leftImg8bit.png"}
    annotation = {"image_id": image_id, "file_name": png, "segments_info": infos}
    path.write_text(json.dumps({"images": [image], "annotations": [annotation], "categories": categories}))
    return path


@pytest.mark.parametrize(
    ("name", "image_id", "ending", "ids"),
    [
        ("cityscapes_panoptic_val", "frankfurt_000000_000294", "_gtFine_panoptic.png", (26, 7)),
        ("cityscapes_panoptic_val_trainId", "frankfurt_000000_000294", "_gtFine_panoptic.png", (13, 0)),
        ("ade20k_panoptic_val", "ADE_val_00000001", ".png", (12, 0)),
    ],
)
def test_own_panoptic_files_of_data_sets_are_a_truth(
    name: str, image_id: str, ending: str, ids: tuple[int, int], tmp_path: Path
) -> None:
    """Image ids are names, a category may have the id 0, and the results are matched by the name."""
    categories = [
        {"id": ids[0], "name": "car", "isthing": 1, "color": [0, 0, 142], "supercategory": "vehicle"},
        {"id": ids[1], "name": "road", "isthing": 0, "color": [128, 64, 128]},
    ]
    truth = own_panoptic_files(tmp_path / "truth", name, image_id, f"{image_id}{ending}", categories)
    results = own_panoptic_files(tmp_path / "results", "predictions", image_id, f"{image_id}.png", categories)
    results.write_text(json.dumps({"annotations": json.loads(results.read_text())["annotations"]}))
    report = evaluate_files(truth, results)
    assert report["All"] == {"pq": 1, "sq": 1, "rq": 1, "n": 2}
