"""Instances in ``panoptic-blend report``: the content of the page, and what is refused."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pycocotools import mask as rle
from reporting_files import Small, small
from reporting_instances import CORNER, LEFT, RIGHT, Instances, annotation, detection, small_instances

from panoptic_blend.cli import main as cli
from panoptic_blend.metrics.instance_report import TWELVE
from panoptic_blend.report.command import InstanceRequest, ReportRequest, write_instance_report, write_report
from panoptic_blend.report.instance_sets import InstancePaths
from panoptic_blend.report.instance_truth import find_truth
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.instance_files import InstancePolicy

Refused = Callable[..., str]
FAST = Resampling(20)
DUPLICATE, CLASSIFICATION, LOCALIZATION, BOTH, BACKGROUND, MISSED = range(6)


@pytest.fixture
def files(tmp_path: Path) -> Small:
    return small(tmp_path / "data")


@pytest.fixture
def found(files: Small) -> Instances:
    return small_instances(files)


@pytest.fixture
def request_(files: Small, found: Instances, tmp_path: Path) -> InstanceRequest:
    return InstanceRequest(InstancePaths(found.first, found.truth), files.photos, tmp_path / "report.html")


def content(page: Path) -> Any:
    [text] = re.findall(r'<script type="application/json" id="content">(.*?)</script>', page.read_text("utf-8"))
    return json.loads(text)


def written(request: InstanceRequest) -> Any:
    """The content of the page of a request."""
    [page] = write_instance_report(replace(request, overwrite=True), FAST)
    return content(page)


def image(page: Any, place: int) -> Any:
    return json.loads(page["embedded"][f"{place}.js"])["instances"]


def unpacked(text: str, kind: str = "u1") -> list[int]:
    numbers: list[int] = np.frombuffer(zlib.decompress(base64.b64decode(text)), kind).tolist()
    return numbers


def test_figures_counts_and_causes_of_all_images(request_: InstanceRequest) -> None:
    page = written(request_)
    assert page["results"] is None and page["sets"] == ["first_i.json"]
    shown = page["instances"]
    assert (shown["against"], shown["truth"], shown["kinds"]) == ("instances", "instances.json", ["mask", "box"])
    assert shown["classes"] == [[1, 2]] * 3 and shown["steps"] == [step / 100 for step in range(101)]
    [result] = shown["results"]
    assert result["detections"]["counts"] == [2, 2, 2]
    # in an image, by class and then by descending score
    assert unpacked(result["detections"]["classes"], "<u2") == [1, 2, 2, 2, 1, 1]
    for kind in ("mask", "box"):
        part = result[kind]
        assert unpacked(part["outcomes"]) == [128 + 90, 128 + 80, 70, 128 + 60, 128 + 55, 20]
        assert unpacked(part["causes"]) == [255, 255, CLASSIFICATION, 255, 255, BACKGROUND]
        # class 3: 2 of 3 found without a false detection before; class 7: false between the two of 3 that are found
        assert part["counts"]["1"]["tp"][::55] == [2, 2] and part["counts"]["1"]["fp"][20:22] == [1, 0]
        assert part["counts"]["2"]["tp"][60:62] == [2, 1] and part["counts"]["2"]["truths"] == 3
        recalls = np.arange(101) / 100
        first = np.where(recalls <= 2 / 3, 1, 0)
        second = np.where(recalls <= 1 / 3, 1, np.where(recalls <= 2 / 3, 2 / 3, 0))
        assert part["figures"]["AP50"]["value"] == pytest.approx((first.mean() + second.mean()) / 2)
        assert list(part["figures"]) == list(TWELVE) and part["figures"]["AP_L"]["value"] is None
        assert (part["figures"]["AP"]["low"], part["figures"]["AP"]["high"]) == (0, 1)  # of 3 images, too few
        assert part["too_rare"] == 2
        assert part["classes"]["7"]["AP75"]["value"] == pytest.approx(second.mean())
        assert part["classes"]["3"]["instances"] == 3
        assert part["curves"]["7"]["50"] == pytest.approx(second.tolist(), abs=1e-3)
        assert part["curves"]["all"]["mean"] == pytest.approx(((first + second) / 2).tolist(), abs=1e-3)
        budget = part["budget"]["all"]
        assert budget["counts"] == [0, 1, 0, 0, 1, 1]
        assert budget["ap50"] + sum(budget["lost"]) == pytest.approx(1)


def test_rows_of_an_image(request_: InstanceRequest) -> None:
    page = written(request_)
    shown = image(page, 1)
    truth, [detections] = shown["truth"], shown["sets"]
    assert [row[:4] for row in truth] == [[1, 0, 900, list(LEFT)], [2, 0, 900, list(RIGHT)]]
    assert [row[:3] for row in detections] == [[2, 0.7, list(LEFT)], [2, 0.6, list(RIGHT)]]
    # outcome, cause, the instance that is taken or nearest, and IoU, of masks and of boxes
    assert [row[4:] for row in detections] == [[[1, CLASSIFICATION, 0, 1.0]] * 2, [[0, None, 1, 1.0]] * 2]
    for row, (x, y, width, height) in zip(detections, (LEFT, RIGHT), strict=True):
        mask = rle.decode({"size": [60, 80], "counts": row[3]})
        assert mask.sum() == 900 and mask[y : y + height, x : x + width].all()
    half = image(written(replace(request_, side=40)), 1)["sets"][0][0]
    assert half[2] == [2.5, 5, 15, 15] and rle.decode({"size": [30, 40], "counts": half[3]}).sum() == 15 * 15
    corner = image(page, 2)["sets"][0][1]
    assert corner[2] == list(CORNER) and corner[4] == [1, BACKGROUND, None, 0]


def test_crowds_images_without_results_and_scores_beyond_one(request_: InstanceRequest, found: Instances) -> None:
    truth = json.loads(found.truth.read_text())
    truth["annotations"].append(annotation(0, 3, (0, 40, 20, 20), 3, crowd=1))
    found.truth.write_text(json.dumps(truth))
    results = [
        row | {"score": 100 * row["score"]} for row in json.loads(found.first.read_text()) if row["image_id"] > 1
    ]
    found.first.write_text(json.dumps(results))
    shown = written(request_)["instances"]
    assert shown["classes"] == [[1, 2]] * 3 and (shown["steps"][0], shown["steps"][-1]) == (0, 70)
    [result] = shown["results"]
    assert result["detections"]["counts"] == [0, 2, 2]
    assert unpacked(result["mask"]["outcomes"])[-2:] == [128 + 78, 255]  # 55 of 70, and in the crowd
    assert image(content(request_.page), 2)["truth"][2][:2] == [1, 1]
    assert shown["remarks"] == [
        "instances.json: an annotation has id 0; where it is found, pycocotools counts a false detection",
        "first_i.json: 1 of 3 images have no results",
    ]


def test_results_that_are_boxes_only(request_: InstanceRequest, found: Instances) -> None:
    boxes = [{key: row[key] for key in row if key != "segmentation"} for row in json.loads(found.first.read_text())]
    found.first.write_text(json.dumps(boxes))
    page = written(request_)
    assert page["instances"]["kinds"] == ["box"] and "mask" not in page["instances"]["results"][0]
    assert page["instances"]["remarks"] == []
    truth = json.loads(found.truth.read_text())
    for row in truth["annotations"]:
        del row["segmentation"]
    found.truth.write_text(json.dumps(truth))
    without = written(replace(request_, instances=replace(request_.instances, others=[found.second])))
    assert without["instances"]["kinds"] == ["box"]
    assert without["instances"]["remarks"] == ["instances.json has no masks, so boxes alone are shown"]
    assert image(without, 0)["truth"][0][-1] is None
    assert [row[3:] for row in image(page, 0)["sets"][0]] == [[None, [0, None, place, 1.0]] for place in (0, 1)]


def test_two_result_sets_beside_maps(files: Small, found: Instances, request_: InstanceRequest) -> None:
    alone = written(replace(request_, instances=replace(request_.instances, others=[found.second])))["instances"]
    both = ReportRequest(
        files.truth, files.first, files.photos, request_.page, others=[(files.second, None)], overwrite=True
    )
    pages = []
    for truth in (found.truth, None):
        write_report(replace(both, instances=InstancePaths(found.first, truth, [found.second])), FAST)
        pages.append(content(request_.page))
    assert [page["instances"]["against"] for page in pages] == ["instances", "panoptic"]
    assert [page["sets"] for page in pages] == [["first.json", "second.json"]] * 2
    assert pages[1]["instances"]["truth"] == "truth.json"
    for page in pages:
        shown = page["instances"]
        assert shown["sets"][1].endswith("second_i.json") and page["results"][1]["groups"]["All"]["pq"] == 1
        for kind in ("mask", "box"):  # the maps have the same things
            assert shown["results"][0][kind] == alone["results"][0][kind]
            assert shown["compared"][0][kind]["figures"]["AP"]["better"] > 0.5
            difference = shown["compared"][0][kind]["figures"]["AP"]["value"]
            assert difference == pytest.approx(1 - alone["results"][0][kind]["figures"]["AP"]["value"])
            assert shown["compared"][0][kind]["classes"]["3"]["value"] == pytest.approx(1 - 67 / 101)


def test_files_that_do_not_belong_together_are_refused(
    files: Small, found: Instances, request_: InstanceRequest, refused: Refused
) -> None:
    both = ReportRequest(files.truth, files.first, files.photos, request_.page, instances=request_.instances)
    truth = json.loads(found.truth.read_text())

    def refusal(**changes: Any) -> str:
        found.truth.write_text(json.dumps(truth | changes))
        return refused(write_report, both, FAST)

    sky = [*truth["categories"], {"id": 9, "name": "sky"}]
    assert "category 9 (sky) is no thing of truth.json" in refusal(categories=sky)
    assert "has no image 3, which is in truth.json" in refusal(
        images=truth["images"][:2], annotations=truth["annotations"][:4]
    )
    larger = [truth["images"][0] | {"width": 90}, *truth["images"][1:]]
    assert "image 1 is 90 x 60 pixels, in truth.json 80 x 60" in refusal(images=larger)
    found.truth.write_text(json.dumps(truth))
    found.first.write_text(json.dumps([detection(8, LEFT, 3, 0.5), detection(1, LEFT, 3, 0.5)]))
    assert "image 8 has results but is not in instances.json" in refused(write_instance_report, request_, FAST)
    shown = written(
        replace(request_, instances=replace(request_.instances, policy=InstancePolicy(additional="ignore")))
    )["instances"]
    assert (
        shown["remarks"][0] == "first_i.json: 1 of 2 results are of images that instances.json lacks and were left out"
    )


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Run the command ``report`` and return its last line, of standard error if it fails."""

    def run(*arguments: object) -> str:
        monkeypatch.setattr("sys.argv", ["panoptic-blend", "report", *map(str, arguments)])
        with pytest.raises(SystemExit):
            cli.main()
        read = capsys.readouterr()
        return (read.out or read.err).strip().splitlines()[-1]

    return run


def test_files_of_instances_are_recognized(
    files: Small, found: Instances, tmp_path: Path, run: Callable[..., str]
) -> None:
    out = tmp_path / "out.html"
    shared = "--images", files.photos, "--output", out, "--resamples", 20, "--overwrite"
    assert run(found.truth, found.first, *shared) == f"{out} is the report, a single file"
    assert content(out)["results"] is None
    assert run(files.truth, files.first, *shared, "--instances", found.first).endswith("a single file")
    assert content(out)["instances"]["against"] == "panoptic"
    panoptic = files.truth.rename(files.truth.with_name("panoptic_val.json"))
    files.truth.with_suffix("").rename(panoptic.with_suffix(""))
    assert find_truth(panoptic) is None
    found.truth.rename(panoptic.with_name("instances_val.json"))
    assert run(panoptic, files.first, *shared, "--instances", found.first).endswith("a single file")
    assert content(out)["instances"]["against"] == "instances"
    missing = tmp_path / "missing.json"
    assert run(found.truth, missing, *shared).startswith(f"error: {missing}: No such file or directory")
    found.second.write_text(" []")
    assert run(panoptic.with_name("instances_val.json"), found.second, *shared).endswith("a single file")
    assert content(out)["instances"]["kinds"] == ["mask", "box"]  # nothing was found, of either kind
    assert content(out)["instances"]["results"][0]["mask"]["figures"]["AP"]["value"] == 0


def test_options_without_effect_are_refused(files: Small, found: Instances, run: Callable[..., str]) -> None:
    shared = "--images", files.photos
    instances, panoptic = (found.truth, found.first, *shared), (files.truth, files.first, *shared)
    assert "--instances is for panoptic results" in run(*instances, "--instances", found.first)
    assert "--missing is for panoptic results" in run(*instances, "--missing", "void")
    assert "--instances-truth shows nothing alone" in run(*panoptic, "--instances-truth", found.truth)
    compared = run(*panoptic, "--instances", found.first, "--compare", files.second)
    assert "--compare without --compare-instances" in compared
