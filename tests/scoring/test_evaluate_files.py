"""PQ of files: golden results, and the error message of every fault in a file."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panoptic_blend import PanopticQuality, evaluate_files
from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.coco_panoptic import read_panoptic_json
from panoptic_blend.formats.images import read_segment_ids, write_segment_ids
from panoptic_blend.scoring.file_pairs import FilePolicy
from panoptic_blend.shapes.dataset import CATEGORIES
from panoptic_blend.structures import ImageId

Refused = Callable[..., str]

GOLDEN = Path(__file__).parents[1] / "golden"
ROOT = Path(__file__).parents[2]


@pytest.fixture
def truth(shapes: Path) -> Path:
    return shapes / "annotations" / "panoptic_val2017.json"


@pytest.fixture
def prediction(truth: Path, tmp_path: Path) -> Path:
    """A copy of the truth as results: only annotations, in another order."""
    path = tmp_path / "results" / "pred.json"
    shutil.copytree(truth.with_suffix(""), path.with_suffix(""))
    path.write_text(json.dumps({"annotations": json.loads(truth.read_text())["annotations"][::-1]}))
    return path


def change(path: Path, edit: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def image_ids(truth: Path) -> list[ImageId]:
    return [image.id for image in read_panoptic_json(truth).images]


@pytest.mark.parametrize("case", ["P5_pq_a", "P5_pq_b", "P5_pq_c"])
def test_golden_results_of_files(case: str) -> None:
    """The results of panopticapi for three small data sets."""
    folder = GOLDEN / case
    expected = json.loads((folder / "expected.json").read_text())
    report = evaluate_files(folder / "gt.json", str(folder / "pred.json"))
    for group in ("All", "Things", "Stuff"):
        assert report[group] == pytest.approx(expected[group], rel=0, abs=1e-12)
    assert report.per_class.keys() == {int(category) for category in expected["per_class"]}
    for category, figures in expected["per_class"].items():
        assert report.per_class[int(category)] == pytest.approx(figures, rel=0, abs=1e-12)


def test_truth_against_itself_is_perfect(truth: Path, prediction: Path) -> None:
    report = evaluate_files(truth, prediction)
    seen = {
        s.category for image in read_panoptic_json(truth).images for s in image.annotation.segments if not s.is_crowd
    }
    assert report["All"] == {"pq": 1, "sq": 1, "rq": 1, "n": len(seen)}
    assert {category for category, quality in report.per_class.items() if quality["tp"]} == seen
    assert all(quality["fp"] == quality["fn"] == 0 for quality in report.per_class.values())


def test_real_coco_against_itself_is_perfect(coco_sample: Path) -> None:
    path = coco_sample / "annotations" / "panoptic_val2017.json"
    report = evaluate_files(path, path)
    assert (report["All"]["pq"], report["Things"]["pq"], report["Stuff"]["pq"]) == (1, 1, 1)
    assert len(report.per_class) == 133


def test_files_and_memory_agree(truth: Path, prediction: Path) -> None:
    data, quality = read_panoptic_json(truth), PanopticQuality(CATEGORIES)
    for image in data.images:
        path = prediction.with_suffix("") / image.annotation.png
        write_segment_ids(path, np.roll(read_segment_ids(path), (1, 3), (0, 1)))
        moved = image.annotation.read(prediction, Folder(prediction.with_suffix("")), image.size)
        quality.update(image.annotation.read(truth, Folder(truth.with_suffix("")), image.size), moved)
    report = evaluate_files(truth, prediction)
    assert report == quality.compute()
    assert 0.3 < report["All"]["pq"] < 0.9


def test_predicting_nothing_scores_0(truth: Path, prediction: Path) -> None:
    for image in read_panoptic_json(truth).images:
        write_segment_ids(prediction.with_suffix("") / image.annotation.png, np.zeros(image.size, np.int32))
    change(prediction, lambda content: [a.update(segments_info=[]) for a in content["annotations"]])
    report = evaluate_files(truth, prediction)
    assert (report["All"]["pq"], report["All"]["rq"]) == (0, 0) and report["All"]["n"] > 0


def test_predictions_of_other_images_are_ignored(truth: Path, prediction: Path) -> None:
    stray = {"image_id": 5, "file_name": "no such.png", "segments_info": [{"id": 1, "category_id": 1}]}
    change(prediction, lambda content: content["annotations"].append(stray))
    assert evaluate_files(truth, prediction)["All"]["pq"] == 1


def test_pngs_are_found_beside_the_json_beside_its_folder_or_where_given(
    truth: Path, prediction: Path, tmp_path: Path
) -> None:
    expected = evaluate_files(truth, prediction)
    truth.with_suffix("").rename(truth.parents[1] / truth.stem)
    assert evaluate_files(truth, prediction) == expected
    (truth.parents[1] / truth.stem).rename(tmp_path / "die Wahrheit 写真")
    prediction.with_suffix("").rename(tmp_path / "maps")
    assert evaluate_files(truth, prediction, tmp_path / "die Wahrheit 写真", str(tmp_path / "maps")) == expected


def test_progress_counts_images(truth: Path, prediction: Path) -> None:
    calls: list[tuple[int, int]] = []
    evaluate_files(truth, prediction, progress=lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]


def test_a_missing_prediction_is_named(truth: Path, prediction: Path, refused: Refused) -> None:
    change(prediction, lambda content: content["annotations"].pop(1))
    missing = image_ids(truth)[1]
    expected = (
        f"pred.json: no prediction for image {missing} (1 of 3 images have none); predict every image of the truth, or "
    )
    assert refused(evaluate_files, truth, prediction) == expected + "score missing ones as void (--missing void)"
    change(prediction, lambda content: content["annotations"].clear())
    expected = (
        f"pred.json: no prediction for image {image_ids(truth)[0]} (3 of 3 images have none); predict every image"
    )
    assert refused(evaluate_files, truth, prediction).startswith(expected)


def test_results_of_other_images_are_refused_by_every_policy(truth: Path, prediction: Path, refused: Refused) -> None:
    renumbered = [{"image_id": 900 + place, "file_name": "no.png", "segments_info": []} for place in range(3)]
    change(prediction, lambda content: content.update(annotations=renumbered))
    policy = FilePolicy(missing="void", additional="ignore")
    assert refused(lambda: evaluate_files(truth, prediction, policy=policy)) == (
        f"pred.json: none of its image ids, such as 900, is in {truth.name}, whose first is {image_ids(truth)[0]}; "
        "check that both are of the same split, and write the image ids of the truth"
    )


def test_an_image_predicted_twice_is_named(truth: Path, prediction: Path, refused: Refused) -> None:
    change(prediction, lambda content: content["annotations"].append(content["annotations"][0]))
    expected = f"pred.json: image {image_ids(truth)[2]} is predicted twice; keep one"
    assert refused(evaluate_files, truth, prediction) == expected


def test_missing_folders_and_files_are_named(truth: Path, prediction: Path, refused: Refused, tmp_path: Path) -> None:
    remedy = "no such folder; say where the PNGs of"
    no = tmp_path / "no"
    assert refused(evaluate_files, truth, prediction, no) == f"{no}: {remedy} panoptic_val2017.json are"
    assert refused(evaluate_files, truth, prediction, None, no) == f"{no}: {remedy} pred.json are"
    png = prediction.with_suffix("") / read_panoptic_json(truth).images[1].annotation.png
    png.unlink()
    assert refused(evaluate_files, truth, prediction) == f"{png}: no such file; check the path"
    shutil.rmtree(prediction.with_suffix(""))
    assert refused(evaluate_files, truth, prediction) == f"{prediction.with_suffix('')}: {remedy} pred.json are"
    prediction.unlink()
    assert refused(evaluate_files, truth, prediction) == f"{prediction}: no such file; check the path"
    truth.unlink()
    assert refused(evaluate_files, truth, prediction) == f"{truth}: no such file; check the path"


def test_a_prediction_of_another_size_is_named(truth: Path, prediction: Path, refused: Refused) -> None:
    image = read_panoptic_json(truth).images[1]
    path = prediction.with_suffix("") / image.annotation.png
    write_segment_ids(path, np.zeros((10, 20), np.int32))
    height, width = image.size
    expected = f"{path}: 20 x 10 pixels, but its picture is {width} x {height} pixels; write it in that size"
    assert refused(evaluate_files, truth, prediction) == expected


def test_a_prediction_that_disagrees_with_its_png_is_named(truth: Path, prediction: Path, refused: Refused) -> None:
    change(prediction, lambda content: content["annotations"][2]["segments_info"].append({"id": 9, "category_id": 1}))
    expected = f"pred.json: image {image_ids(truth)[0]}: segment 9 is in the JSON but not in "
    assert refused(evaluate_files, truth, prediction).startswith(expected)


@pytest.mark.parametrize(
    ("category", "expected"),
    [
        (
            2,
            "has category 2, which is not in the `categories` of panoptic_val2017.json (1 to 29); predict the",
        ),
        ("1", "`category_id` is '1', not a whole"),
    ],
)
def test_an_unknown_category_is_named(
    truth: Path, prediction: Path, refused: Refused, category: object, expected: str
) -> None:
    change(prediction, lambda content: content["annotations"][0]["segments_info"][0].update(category_id=category))
    message = refused(evaluate_files, truth, prediction)
    assert message.startswith(f"pred.json: image {image_ids(truth)[2]}: segment ") and expected in message


@pytest.mark.parametrize("content", ["[]", '{"annotations": {}}', '{"annotations": [5]}', "{}", "null"])
def test_predictions_that_are_not_coco_panoptic_are_refused(
    truth: Path, prediction: Path, refused: Refused, content: str
) -> None:
    prediction.write_text(content)
    expected = "pred.json: no list of records `annotations`; this is not COCO panoptic JSON"
    assert refused(evaluate_files, truth, prediction) == expected
    prediction.write_text(content[:-1] or "{")
    assert refused(evaluate_files, truth, prediction).startswith(f"{prediction}: not valid JSON (")


def test_results_of_detr_may_number_segments_from_0_and_list_them_twice(
    truth: Path, prediction: Path, refused: Refused
) -> None:
    name = json.loads(prediction.read_text())["annotations"][0]["file_name"]
    png = prediction.with_suffix("") / name
    ids = read_segment_ids(png)

    def renumber(content: Any) -> None:
        infos = content["annotations"][0]["segments_info"]
        assert (ids != 0).all()  # so that all pixels of 0 are those of the segment
        write_segment_ids(png, np.where(ids == infos[0]["id"], 0, ids))
        infos[0]["id"] = 0
        infos.append(infos[0])

    change(prediction, renumber)
    assert evaluate_files(truth, prediction)["All"]["pq"] == 1
    change(prediction, lambda content: content["annotations"][0]["segments_info"][0].update(id=77))
    assert "segment 77 is in the JSON but not in" in refused(evaluate_files, truth, prediction)
    change(prediction, lambda content: content["annotations"][0]["segments_info"].pop(0))
    stray = ids.copy()
    stray[ids == ids[-1, -1]] = 78
    write_segment_ids(png, np.where(ids == ids[0, 0], 0, stray))
    assert "is in" in refused(evaluate_files, truth, prediction)


def test_torch_is_not_needed() -> None:
    code = (
        "import sys\n"
        "from panoptic_blend import evaluate_files\n"
        f"evaluate_files({str(GOLDEN / 'P5_pq_a' / 'gt.json')!r}, {str(GOLDEN / 'P5_pq_a' / 'pred.json')!r})\n"
        "assert 'panoptic_blend.formats.coco_panoptic' in sys.modules\n"
        "print(sorted({'torch', 'torchvision', 'lightning'} & sys.modules.keys()))\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"


def renamed(path: Path, rename: Callable[[int], object]) -> None:
    """Replace the image ids of a file."""
    content = json.loads(path.read_text())
    for record in content.get("images", []):
        record["id"] = rename(record["id"])
    for record in content["annotations"]:
        record["image_id"] = rename(record["image_id"])
    path.write_text(json.dumps(content))


@pytest.mark.parametrize("rename", [lambda i: f"val/{i}", str, float, lambda i: i + 0.5])
def test_image_ids_of_any_kind_match(truth: Path, prediction: Path, rename: Callable[[int], object]) -> None:
    expected = evaluate_files(truth, prediction)
    for path in (truth, prediction):
        renamed(path, rename)
    assert evaluate_files(truth, prediction) == expected


def test_ids_that_are_texts_in_one_file_only_are_said(truth: Path, prediction: Path, refused: Refused) -> None:
    renamed(prediction, str)
    expected = f"{prediction.name}: image ids are texts and those of {truth.name} numbers; write the same in both"
    assert refused(evaluate_files, truth, prediction) == expected
    renamed(truth, str)
    renamed(prediction, int)
    assert "image ids are numbers and those of" in refused(evaluate_files, truth, prediction)


def test_names_of_pictures_and_colors_are_not_needed(truth: Path, prediction: Path) -> None:
    expected = evaluate_files(truth, prediction)

    def strange(content: Any) -> None:
        content["info"], content["licenses"] = [[]], "none"
        content["images"][0]["file_name"], content["categories"][0]["color"] = "../x.jpg", "#69db90"
        del content["images"][1]["file_name"]

    change(truth, strange)
    found = evaluate_files(truth, prediction)
    assert found.groups == expected.groups and found.per_class == expected.per_class
