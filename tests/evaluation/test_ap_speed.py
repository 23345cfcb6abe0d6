"""The experiment on the speed of AP: all libraries agree on a generated set, and missed targets are reported."""

from __future__ import annotations

import sys

import pytest

from evaluation import ap_speed
from evaluation.ap_speed import Cost, generated, measure, missed_targets, resampling, table


def test_everything_is_measured_on_images_like_coco() -> None:
    images = list(generated(4, seed=1))
    assert [len(found) for _, found in images] == [100] * 4
    assert sum(len(truth) for truth, _ in images) > 8
    costs = measure(images)
    assert {"pycocotools", "ours"} <= costs.keys()
    assert costs["ours"].difference <= 1e-12
    assert [line.split(";")[0].split(":")[0] for line in resampling(images, 3)] == [
        "3 resamples by box",
        "3 resamples by mask",
    ]


def costs(seconds: float, difference: float) -> dict[str, Cost]:
    return {
        "pycocotools": Cost({"box": 10.0, "mask": 20.0}, 0.0),
        "ours": Cost({"box": 1.0, "mask": seconds}, difference),
    }


def test_targets() -> None:
    assert missed_targets(costs(4.0, 1e-13)) == []
    assert missed_targets(costs(5.0, 1e-6)) == [
        "mask: 4.00 times as fast as pycocotools, target 5.0",
        "figures differ from pycocotools' by 1.0e-06, target 1e-12",
    ]
    assert missed_targets(costs(4.0, float("nan")))
    columns = [list(column.cells) for column in table(costs(4.0, 0.0), 5).columns]
    assert columns[2:5:2] == [["10.0", "1.0"], ["5.0", "1.0"]]


@pytest.mark.parametrize(("seconds", "status"), [(4.0, 0), (4.1, 1)])
def test_a_missed_target_ends_in_an_error(monkeypatch: pytest.MonkeyPatch, seconds: float, status: int) -> None:
    monkeypatch.setattr(sys, "argv", ["ap_speed", "--images", "1"])
    monkeypatch.setattr(ap_speed, "measure", lambda images: costs(seconds, 0.0))
    with pytest.raises(SystemExit) as stop:
        ap_speed.main()
    assert stop.value.code == status
