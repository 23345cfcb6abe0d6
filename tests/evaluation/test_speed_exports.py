"""Exports beside torch: what is timed, what random weights find, and what the tables and targets say."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from branches import branch_of
from exported_folder import write_exported
from torch import nn

from evaluation import speed_exports
from evaluation.result_lines import add_line
from evaluation.speed_exports import main
from evaluation.speed_models import limit_candidates, missing, saved_model, settle
from evaluation.speed_rows import Row, Timing, read_rows, table, targets
from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.models.build import build_model
from panoptic_blend.models.fcos import LevelPredictions
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.table_formats import markdown

ROOT = Path(__file__).parents[2]
TINY = [
    *("model.backbone.depth=14", "model.fpn.channels=32", "model.fcos.norm=bn", "model.fcos.num_convs=1"),
    *("model.bottom.channels=8", "model.bottom.num_convs=0", "model.semantic.channels=32"),
    *("test.short_side=64", "test.long_side=96"),
]


def tiny() -> Config:
    return load_config("demo/shapes_r18", TINY)


def test_a_worker_takes_the_time_of_the_network_within_a_picture_and_needs_no_torch(tmp_path: Path) -> None:
    folder = write_exported(tmp_path / "exported")
    (tmp_path / "torch.py").write_text("raise SystemExit('torch was imported')")
    done = subprocess.run(
        [sys.executable, "-m", "evaluation.speed_worker", folder, "float32", "1", "48", "64"],
        input="\n\n",
        text=True,
        capture_output=True,
        check=True,
        env={**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"},
    )
    loaded, *rounds = map(json.loads, done.stdout.splitlines())
    assert len(rounds) == 2
    for found in rounds:
        for clock in ("wall", "processor"):
            network, whole = found[clock]
            assert 0 < network < whole
        assert found["instances"] > 0
        assert found["peak"] > loaded["libraries"] > 10e6


def test_what_is_missing_to_become_a_candidate() -> None:
    """Class probability times 0.5 reaches 0.05 at logit(0.1) = -2.197; times 0.018 it never does."""
    one = torch.zeros(1, 1, 1, 1)
    levels = [LevelPredictions(8, one - 1, one, one + center, one) for center in (0.0, -4.0)]
    assert missing(levels, 0.05).tolist() == pytest.approx([math.log(0.1 / 0.9) + 1, math.inf])


@torch.no_grad()
def test_so_many_candidates_as_wanted_and_features_that_neither_grow_nor_vanish() -> None:
    torch.manual_seed(0)
    model, image = build_model(tiny()).eval(), torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)
    settle(model, image)
    norms = [norm for norm in model.modules() if isinstance(norm, nn.BatchNorm2d)]
    assert {(norm.training, norm.momentum) for norm in norms} == {(False, 0.1)}
    outputs: list[torch.Tensor] = []
    [*_, last] = [norm for norm in branch_of(model).bottom.modules() if isinstance(norm, nn.BatchNorm2d)]
    last.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    limit_candidates(model, image, 0.05, 70)
    raw = model.raw(model.batch([image]))
    products = [raw[f"{level}_logits"].sigmoid() * raw[f"{level}_centerness"].sigmoid() for level in ("p3", "p4", "p5")]
    assert sum(int((product > 0.05).sum()) for product in products) == 70
    assert outputs[0].mean().item() == pytest.approx(0, abs=0.3)  # the corrected variance of few values is larger
    assert outputs[0].std().item() == pytest.approx(1, abs=0.15)


def test_a_model_is_kept_until_its_config_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "deep" / "model.safetensors"
    monkeypatch.setattr("evaluation.speed_models.CANDIDATES", 70)
    assert saved_model(tiny(), path)
    assert not saved_model(tiny(), path)
    monkeypatch.setattr("evaluation.speed_models.model_to_detect", lambda config: pytest.fail("made anew"))
    with pytest.raises(pytest.fail.Exception, match="made anew"):
        saved_model(tiny().changed(["model.fcos.nms=0.5"]), path)


def timing(*seconds: float, peak: int = 1) -> Timing:
    """Repeats of so many seconds, of which the network takes half; all threads together take twice as long."""
    return Timing(
        wall=[(one / 2, one) for one in seconds],
        processor=[(one, 2 * one) for one in seconds],
        instances=100,
        peak=peak * 10**6,
        libraries=10**7,
        files=3 * 10**6,
    )


def row(config: str, cores: int = 1, **changes: Timing) -> Row:
    timings = {
        "torch float32": timing(0.4, peak=500),
        "torch bfloat16": timing(0.2, 0.3, 0.1, peak=400),
        "openvino int8": timing(0.1, peak=300),
    }
    given = {name.replace("_", " "): one for name, one in changes.items()}
    return Row(config, cores, (512, 683), 500, "a processor", "2026-11-28", {}, {**timings, **given})


def test_the_last_row_of_a_key_counts_and_foreign_lines_are_named(tmp_path: Path) -> None:
    path = tmp_path / "speed.jsonl"
    assert read_rows(path) == {}
    first, last = row("a"), replace(row("a"), date="2026-11-29")
    for one in (first, row("a", cores=2), last):
        add_line(path, one)
    rows = read_rows(path)
    assert list(rows) == [("a", 1, "a processor"), ("a", 2, "a processor")]
    assert rows["a", 1, "a processor"].date == "2026-11-29"
    assert rows["a", 1, "a processor"].timings["torch bfloat16"].whole("wall") == 0.2
    path.write_text('{"config": "a"}\n')
    with pytest.raises(PanopticBlendError, match=r"speed\.jsonl: line 1 is no result; remove the line"):
        read_rows(path)


def test_medians_with_their_range_and_the_share_of_torch() -> None:
    lines = markdown(table([row("a")], "wall")).splitlines()
    assert "| a, 512 x 683 | torch bfloat16 | 1 | 200 | 100 | 300 | 100 | 100 | 1.00 | 400 | 390 | 3 |" in lines
    assert "| a, 512 x 683 | openvino int8 | 1 | 100 | 100 | 100 | 50 | 50 | 0.50 | 300 | 290 | 3 |" in lines
    lines = markdown(table([row("a")], "processor")).splitlines()
    assert "| a, 512 x 683 | openvino int8 | 1 | 200 | 200 | 200 | 100 | 100 | 0.50 | 300 | 290 | 3 |" in lines
    alone = replace(row("a"), timings={"openvino int8": timing(0.1)})
    assert "| 50 | - | 1 | -9 | 3 |" in markdown(table([alone], "wall"))


def test_targets_are_about_int8_and_about_memory() -> None:
    share, peak = targets([row("instance/blendmask_rt_r50_4x")], "wall")
    assert (share.value, share.target, share.is_missed) == (0.5, 0.5, False)
    assert (peak.value, peak.target, peak.is_missed) == (300 / 400, 1.0, False)
    share, peak = targets([row("panoptic/blendmask_r50_3x", openvino_int8=timing(0.13, peak=401))], "wall")
    assert share.value == pytest.approx(0.65)
    assert (share.target, share.is_missed) == (0.6, True)
    assert peak.is_missed
    rate, _ = targets([row("instance/blendmask_rt_lite", cores=2)], "wall")
    assert (rate.value, rate.target) == (0.1, 0.125)
    assert len(targets([row("instance/blendmask_rt_lite")], "wall")) == 1  # on one core there is no rate to reach


@pytest.mark.parametrize(("seconds", "code"), [(0.1, 0), (0.11, 1)])
def test_what_has_a_row_is_not_measured_again(
    seconds: float, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    name, asked = "instance/blendmask_rt_r50_4x", list[tuple[Path, int, int]]()
    measured = {"openvino int8": timing(seconds), "torch bfloat16": timing(0.2)}

    def measure(*given: Any) -> dict[str, Timing]:
        asked.append(given)
        return measured

    monkeypatch.setattr(speed_exports, "prepare", lambda name, folder: None)
    monkeypatch.setattr(speed_exports, "measure", measure)
    results = tmp_path / "speed.jsonl"
    words = ["speed_exports", name, "--cores", "1", "2", "--output", str(tmp_path / "out"), "--results", str(results)]
    for _ in range(2):
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as end:
            main()
        assert end.value.code == code
    assert asked == [(tmp_path / "out" / name, 1, 5), (tmp_path / "out" / name, 2, 5)]
    printed = capsys.readouterr().out
    assert printed.count("finished") == 2
    assert printed.count("512 x 683 | openvino int8 |") == 4
    assert printed.count("| missed |") == (4 if code else 0)
