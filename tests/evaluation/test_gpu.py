from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from evaluation.gpu import __main__ as command
from evaluation.gpu.bench import Bench, Check, Finding
from evaluation.gpu.outputs import agreement
from evaluation.gpu.workload import write_coco_sized
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.structures import Cutout, Output, PanopticBlendError, PanopticMap


def fails(bench: Bench) -> Finding:
    raise RuntimeError(f"on {bench.device}")


def takes_long(bench: Bench) -> Finding:
    raise AssertionError("it was to be left out")


def misses(bench: Bench) -> Finding:
    return Finding({"ms": 16.0}, is_met=False, needed="15 ms")


def run(tmp_path: Path, *options: str) -> tuple[int, str, list[dict[str, Any]]]:
    app = typer.Typer()
    app.command()(command.gpu)
    result = CliRunner().invoke(app, ["--device", "cpu", "--output", str(tmp_path), *options])
    lines = (tmp_path / "checks.jsonl").read_text().splitlines()
    return result.exit_code, (tmp_path / "checks.md").read_text(), [json.loads(line) for line in lines]


def test_a_check_is_run_and_written(tmp_path: Path) -> None:
    code, table, [row] = run(tmp_path, "--tiny", "--only", "machine")
    assert code == 0
    assert row["check"] == "machine" and row["ok"] is True and row["torch"] == torch.__version__.split("+")[0]
    assert table.splitlines()[2].startswith("| machine | yes | ")


def test_failures_and_missed_targets_end_in_1_and_stop_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "CHECKS", [Check(1, fails), Check(1, misses), Check(1000, takes_long)])
    code, table, rows = run(tmp_path, "--budget", "60")
    assert code == 1
    assert [row["ok"] for row in rows] == [False, False, None]
    assert rows[0]["error"] == "RuntimeError: on cpu"
    assert (rows[1]["needed"], rows[1]["ms"]) == ("15 ms", 16.0)
    assert rows[2]["left_out"].endswith("s were left")
    assert [line.split("|")[2].strip() for line in table.splitlines()[2:]] == ["NO", "NO", "left out"]


def test_a_check_that_is_not_there_is_refused() -> None:
    with pytest.raises(PanopticBlendError, match="there is no check 'speed'; give some of machine, nothing_to_find"):
        command._checks("machine,speed")


def test_the_checks_fit_their_time_on_an_h100() -> None:
    assert sum(check.seconds for check in command.CHECKS) <= 540
    assert len({check.name for check in command.CHECKS}) == len(command.CHECKS)


def test_generated_pictures_are_a_data_set(tmp_path: Path) -> None:
    write_coco_sized(tmp_path, 4, 1, (48, 64))
    dataset = CocoPanoptic(tmp_path, "train2017")
    assert sorted(dataset.images.sizes) == [(48, 64)] * 3 + [(64, 48)]
    assert len(dataset.categories.thing_ids) == 80


def output(count: int, score: float) -> Output:
    """Squares of 4 pixels in a row, on a map of 4 x 16 whose last column has another class than the rest."""
    boxes = torch.tensor([[4.0 * i, 0, 4 * i + 4, 4] for i in range(count)]).reshape(-1, 4)
    ids = np.zeros((4, 16), dtype=np.int32)
    semantic = torch.zeros(4, 16, dtype=torch.int64)
    semantic[:, 15] = count
    cutouts = [Cutout(np.ones((4, 4), dtype=np.bool_), 0, 4 * i) for i in range(count)]
    scores, labels = torch.full((count,), score), torch.zeros(count, dtype=torch.int64)
    return Output(boxes, scores, labels, cutouts, semantic, PanopticMap(ids, []), None, None)


def test_agreement_counts_what_is_lost() -> None:
    same = agreement([output(4, 0.5)], [output(4, 0.5)])
    assert (same["found_in_both"], same["mask_iou_mean"], same["semantic_pixels_same"]) == (1.0, 1.0, 1.0)
    lost = agreement([output(4, 0.5)], [output(3, 0.75)])
    assert (lost["found_in_both"], lost["score_difference_max"]) == (0.75, 0.25)
    assert (lost["semantic_pixels_same"], lost["panoptic_pixels_same"]) == (0.9375, 1.0)
    assert agreement([output(0, 0.5)], [output(4, 0.5)])["found_in_both"] == 1.0


@pytest.mark.slow
@pytest.mark.parametrize("name", [check.name for check in command.CHECKS])
def test_every_check_runs_in_tiny(name: str, tmp_path: Path) -> None:
    code, table, _ = run(tmp_path, "--tiny", "--only", name)
    assert code == 0, table
