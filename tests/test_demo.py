"""The demo on a few pictures for a few iterations: it draws its figures, and a second run does not train again."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_blend.checkpoints.states import state_files
from panoptic_blend.demo import run_demo
from panoptic_blend.shapes.dataset import write_shapes

CONFIG = """
base: {base}
model: {{fpn: {{channels: 32}}, fcos: {{score_threshold: 0}}, bottom: {{channels: 32}}, semantic: {{channels: 32}}}}
data: {{short_sides: [64], long_side: 96, workers: 0}}
train: {{iterations: 2, batch_size: 2, precision: 32-true, warmup_iterations: 0, steps: []}}
test: {{short_side: 64, long_side: 96}}
"""


def test_the_demo_skips_finished_steps(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, output, config = tmp_path / "data", tmp_path / "run", tmp_path / "tiny.yaml"
    base = Path(__file__).parents[1] / "configs" / "demo" / "shapes_r18.yaml"
    config.write_text(CONFIG.format(base=base))
    write_shapes(data, train=3, val=2)
    written = (data / "annotations" / "panoptic_val2017.json").stat().st_mtime_ns
    run_demo(output, data, str(config))
    printed = capsys.readouterr().out
    for word in ("All", "Things", "Stuff", "PQ", "SQ", "RQ"):
        assert word in printed
    for name in ("panoptic.png", "bases.png", "attentions.png"):
        picture = cv2.imread(str(output / "figures" / name))
        assert picture is not None
        assert np.ptp(picture) > 100
        assert name in printed.replace("\n", "")
    [state] = state_files(output)
    written_state = state.stat().st_mtime_ns
    run_demo(output, data, str(config))
    assert state.stat().st_mtime_ns == written_state
    assert (data / "annotations" / "panoptic_val2017.json").stat().st_mtime_ns == written
