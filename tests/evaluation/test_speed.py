from __future__ import annotations

import sys
import time

import pytest
import torch

from evaluation import speed
from evaluation.speed import main, measure, model_with_detections, predict_once
from evaluation.step_speed import generated_target, measure_step
from evaluation.timing import Measurement, Stage, best_of, best_of_each, measured_rate, peak_memory_of, stages

CONFIG = "panoptic/blendmask_r50_3x"
PARTS = ["backbone", "pyramid", "detector", "bases", "instances", "paste and fuse", "semantic head", "semantic classes"]


def test_every_stage_is_measured() -> None:
    assert measured_rate(torch.float32, side=32) > 0
    with torch.inference_mode():
        parts, detections, alone = measure(model_with_detections(CONFIG), (64, 96), (48, 64), repeats=1)
    found = {stage.name: stage for stage in parts}
    assert set(found) == {*PARTS, "picture to map", "the same, no instances", "instances, paste and fuse of none"}
    assert all(stage.seconds > 0 for stage in parts)
    assert all(found[name].operations > 0 for name in PARTS[:5])
    assert sum(found[name].operations for name in PARTS) == found["picture to map"].operations
    assert found["the same, no instances"].operations < found["picture to map"].operations
    assert detections > 50
    assert alone > 0


def test_a_step_is_measured() -> None:
    forward, backward, update, step = measure_step("demo/shapes_r18", "32-true", 1, (64, 96), repeats=1)
    assert [stage.name for stage in (forward, backward, update, step)] == ["forward", "backward", "update", "step"]
    assert forward.operations < backward.operations < 2 * forward.operations  # frozen stages have none
    assert step.operations == forward.operations + backward.operations
    assert update.seconds < step.seconds


def test_a_generated_target_is_consistent() -> None:
    target = generated_target((512, 640), things=3, stuff=2, seed=0)
    left, top, right, bottom = target["boxes"].T
    assert ((left >= 0) & (top >= 0) & (right <= 640) & (bottom <= 512) & (left < right) & (top < bottom)).all()
    assert target["labels"].max() < 3
    assert ((target["semantic"] == 0) == (target["instance_map"] > 0)).all()
    assert target["semantic"].unique().tolist() == [0, 1, 2]


def test_the_first_run_is_not_counted() -> None:
    calls: list[int] = []
    best_of(3, lambda: calls.append(1))
    assert len(calls) == 4


def test_several_functions_are_timed_in_turn() -> None:
    calls: list[str] = []

    def slow() -> None:
        calls.append("b")
        time.sleep(0.01)

    seconds = best_of_each(2, [lambda: calls.append("a"), slow])
    assert calls == ["a", "b"] * 3
    assert seconds[0] < seconds[1] >= 0.01


def test_operations_of_a_matrix_product() -> None:
    a, b = torch.ones(3, 5), torch.ones(5, 7)
    [product, nothing] = stages(1, {"product": lambda: a @ b, "nothing": lambda: None})
    assert (product.name, product.operations, nothing.operations) == ("product", 2 * 3 * 5 * 7, 0)
    assert nothing.ratio(1e9) is None
    assert Stage("a", 2.0, 4e9).ratio(3e9) == pytest.approx(1.5)


def test_the_peak_of_a_picture_exceeds_the_weights_and_is_below_800_mb() -> None:
    """The 23.5 million parameters of R-50 and those of the other parts take more than 100 MB in float32."""
    assert 100e6 < peak_memory_of(predict_once, "instance/blendmask_550_r50_3x", "32-true") < 800e6


@pytest.mark.parametrize(("value", "code"), [(1.1, 0), (1.3, 1)])
def test_a_missed_target_is_an_exit_code(
    value: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = [Stage("whole", 0.5, 1e9), Stage("rest", 0.01, 0)], [Measurement("times the floor", value, 1.2)]
    monkeypatch.setattr(speed, "measured_rate", lambda dtype, device: 2e9)
    monkeypatch.setattr(speed, "inference_report", lambda *arguments: report)
    monkeypatch.setattr(sys, "argv", ["speed", "a", "b"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code
    printed = capsys.readouterr().out
    assert printed.count("times the floor") == 4
    assert ("missed" in printed) == bool(code)
    assert "500" in printed
    assert "10.0" in printed
