"""The demo on a few pictures for a step: it draws its figures, and a second run does not train again."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_blend.checkpoints.states import state_files
from panoptic_blend.demo import WANTED, run_demo
from panoptic_blend.shapes.dataset import write_shapes

TINY = (
    *("model.fpn.channels=32", "model.fcos.num_convs=0", "model.fcos.score_threshold=0"),
    *("model.bottom.channels=32", "model.semantic.channels=32", "model.backbone.depth=14"),
    *("test.short_side=64", "test.long_side=96", "train.precision=32-true", "train.batch_size=2"),
)


def test_the_demo_skips_finished_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, output = tmp_path / "data", tmp_path / "run"
    wanted = replace(WANTED, iterations=1, device="cpu", overrides=TINY)
    write_shapes(data, train=3, val=2)
    written = (data / "annotations" / "panoptic_val2017.json").stat().st_mtime_ns
    run_demo(output, data, wanted)
    printed = capsys.readouterr().out
    for word in ("plan: ", "PQ ", "what limits it: ", "what to label next: ", "report.md"):
        assert word in printed
    assert printed.count("evaluating") == 0 and "train.weights=" not in printed and "train.iterations=" not in printed
    for name in ("panoptic.png", "bases.png", "attentions.png"):
        picture = cv2.imread(str(output / "figures" / name))
        assert picture is not None
        assert np.ptp(picture) > 100
        assert name in printed.replace("\n", "")
    [state] = state_files(output)
    written_state = state.stat().st_mtime_ns
    run_demo(output, data, wanted)
    assert state.stat().st_mtime_ns == written_state
    assert (data / "annotations" / "panoptic_val2017.json").stat().st_mtime_ns == written


def test_the_demo_needs_no_network_connection() -> None:
    assert WANTED.weights == "none"
    assert WANTED.minutes < 9
