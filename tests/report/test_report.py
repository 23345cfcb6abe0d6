"""``panoptic-blend report``: the content of the page, faults that are refused, and atomic writing."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import subprocess
import sys
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from reporting_files import EVIL, Small, small

from panoptic_blend.cli import main as cli
from panoptic_blend.files import process_mark
from panoptic_blend.formats.images import decode_picture, write_picture, write_segment_ids
from panoptic_blend.pages.pictures import packed
from panoptic_blend.pages.template import script_json
from panoptic_blend.report import command
from panoptic_blend.report.command import ReportRequest, write_report
from panoptic_blend.report.page import publish, writing
from panoptic_blend.scoring.details import Resampling, compute_findings, write_details
from panoptic_blend.scoring.evaluate_files import detail_files
from panoptic_blend.scoring.file_pairs import FilePolicy
from panoptic_blend.structures import PanopticBlendError, Runs

Refused = Callable[..., str]
FAST = Resampling(20)


@pytest.fixture
def files(tmp_path: Path) -> Small:
    return small(tmp_path / "data")


@pytest.fixture
def request_(files: Small, tmp_path: Path) -> ReportRequest:
    return ReportRequest(files.truth, files.first, files.photos, tmp_path / "out" / "report.html")


def content(page: Path) -> Any:
    found = re.search(r'<script type="application/json" id="content">(.*?)</script>', page.read_text("utf-8"))
    assert found
    return json.loads(found[1])


def details(page: Path, place: int) -> Any:
    return json.loads(content(page)["embedded"][f"{place}.js"])


def unpacked(text: str, width: int) -> np.ndarray:
    values, lengths = np.frombuffer(zlib.decompress(base64.b64decode(text)), "<u2").reshape(2, -1)
    return np.repeat(values, lengths).reshape(-1, width)


def test_packed_maps_round_trip() -> None:
    index = np.random.default_rng(0).integers(0, 2**16, (7, 5)).astype(np.uint16)
    before = index.copy()
    assert (unpacked(packed(Runs.from_pixels(index)), 5) == before).all() and (index == before).all()


def test_the_page_has_the_metrics_of_pq(files: Small, request_: ReportRequest) -> None:
    assert write_report(request_, FAST) == [request_.page]
    assert [path.name for path in request_.page.parent.iterdir()] == ["report.html"]
    found = content(request_.page)
    expected = compute_findings(detail_files(files.truth, files.first), None, FAST)
    [result] = found["results"]
    assert found["compared"] == [] and found["ids"] == ["1", "2", "3"] and found["names"][2] == "c <b>.jpg"
    for group, interval in expected.intervals.groups.items():
        assert [result["groups"][group][key] for key in ("pq", "low", "high")] == [
            interval.value,
            interval.low,
            interval.high,
        ]
        assert result["groups"][group]["lost"] == list(expected.budget.groups[group].lost.values())
    assert set(result["classes"]) == {"3", "7", "9"}  # category 12 does not occur
    # One image is correct, one has a wrong class, one a missed segment; their PQ:
    # 1; (0 + 1/(1 + 1/2) + 1)/3; (1 + 0 + 3000/3900)/3.
    assert result["images"]["pq"] == pytest.approx([1, (2 / 3 + 1) / 3, (1 + 3000 / 3900) / 3], abs=1e-4)
    assert [result["images"][key] for key in ("tp", "fp", "fn")] == [[3, 2, 2], [0, 1, 0], [0, 1, 1]]
    wrong, missed = found["causes"].index("wrong class"), found["causes"].index("missed")
    assert result["images"]["errors"] == [[], [1, 2, wrong], [2, 0, missed]]
    assert result["images"]["classes"] == [[1, 2, 3]] * 3
    assert sorted(result["confusion"]["segments"]) == [[1, 1, 2], [1, 2, 1], [2, 0, 1], [2, 2, 2], [3, 3, 3]]
    assert [c["color"] for c in found["classes"]][::2] == [[200, 30, 40], [70, 130, 180]]


def test_maps_photos_and_segments_of_an_image(request_: ReportRequest) -> None:
    write_report(request_, FAST)
    found = details(request_.page, 2)
    assert (found["width"], found["height"]) == (80, 60)
    truth, prediction = unpacked(found["map"], 80), unpacked(found["sets"][0]["map"], 80)
    assert [truth[20, 10], truth[20, 60], truth[50, 0]] == [1, 2, 3]
    assert [prediction[20, 10], prediction[20, 60], prediction[50, 0]] == [1, 2, 2]
    missed = found["sets"][0]["truth"][1]
    assert missed[:6] == [2, 2, 900, 2, None, None] and missed[7:] == [1, round(900 / 3900, 4), 0]
    assert found["sets"][0]["truth"][0][:6] == [1, 1, 900, 0, 1.0, 0]
    for name in ("2.jpg", "2.small.jpg"):
        photo = decode_picture(base64.b64decode(content(request_.page)["embedded"][name].partition(",")[2]), name)
        assert photo.shape == (60, 80, 3) and abs(int(photo[5, 5, 0]) - 120) < 3


def test_an_image_with_nothing_to_score_has_no_pq(request_: ReportRequest, files: Small) -> None:
    nothing = np.zeros((60, 80), np.int32)
    for results in (files.truth, files.first):
        found = json.loads(results.read_text())
        found["annotations"][1]["segments_info"] = []
        results.write_text(json.dumps(found))
        write_segment_ids(results.with_suffix("") / found["annotations"][1]["file_name"], nothing)
    write_report(request_, FAST)
    assert content(request_.page)["results"][0]["images"]["pq"][1] is None
    details = detail_files(files.truth, files.first)
    other = detail_files(files.truth, files.first)
    write_details(files.root / "details", details, compute_findings(details, other, FAST), FAST)
    assert (files.root / "details" / "images.csv").read_text().splitlines()[2] == "2,,0,0,0,"
    assert (files.root / "details" / "comparison.csv").read_text().splitlines()[-1] == "2,,,,"


def test_large_images_are_scaled_down(request_: ReportRequest) -> None:
    write_report(replace(request_, side=40), FAST)
    found = details(request_.page, 0)
    assert (found["width"], found["height"]) == (40, 30)
    assert np.unique(unpacked(found["map"], 40)).tolist() == [1, 2, 3]


def test_two_result_sets(files: Small, request_: ReportRequest) -> None:
    write_report(replace(request_, others=[(files.second, None)]), FAST)
    found = content(request_.page)
    assert found["sets"] == ["first.json", "second.json"]
    assert found["results"][1]["groups"]["All"]["pq"] == 1
    difference = found["compared"][0]["groups"]["All"]
    assert (
        difference["value"] == pytest.approx(1 - found["results"][0]["groups"]["All"]["pq"]) and difference["value"] > 0
    )
    assert [len(details(request_.page, 2)["sets"][set]["prediction"]) for set in (0, 1)] == [2, 3]


def test_large_data_go_into_a_folder(request_: ReportRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "EMBEDDED_BYTES", 100)
    page, folder = write_report(request_, FAST)
    assert folder == page.with_name("report_files") and content(page)["folder"] == "report_files"
    assert "embedded" not in content(page)
    names = {f"{place}{suffix}" for place in range(3) for suffix in (".jpg", ".small.jpg", ".js")}
    assert {path.name for path in folder.iterdir()} == names | {"panoptic-blend-report", "report.js", "segments.js"}
    for name in ("report", "0", "1", "2"):
        script = (folder / f"{name}.js").read_text()
        assert script.startswith(f'panopticReport("{name}",{{') and script.endswith("})\n")
        handed = json.loads(script[script.index("{") : script.rindex("}") + 1])
        assert handed["report"] == content(page)["report"]
    with pytest.raises(
        PanopticBlendError, match=r"report\.html: already exists; choose another --output, or add --overwrite"
    ):
        write_report(request_, FAST)
    monkeypatch.undo()
    again = replace(request_, overwrite=True)
    assert write_report(again, FAST) == [page]  # embedded: the folder of the earlier report is removed
    assert [path.name for path in page.parent.iterdir()] == ["report.html"]


def test_a_folder_that_is_not_of_a_report_is_kept(request_: ReportRequest, refused: Refused) -> None:
    mine = request_.page.with_name("report_files") / "mine.txt"
    mine.parent.mkdir(parents=True)
    mine.touch()
    assert "already exists" in refused(write_report, request_, FAST)
    assert "not the folder of a report" in refused(write_report, replace(request_, overwrite=True), FAST)
    assert mine.exists() and not request_.page.exists()


def test_names_cannot_inject_markup(request_: ReportRequest) -> None:
    write_report(request_, FAST)
    text = request_.page.read_text("utf-8")
    assert EVIL not in text and text.count("</script>") == 2 and "\u2028" not in text
    assert [c["name"] for c in content(request_.page)["classes"]][:3] == [EVIL, "cat & 'dog'", "sky\u2028</script>"]
    assert script_json("</script>&\ud800") == '"\\u003c/script\\u003e\\u0026\\ud800"'


def test_the_content_policy_has_the_digests_of_script_and_style(request_: ReportRequest) -> None:
    write_report(request_, FAST)
    text = request_.page.read_bytes().decode()
    for element in ("script", "style"):
        inline = re.search(rf"<{element}>(.*?)</{element}>", text, re.DOTALL)
        assert inline
        digest = base64.b64encode(hashlib.sha256(inline[1].encode()).digest()).decode()
        assert f"'sha256-{digest}'" in text
    assert not re.search(r"https?://", text)


def test_bad_photos_are_named(request_: ReportRequest, files: Small, refused: Refused) -> None:
    photo = files.photos / "b.jpg"
    whole = photo.read_bytes()
    photo.write_bytes(whole[: len(whole) // 4])
    assert "b.jpg" in refused(write_report, request_, FAST)
    write_picture(photo, np.zeros((60, 81, 3), np.uint8))
    assert "b.jpg: 81 x 60 pixels, annotated as 80 x 60 pixels" in refused(write_report, request_, FAST)
    photo.unlink()
    assert "b.jpg: no such file" in refused(write_report, request_, FAST)
    photo.mkdir()
    assert "b.jpg: is a folder, not a file" in refused(write_report, request_, FAST)
    assert "nowhere: no such folder" in refused(write_report, replace(request_, photos=files.root / "nowhere"), FAST)
    assert not request_.page.parent.exists() or not any(request_.page.parent.iterdir())


def test_bad_results_are_named(request_: ReportRequest, files: Small, refused: Refused) -> None:
    records = json.loads(files.first.read_text())["annotations"]

    def refusal(annotations: list[Any], **policy: Any) -> str:
        files.first.write_text(json.dumps({"annotations": annotations}))
        return refused(write_report, replace(request_, policy=FilePolicy(**policy)), FAST)

    assert "no prediction for image 3" in refusal(records[:2])
    assert "image 4 is predicted" in refusal([*records, records[0] | {"image_id": 4}], additional="error")
    assert "leads out of its folder" in refusal([*records[:2], records[2] | {"file_name": "../3.png"}])
    strange = records[2] | {"segments_info": [{"id": 1, "category_id": 99}]}
    assert "category 99" in refusal([*records[:2], strange])
    files.first.write_text(files.first.read_text()[:-20])
    assert "not valid JSON" in refused(write_report, request_, FAST)
    assert not any(request_.page.parent.glob("*")) and not any(request_.page.parent.glob(".*"))


def test_a_picture_without_a_name_is_said(request_: ReportRequest, files: Small, refused: Refused) -> None:
    found = json.loads(files.truth.read_text())
    del found["images"][1]["file_name"]
    files.truth.write_text(json.dumps(found))
    assert "image 2: `file_name` is None, not a file name" in refused(write_report, request_, FAST)


@pytest.mark.parametrize("ids", [[2**53, 2**53 + 1, 10**30], ["ADE_val_1", "ADE_val_2", "<b>"]])
def test_images_keep_ids_that_javascript_would_round_and_names(
    request_: ReportRequest, files: Small, ids: list[Any]
) -> None:
    for path in (files.truth, files.first):
        found = json.loads(path.read_text())
        for record, image_id in zip(found.get("images", []), ids, strict=False):
            record["id"] = image_id
        for record in found["annotations"]:
            record["image_id"] = ids[record["image_id"] - 1]
        path.write_text(json.dumps(found))
    write_report(request_, FAST)
    page = content(request_.page)
    assert page["ids"] == [str(image_id) for image_id in ids]
    assert page["results"][0]["images"]["fn"] == [0, 1, 1]


def test_a_missing_prediction_may_count_as_void(request_: ReportRequest, files: Small) -> None:
    records = json.loads(files.first.read_text())["annotations"]
    files.first.write_text(json.dumps({"annotations": records[:2]}))
    write_report(replace(request_, policy=FilePolicy(missing="void")), FAST)
    assert content(request_.page)["results"][0]["images"]["fn"] == [0, 1, 3]
    assert not unpacked(details(request_.page, 2)["sets"][0]["map"], 80).any()


@pytest.mark.parametrize("name", ["report", "report.json"])
def test_a_page_must_end_in_html(request_: ReportRequest, refused: Refused, name: str) -> None:
    assert "ends in .html" in refused(write_report, replace(request_, page=request_.page.with_name(name)), FAST)


def test_an_interrupted_run_keeps_the_earlier_report(request_: ReportRequest) -> None:
    write_report(request_, FAST)
    before = request_.page.read_bytes()

    def interrupt(done: int, total: int) -> None:
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_report(replace(request_, overwrite=True), FAST, interrupt)
    assert [path.name for path in request_.page.parent.iterdir()] == ["report.html"]
    assert request_.page.read_bytes() == before


def test_leftovers_of_a_killed_process_are_removed(request_: ReportRequest) -> None:
    done = subprocess.Popen([sys.executable, "-c", ""])
    done.wait()
    left = request_.page.with_name(f".report_files.{done.pid}.part")
    left.mkdir(parents=True)
    (left / "0.jpg").touch()
    write_report(request_, FAST)
    assert [path.name for path in request_.page.parent.iterdir()] == ["report.html"]


def test_a_report_that_appeared_in_the_meantime_is_kept(request_: ReportRequest, refused: Refused) -> None:
    def meanwhile(done: int, total: int) -> None:
        request_.page.write_text("theirs")

    assert "report.html: already exists" in refused(write_report, request_, FAST, meanwhile)
    assert request_.page.read_text() == "theirs"


def test_two_processes_cannot_write_one_report(request_: ReportRequest, refused: Refused) -> None:
    host = process_mark().split("-")[0]
    other = request_.page.with_name(f".report_files.{host}-{os.getppid()}.part")  # of a running process
    other.mkdir(parents=True)
    message = refused(write_report, replace(request_, overwrite=True), FAST)
    assert message.startswith(f"{other}: another process is writing this report; ")
    assert [path.name for path in request_.page.parent.iterdir()] == [other.name]
    other.rmdir()
    assert write_report(request_, FAST) == [request_.page]


def test_the_error_of_a_full_disk_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(self: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", fail)
    with (
        pytest.raises(OSError, match=r"No space left on device: '.*report_files.*0\.jpg'"),
        writing(tmp_path / "report.html") as assets,
    ):
        assets.add("0.jpg", b"0")
    assert not any(tmp_path.iterdir())


def test_a_failure_at_the_end_leaves_no_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = tmp_path / "report.html"
    with writing(page) as assets:
        assets.add("0.jpg", b"0")
        publish(page, assets, {"old": True}, embedded_bytes=0)

    def fail(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device", str(target))

    with pytest.raises(OSError, match="No space left"), writing(page) as assets:
        assets.add("0.jpg", b"1")
        monkeypatch.setattr(Path, "replace", fail)
        publish(page, assets, {"old": False}, embedded_bytes=0, overwrite=True)
    assert not page.exists()  # an old page must not remain with new images
    assert {path.name for path in tmp_path.iterdir()} <= {"report_files"}


def test_the_command(
    files: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "r.html"
    line = ["panoptic-blend", "report", files.truth, files.first, "--images", files.photos, "--output", out]
    monkeypatch.setattr(sys, "argv", [*map(str, line), "--resamples", "20"])
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert not done.value.code
    assert capsys.readouterr().out == f"{out} is the report, a single file\n"
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert stop.value.code == 2
    assert capsys.readouterr().err == f"error: {out}: already exists; choose another --output, or add --overwrite\n"
