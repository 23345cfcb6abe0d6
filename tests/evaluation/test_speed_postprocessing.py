"""The steps after the network are timed within the whole, and a target that is missed is told."""

from __future__ import annotations

import sys

import pytest

from evaluation import speed_postprocessing
from evaluation.speed_postprocessing import STEPS, WHOLE, main, measure
from panoptic_blend.config.experiment import load_config
from panoptic_blend.postprocessing import outputs


def test_steps_and_rest_make_up_the_whole_and_a_hundred_instances_are_found() -> None:
    before = vars(outputs)["decode"]
    instances, seconds = measure(load_config("panoptic/blendmask_lite"), (240, 320), repeats=1)
    assert instances == 100
    assert list(seconds) == [*STEPS, "rest", WHOLE]
    assert sum(seconds.values()) == pytest.approx(2 * seconds[WHOLE])
    assert vars(outputs)["decode"] is before


@pytest.mark.parametrize(("instances", "whole", "code"), [(100, 0.03, 0), (100, 0.031, 1), (99, 0.01, 1)])
def test_the_exit_code(
    instances: int, whole: float, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(speed_postprocessing, "measure", lambda *given: (instances, {"fusion": 0.004, WHOLE: whole}))
    monkeypatch.setattr(sys, "argv", ["speed_postprocessing", "panoptic/blendmask_lite"])
    with pytest.raises(SystemExit) as end:
        main()
    assert end.value.code == code
    assert "4.0" in capsys.readouterr().out
