from __future__ import annotations

import json
from pathlib import Path

import pytest

from evaluation import annotations_speed
from evaluation.annotations_speed import main, measure, measure_in_fresh_process, write_data_set, write_instances
from evaluation.timing import Measurement
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.instances import CocoInstances


def test_the_written_data_set_has_the_format_of_coco(tmp_path: Path, coco_sample: Path) -> None:
    segments = write_data_set(tmp_path, images=20)
    images = CocoPanoptic(tmp_path, "train2017").images
    assert len(images) == 20 and segments == sum(len(image.annotation.segments) for image in images)
    ours, real = (
        json.loads((root / "annotations" / f"panoptic_{split}.json").read_text())
        for root, split in ((tmp_path, "train2017"), (coco_sample, "val2017"))
    )
    for key in ("images", "annotations"):
        assert ours[key][0].keys() == real[key][0].keys()
    first, other = (content["annotations"][0]["segments_info"][0] for content in (ours, real))
    assert first.keys() == other.keys()


def test_the_written_instances_are_like_those_of_coco(tmp_path: Path) -> None:
    assert write_instances(tmp_path, images=50) == 365
    dataset = CocoInstances(tmp_path, "train2017")
    assert len(dataset) == 50 and 340 < sum(dataset.instance_counts()) < 365  # some are crowds
    found = [dataset.truth(index) for index in range(50)]
    assert sum(map(len, found)) == 365 and all(area > 0 for truth in found for area in truth.areas)


def test_instances_have_the_targets_but_that_of_pickling(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(annotations_speed, "SAMPLES", 3)  # in this process, so that memory is not that of the data set
    write_instances(tmp_path, images=5)
    assert [m.name for m in measure(tmp_path, "instances") if m.target is not None] == [
        "opening, CPU seconds",
        "  data set",
        "unshared by a worker after 3 samples, MB",
    ]


def test_every_value_is_measured_in_a_fresh_process() -> None:
    title, measurements = measure_in_fresh_process(50, "panoptic")
    assert title.startswith("50 images, ") and title.endswith(" 0 MB of JSON")
    assert all(measurement.value > 0 for measurement in measurements if measurement.name != "  data set")
    names = [measurement.name for measurement in measurements]
    assert names == [name for name in names if names.count(name) == 1]
    assert sum(measurement.target is not None for measurement in measurements) == 4


@pytest.mark.parametrize(("target", "code"), [(None, 0), (5.0, 0), (4.9, 1)])
def test_a_missed_target_is_marked_and_fails(
    target: float | None, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["annotations_speed", "--images", "7"])
    found = [Measurement("load", 5.0, target)]
    monkeypatch.setattr(annotations_speed, "measure_in_fresh_process", lambda images, kind: (f"{images}", found))
    with pytest.raises(SystemExit) as exited:
        main()
    assert exited.value.code == code
    assert ("missed" in capsys.readouterr().out) == bool(code)
