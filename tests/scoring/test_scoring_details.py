"""``pq --details`` and ``--compare``: the tables that they write, and the cases in which they write nothing."""

from __future__ import annotations

import csv
import json
import math
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panoptic_blend.cli import main as cli
from panoptic_blend.formats.images import read_segment_ids, write_segment_ids
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.scoring.details import Resampling, compute_findings, write_details
from panoptic_blend.scoring.evaluate_files import detail_files, evaluate_files
from panoptic_blend.scoring.file_pairs import FilePolicy
from panoptic_blend.structures import PanopticBlendError

Refused = Callable[..., str]
FILES = {
    "classes.csv",
    "confusion_pixels.csv",
    "confusion_segments.csv",
    "errors.csv",
    "images.csv",
    "segments.csv",
    "sizes.csv",
    "summary.json",
}


@pytest.fixture
def truth(shapes: Path) -> Path:
    return shapes / "annotations" / "panoptic_val2017.json"


def results(truth: Path, path: Path, shift: int) -> Path:
    """The truth as results, moved by some pixels."""
    annotations = json.loads(truth.read_text())["annotations"]
    for annotation in annotations:
        ids = np.roll(read_segment_ids(truth.with_suffix("") / annotation["file_name"]), shift, axis=1)
        write_segment_ids(path.with_suffix("") / annotation["file_name"], ids)
    path.write_text(json.dumps({"annotations": annotations}))
    return path


@pytest.fixture
def moved(truth: Path, tmp_path: Path) -> Path:
    return results(truth, tmp_path / "moved.json", 2)


def change(path: Path, edit: Callable[[Any], object]) -> None:
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def run(monkeypatch: pytest.MonkeyPatch, *command: object) -> int:
    monkeypatch.setattr(sys, "argv", ["panoptic-blend", *map(str, command)])
    try:
        cli.main()
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def test_details_agree_with_the_plain_metric(
    truth: Path, moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "deep" / "out"
    assert run(monkeypatch, "pq", truth, moved, "--details", out, "--boundary", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    assert {path.name for path in out.iterdir()} == FILES
    assert json.loads((out / "summary.json").read_text()) == printed
    report = evaluate_files(truth, moved)
    assert printed["All"] == report["All"] and printed["boundary"]["All"]["pq"] < report["All"]["pq"] < 1
    interval = printed["intervals"]["groups"]["All"]
    assert interval["value"] == pytest.approx(report["All"]["pq"])
    assert [interval["low"], interval["high"]] == [0, 1], "three images are too few for an interval"
    assert printed["intervals"]["method"] == "studentized bootstrap over images"
    assert printed["intervals"]["too_rare"] == list(report.per_class)
    rows = table(out / "segments.csv")
    for category, quality in report.per_class.items():
        mine = [row for row in rows if row["category"] == str(category)]
        tp = [float(row["iou"]) for row in mine if row["outcome"] == "tp" and row["side"] == "truth"]
        assert len(tp) == quality["tp"] and sum(tp) == pytest.approx(quality["iou_sum"])
        assert [sum(row["outcome"] == kind for row in mine) for kind in ("fp", "fn")] == [quality["fp"], quality["fn"]]
    lost = [float(row["lost"]) for row in table(out / "errors.csv") if row["of"] == "All"]
    assert sum(lost) == pytest.approx(1 - report["All"]["pq"])
    pixels = [int(v) for r in table(out / "confusion_pixels.csv") for k, v in r.items() if not k.startswith("truth")]
    assert sum(pixels) == sum(read_segment_ids(path).size for path in truth.with_suffix("").iterdir())
    assert len(table(out / "images.csv")) == 3


def test_classes_too_rare_for_an_interval_are_named(
    truth: Path, moved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(monkeypatch, "pq", truth, moved, "--boundary") == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last == (
        "10 of 10 classes occur in fewer than 6 images, too few for an interval, and make those of the groups "
        "unreliable: disk, ring, square, triangle, star and 5 more"
    )


def test_a_second_result_set_is_compared(
    truth: Path, moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    better = results(truth, tmp_path / "better.json", 1)
    out = tmp_path / "out"
    assert run(monkeypatch, "pq", truth, moved, "--compare", better, "--details", out) == 0
    assert "Second result set minus the first" in capsys.readouterr().out
    compared = json.loads((out / "summary.json").read_text())["comparison"]
    difference = evaluate_files(truth, better)["All"]["pq"] - evaluate_files(truth, moved)["All"]["pq"]
    assert compared["groups"]["All"]["value"] == pytest.approx(difference) and difference > 0
    assert compared["better"]["All"] == 1
    first = table(out / "comparison.csv")[0]
    assert float(first["difference"]) == float(first["pq_second"]) - float(first["pq_first"])


def test_a_folder_that_is_not_empty_is_refused_before_any_work(
    truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "mine.txt").write_text("mine")
    assert run(monkeypatch, "pq", truth, tmp_path / "none.json", "--details", full) == 2
    assert "is not a folder of tables; choose another, or empty it" in capsys.readouterr().err
    (tmp_path / "empty").mkdir()
    assert run(monkeypatch, "pq", truth, truth, "--details", tmp_path / "empty") == 0
    assert {path.name for path in (tmp_path / "empty").iterdir()} == FILES
    assert [path.name for path in full.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError("disk full"), PanopticBlendError("one line; correct it")])
def test_no_partial_output_remains(
    truth: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    details = detail_files(truth, truth)
    findings = compute_findings(details, None, Resampling(10))

    def fail(*given: object) -> None:
        raise error

    monkeypatch.setattr("panoptic_blend.scoring.details._write_matrix", fail)
    with pytest.raises(BaseException, match=str(error) if isinstance(error, Exception) else None):
        write_details(tmp_path / "out" / "here", details, findings, Resampling(10))
    assert list((tmp_path / "out").iterdir()) == []


def test_tables_are_replaced_only_on_request(
    truth: Path, moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert run(monkeypatch, "pq", truth, moved, "--details", out) == 0
    before = (out / "images.csv").read_text()
    assert run(monkeypatch, "pq", truth, truth, "--details", out) == 2
    assert "already has tables; choose another folder, or add --overwrite" in capsys.readouterr().err
    assert (out / "images.csv").read_text() == before
    assert run(monkeypatch, "pq", truth, truth, "--details", out, "--overwrite") == 0
    assert (out / "images.csv").read_text() != before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/diary.txt").touch()
    assert run(monkeypatch, "pq", truth, truth, "--details", tmp_path / "mine", "--overwrite") == 2
    assert "is not a folder of tables" in capsys.readouterr().err
    assert (tmp_path / "mine/diary.txt").is_file() and not list(tmp_path.glob(".*"))


def test_pictures_are_named_by_their_files(
    truth: Path, moved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {image["id"]: image["file_name"] for image in json.loads(truth.read_text())["images"]}
    assert run(monkeypatch, "pq", truth, moved, "--compare", truth, "--details", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert all(name in printed for name in names.values())
    for table in ("images", "segments", "comparison"):
        with (tmp_path / "out" / f"{table}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert rows and all(row["file_name"] == names[int(row["image"])] for row in rows)


def test_an_interrupted_command_writes_nothing(truth: Path, tmp_path: Path) -> None:
    code = (
        "import os, signal, sys\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in the background of a shell
        "from panoptic_blend.cli import main as cli\n"
        "from panoptic_blend.metrics.details import PanopticDetails\n"
        "add = PanopticDetails.add\n"
        "def stop(*given):\n    add(*given); os.kill(os.getpid(), signal.SIGINT)\n"
        "PanopticDetails.add = stop\n"
        "cli.main()\n"
    )
    command = [sys.executable, "-c", code, "pq", str(truth), str(truth), "--details", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=Path(__file__).parents[2])
    assert (done.returncode, done.stderr, done.stdout) == (128 + signal.SIGINT, "stopped; nothing was written\n", "")
    assert not (tmp_path / "out").exists() and not list(tmp_path.glob(".*"))


def test_results_do_not_depend_on_the_number_of_threads(truth: Path, moved: Path) -> None:
    one, many = (list(detail_files(truth, moved, workers=workers).segments()) for workers in (1, 7))
    assert one == many and len(one) > 10


def test_files_of_ranks_merge(truth: Path, moved: Path) -> None:
    whole = detail_files(truth, moved)
    parts = [PanopticDetails(tuple(whole.categories.values())) for _ in range(2)]
    for index, (image, comparison) in enumerate(whole.comparisons()):
        parts[index % 2].add(image, comparison)
    parts[1].merge(parts[0])
    assert parts[1].compute() == whole.compute() and parts[1].images == whole.images


# --- faulty files ----------------------------------------------------------------------------------------------------


def test_missing_predictions_can_count_as_void(
    truth: Path, moved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    change(moved, lambda content: content["annotations"].pop(0))
    assert run(monkeypatch, "pq", truth, moved) == 2
    assert "(1 of 3 images have none)" in capsys.readouterr().err
    assert run(monkeypatch, "pq", truth, moved, "--missing", "void", "--json") == 0
    printed = json.loads(capsys.readouterr().out)
    empty = json.loads(truth.read_text())["annotations"][0]["file_name"]
    ids = read_segment_ids(moved.with_suffix("") / empty)
    write_segment_ids(moved.with_suffix("") / empty, np.zeros_like(ids))
    entry = {**json.loads(truth.read_text())["annotations"][0], "segments_info": []}
    change(moved, lambda content: content["annotations"].append(entry))
    assert printed["All"] == evaluate_files(truth, moved)["All"]


def test_additional_predictions_are_an_error_of_the_command(
    truth: Path, moved: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stray = {"image_id": 5, "file_name": "no such.png", "segments_info": []}
    change(moved, lambda content: content["annotations"].append(stray))
    assert run(monkeypatch, "pq", truth, moved) == 2
    error = capsys.readouterr().err
    assert "moved.json: image 5 is predicted but not in panoptic_val2017.json (1 in total); check that both" in error
    assert run(monkeypatch, "pq", truth, moved, "--additional", "ignore") == 0


def test_area_mismatches_are_listed(truth: Path, moved: Path, refused: Refused) -> None:
    before = evaluate_files(truth, moved)
    sizes: list[tuple[int, int, int]] = []

    def falsify(content: Any) -> None:
        for annotation in content["annotations"][1:]:
            for segment in annotation["segments_info"][:2]:
                sizes.append((annotation["image_id"], segment["id"], segment["area"]))
                segment["area"] *= 2

    change(truth, falsify)
    message = refused(evaluate_files, truth, moved)
    mismatches = ", ".join(
        f"image {i} segment {s} has area {2 * a} in the JSON and {a} in the PNG" for i, s, a in sizes[:3]
    )
    assert message.startswith(f"panoptic_val2017.json: stated areas differ from the PNGs: {mismatches}; correct them")
    policy = FilePolicy(area="json")
    script = evaluate_files(truth, moved, policy=policy)
    assert script["All"]["pq"] != before["All"]["pq"]
    first = json.loads(truth.read_text())["annotations"][0]["image_id"]
    assert first not in {image for image, _, _ in sizes}

    def forget(content: Any) -> None:
        for annotation in content["annotations"]:
            for segment in annotation["segments_info"]:
                del segment["area"]

    change(truth, forget)
    assert evaluate_files(truth, moved) == before
    assert refused(lambda: evaluate_files(truth, moved, policy=policy)).startswith(
        f"panoptic_val2017.json: image {first}: segment "
    )


def test_the_json_area_enters_the_union_as_in_the_old_script(tmp_path: Path) -> None:
    truth, prediction = tmp_path / "t.json", tmp_path / "p.json"
    write_segment_ids(tmp_path / "t" / "1.png", np.array([[1, 1, 1, 1, 0, 0, 0, 0]], np.int32))
    write_segment_ids(tmp_path / "p" / "1.png", np.array([[1, 1, 1, 0, 0, 0, 0, 0]], np.int32))
    image = {"id": 1, "file_name": "1.jpg", "height": 1, "width": 8}
    category = {"id": 9, "name": "cat", "isthing": 1}
    for area, iou in ((4, 3 / 4), (5, 3 / 5), (2, 3 / 2), (6, None)):  # union: area + 3 - 3
        segment = {"id": 1, "category_id": 9, "iscrowd": 0, "area": area}
        annotation = {"image_id": 1, "file_name": "1.png", "segments_info": [segment]}
        content = {"images": [image], "annotations": [annotation], "categories": [category]}
        truth.write_text(json.dumps(content))
        prediction.write_text(json.dumps(content))
        found = evaluate_files(truth, prediction, policy=FilePolicy(area="json")).per_class[9]
        assert (found["tp"], found["iou_sum"]) == ((0, 0) if iou is None else (1, pytest.approx(iou)))


@pytest.mark.parametrize("area", [0, -1, 2.5, math.nan, math.inf, 1e300])
def test_an_area_that_no_segment_has_is_named(truth: Path, moved: Path, refused: Refused, area: float) -> None:
    change(truth, lambda content: content["annotations"][0]["segments_info"][0].update(area=area))
    policy = FilePolicy(area="json")
    for score in (evaluate_files, detail_files):
        message = refused(lambda score=score: score(truth, moved, policy=policy))
        assert "no `area` of one or more whole pixels; add it, or measure areas in" in message


def test_an_area_of_hundreds_of_digits_is_named(truth: Path, moved: Path, refused: Refused) -> None:
    change(truth, lambda content: content["annotations"][0]["segments_info"][0].update(area=10**400))
    assert "`area` is a number of hundreds of digits; correct it" in refused(evaluate_files, truth, moved)


def test_an_area_that_is_not_a_number_is_named(truth: Path, moved: Path, refused: Refused) -> None:
    change(truth, lambda content: content["annotations"][0]["segments_info"][0].update(area="large"))
    assert "`area` is 'large', not a number; correct it" in refused(evaluate_files, truth, moved)


@pytest.mark.parametrize("name", ["..", "../outside.png"])
def test_names_that_leave_their_folder_are_refused(truth: Path, moved: Path, refused: Refused, name: str) -> None:
    change(moved, lambda content: content["annotations"][0].update(file_name=name))
    message = refused(evaluate_files, truth, moved)
    assert message.startswith("moved.json: image ") and "leads out of its folder" in message


def test_a_truncated_png_is_named(truth: Path, moved: Path, refused: Refused) -> None:
    path = sorted(moved.with_suffix("").iterdir())[1]
    path.write_bytes(path.read_bytes()[:100])
    assert refused(detail_files, truth, moved) == f"{path}: cannot be decoded; " + (
        "it is cut short or not a picture, so fetch it again"
    )


def test_ids_in_only_one_of_png_and_json_are_named(truth: Path, moved: Path, refused: Refused) -> None:
    path = sorted(moved.with_suffix("").iterdir())[0]
    ids = read_segment_ids(path)
    ids[0, 0] = 77
    write_segment_ids(path, ids)
    assert f"segment 77 is in {path} but not in the JSON; add it to the JSON" in refused(evaluate_files, truth, moved)
    shutil.copy(truth.with_suffix("") / path.name, path)
    change(moved, lambda content: content["annotations"][1]["segments_info"].append({"id": 9, "category_id": 1}))
    assert "segment 9 is in the JSON but not in " in refused(evaluate_files, truth, moved)
