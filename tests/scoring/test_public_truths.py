"""The panoptic files of ADE20K and Cityscapes as truth of ``pq`` and ``report``, as their scripts write them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panoptic_blend import evaluate_files
from panoptic_blend.formats.coco_panoptic import read_panoptic_json
from panoptic_blend.formats.images import write_picture, write_segment_ids
from panoptic_blend.report.command import ReportRequest, write_report
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.file_pairs import FilePolicy

Refused = Callable[..., str]
WALL, SKY, DOOR = 0x787878, 0x06E606, 0x08FF33
"""The segment ids of ADE20K's stuff are the colors of the classes; those of things are near them."""

ADE_IDS = np.array([[WALL] * 4, [WALL, WALL, DOOR, DOOR], [WALL, WALL, DOOR, DOOR]], np.int32)


def dumped(path: Path, content: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))
    return path


def ade20k(root: Path, suffix: str, segments: list[tuple[int, int, int]]) -> Path:
    """``ade20k_panoptic_val.json`` with one image; the segments have an id, a category and the stated area each."""
    name = "ADE_val_00000001"
    write_segment_ids(root / f"ade20k_panoptic_val/{name}.png", ADE_IDS)
    write_picture(root / f"images/validation/{name}.jpg", np.zeros((3, 4, 3), np.uint8))
    infos = [{"id": s, "category_id": c, "area": a, "bbox": [0, 0, 1, 1], "iscrowd": 0} for s, c, a in segments]
    names = {0: "wall", 2: "sky", 14: "door "}
    content = {
        "images": [{"id": name, "file_name": f"{name}.jpg", "width": 4, "height": 3}],
        "annotations": [{"image_id": name, "file_name": name + suffix, "segments_info": infos}],
        "categories": [{"id": i, "name": n, "isthing": int(i == 14), "color": [i, 1, 2]} for i, n in names.items()],
    }
    return dumped(root / "ade20k_panoptic_val.json", content)


def ade20k_results(root: Path) -> Path:
    """Results as detectron2 writes them: the image id is a text, and the map has the name of the image."""
    write_segment_ids(root / "results/ADE_val_00000001.png", np.where(ADE_IDS == WALL, 1, 2).astype(np.int32))
    infos = [{"id": 1, "category_id": 0, "isthing": False}, {"id": 2, "category_id": 14, "isthing": True}]
    record = {"image_id": "ADE_val_00000001", "file_name": "ADE_val_00000001.png", "segments_info": infos}
    return dumped(root / "results.json", {"annotations": [record]})


@pytest.mark.parametrize("suffix", [".png", ".jpg"])  # of detectron2's preparation, and of mmdetection's
def test_ade20k_has_texts_as_ids_and_classes_from_0(tmp_path: Path, suffix: str) -> None:
    truth = ade20k(tmp_path, suffix, [(WALL, 0, 8), (DOOR, 14, 4)])
    assert evaluate_files(truth, ade20k_results(tmp_path))["All"] == {"pq": 1.0, "sq": 1.0, "rq": 1.0, "n": 2}
    assert read_panoptic_json(truth).images[0].annotation.png == "ADE_val_00000001.png"


def test_things_of_ade20k_lie_over_stuff_whose_stated_areas_are_too_large(tmp_path: Path, refused: Refused) -> None:
    results = ade20k_results(tmp_path)
    truth = ade20k(tmp_path, ".png", [(WALL, 0, 12), (DOOR, 14, 4)])
    assert "stated areas differ from the PNGs" in refused(evaluate_files, truth, results)
    by_json = FilePolicy(area="json")
    report = evaluate_files(truth, results, policy=by_json)
    assert report.per_class[0]["pq"] == 8 / 12 and report.per_class[14]["pq"] == 1
    truth = ade20k(tmp_path, ".png", [(WALL, 0, 12), (SKY, 2, 3), (DOOR, 14, 4)])
    assert f"segment {SKY} is in the JSON but not in" in refused(evaluate_files, truth, results)
    report = evaluate_files(truth, results, policy=by_json)  # as COCO's script: the hidden sky is missed
    assert report.per_class[2] == {"pq": 0, "sq": 0, "rq": 0, "iou_sum": 0, "tp": 0, "fp": 0, "fn": 1}
    assert report["All"]["pq"] == pytest.approx((8 / 12 + 1 + 0) / 3, abs=1e-15)
    request = ReportRequest(truth, results, tmp_path / "images/validation", tmp_path / "page.html", policy=by_json)
    assert write_report(request, Resampling(20))[0].is_file()


CITY_IDS = np.array([[7, 7, 26001, 26001, 0], [7, 7, 26002, 26, 26], [23, 23, 23, 26, 0]], np.int32)
CITY_NAMES = "ulm_000001_000019", "bonn_000000_000019"


def cityscapes(root: Path, ids: dict[str, int], split: str) -> Path:
    """The JSON of two pictures: ulm has a road, two cars, a crowd of cars and sky, bonn nothing but sky."""
    road, car, sky = ids["road"], ids["car"], ids["sky"]
    found = [(7, road, 4, 0), (23, sky, 3, 0), (26, car, 3, 1), (26001, car, 2, 0), (26002, car, 1, 0)]
    infos = [
        [{"id": i, "category_id": c, "area": a, "iscrowd": crowd, "bbox": [0, 0, 1, 1]} for i, c, a, crowd in found],
        [{"id": 23, "category_id": sky, "area": 15, "iscrowd": 0, "bbox": [0, 0, 5, 3]}],
    ]
    stem = f"cityscapes_panoptic_{split}"
    for name, segment_ids in zip(CITY_NAMES, (CITY_IDS, np.full_like(CITY_IDS, 23)), strict=True):
        write_segment_ids(root / f"gtFine/{stem}/{name}_gtFine_panoptic.png", segment_ids)
        city = name.partition("_")[0]
        write_picture(root / f"leftImg8bit/val/{city}/{name}_leftImg8bit.png", np.zeros((3, 5, 3), np.uint8))
    images = [{"id": n, "width": 5, "height": 3, "file_name": f"{n}_gtFine_leftImg8bit.png"} for n in CITY_NAMES]
    annotations = [
        {"image_id": name, "file_name": f"{name}_gtFine_panoptic.png", "segments_info": segments}
        for name, segments in zip(CITY_NAMES, infos, strict=True)
    ]
    categories = [
        {"id": i, "name": n, "color": [i, 0, 9], "supercategory": "x", "isthing": int(n == "car")}
        for n, i in ids.items()
    ]
    content = {"images": images, "annotations": annotations, "categories": categories}
    return dumped(root / f"gtFine/{stem}.json", content)


def city_results(root: Path, ids: dict[str, int], names: tuple[Any, ...] = CITY_NAMES) -> Path:
    """Road, sky and the first car are right, the second car is missed, and a car is predicted on the crowd."""
    ulm = np.array([[1, 1, 2, 2, 0], [1, 1, 0, 3, 3], [4, 4, 4, 3, 0]], np.int32)
    infos = [[(1, "road"), (2, "car"), (3, "car"), (4, "sky")], [(4, "sky")]]
    annotations = []
    for name, segment_ids, segments in zip(names, (ulm, np.full_like(ulm, 4)), infos, strict=True):
        write_segment_ids(root / f"results/{name}.png", segment_ids)
        records = [{"id": number, "category_id": ids[of]} for number, of in segments]
        annotations.append({"image_id": name, "file_name": f"{name}.png", "segments_info": records})
    return dumped(root / "results.json", {"annotations": annotations})


@pytest.mark.parametrize(
    ("split", "ids"),
    [("val", {"road": 7, "sky": 23, "car": 26}), ("val_trainId", {"road": 0, "sky": 10, "car": 13})],
)
def test_cityscapes_has_texts_as_ids_and_crowds(
    tmp_path: Path, split: str, ids: dict[str, int], refused: Refused
) -> None:
    truth, results = cityscapes(tmp_path, ids, split), city_results(tmp_path, ids)
    report = evaluate_files(truth, results)
    # The car on the crowd is ignored, so that cars have 1 match and 1 that is missed.
    assert report["Things"]["pq"] == pytest.approx(1 / 1.5, abs=1e-15) and report["Stuff"]["pq"] == 1
    request = ReportRequest(truth, results, tmp_path / "leftImg8bit/val", tmp_path / "page.html")
    page = write_report(request, Resampling(20))[0].read_text()
    assert "ulm_000001_000019_gtFine_leftImg8bit.png" in page
    numbered = city_results(tmp_path, ids, (1, 2))
    assert "none of its image ids, such as 1, is in" in refused(evaluate_files, truth, numbered)
