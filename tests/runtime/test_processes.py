"""Several processes give the results of one, tested with real processes over gloo on the CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import five_steps
import pytest
import ranks
import torch
from safetensors.torch import load_file

from panoptic_blend.checkpoints.states import read_state, state_files
from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.build import build_model
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.training.initialization import LAST
from panoptic_blend.training.run import Run

ROOT = Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}


def run(*arguments: str | Path, code: int = 0) -> str:
    """Run Python with these arguments, require the exit code, and return the printed text."""
    done = subprocess.run(
        [sys.executable, *map(str, arguments)], env=ENVIRONMENT, capture_output=True, text=True, timeout=240
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def alone(parts: int, *changes: str) -> dict[str, Any]:
    torch.set_default_dtype(torch.float64)
    try:
        return five_steps.five_steps(1, parts, *changes)
    finally:
        torch.set_default_dtype(torch.float32)


def together(processes: int, folder: Path, *changes: str) -> dict[str, Any]:
    out = folder / "result.pt"
    ended = ranks.apart(processes, folder, five_steps.main, lambda rank: (out, processes, 1, *changes))
    assert [end.code for end in ended] == [0] * processes, ended
    result: dict[str, Any] = torch.load(out, weights_only=True)
    return result


def require_same(ours: dict[str, Any], theirs: dict[str, Any]) -> None:
    for left, right in zip(ours["losses"], theirs["losses"], strict=True):
        assert left == pytest.approx(right, rel=1e-9, abs=1e-12)
    assert ours["losses"][0] != pytest.approx(ours["losses"][4], rel=1e-3)
    assert ours["state"].keys() == theirs["state"].keys()
    for name, value in ours["state"].items():
        torch.testing.assert_close(value, theirs["state"][name], rtol=1e-9, atol=1e-9, msg=name)


def test_two_processes_end_where_one_does_with_kernels(tmp_path: Path) -> None:
    changes = ["model.blender={merge: convolve, dice_weight: 1}", "model.bottom.kind=shared"]
    changes += ["model.kernels={num_convs: 2, scale: 0.3, rounds: 1}", "model.semantic.kernel_rounds=1"]
    require_same(together(2, tmp_path, *changes), alone(1, *changes))


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_two_processes_end_where_one_does(tmp_path: Path, strategy: str) -> None:
    """The second process has no things, and batch norms use the statistics of both processes."""
    require_same(together(2, tmp_path, f"train.strategy={strategy}"), alone(1))


@pytest.mark.parametrize(("strategy", "name"), [("ddp", "test_efficientnet"), ("fsdp", "test_convnext")])
def test_two_processes_end_where_one_does_with_a_network_of_timm(tmp_path: Path, strategy: str, name: str) -> None:
    """Batch norms that carry an activation take statistics of both, but for those of the frozen stem."""
    pytest.importorskip("timm")
    backbone = f"model.backbone={{kind: timm, name: {name}, depth: 50, frozen_stages: 1}}"
    require_same(together(2, tmp_path, f"train.strategy={strategy}", backbone), alone(1, backbone))


def test_a_frozen_stem_keeps_its_statistics_in_two_processes(tmp_path: Path) -> None:
    changes = ("model.backbone.frozen_stages=1",)
    require_same(together(2, tmp_path, *changes), alone(1, *changes))


def test_a_batch_in_parts_ends_where_the_whole_does() -> None:
    """Batch norms are frozen, because they would see the statistics of one part at a time."""
    changes = ("model.backbone.norm=frozen_bn", "model.bottom.kind=shared", "model.bottom.loss_weight=0")
    require_same(alone(4, *changes), alone(1, *changes))


def test_an_evaluation_by_three_processes_equals_that_by_one(tmp_path: Path) -> None:
    root, trained = tmp_path / "data", tmp_path / "1" / "last.safetensors"
    write_shapes(root, train=6, val=5, seed=3)
    options = [*five_steps.TINY[2:6], f"data.root={root}", "data.workers=0", "model.fusion.confidence=0"]
    options += ["train.batch_size=6", "train.rescale=false", "train.precision=32-true", "train.warmup_iterations=0"]
    logs, results = [], []
    for processes, change in ((1, "train.iterations=15"), (3, f"train.weights={trained}")):
        out = tmp_path / str(processes)
        [first, *_] = ranks.together(
            processes, ["train", "demo/shapes_r18", *options, "train.iterations=0", change, "-o", out], tmp_path
        )
        assert first.code == 0, first.said
        logs.append(json.loads((out / "log.jsonl").read_text().splitlines()[-1]) | {"iteration": 0})
        results.append(json.loads((out / "results" / "panoptic_val2017.json").read_text()))
    assert logs[0] == logs[1]
    assert logs[0]["PQ_St"] > 0
    assert results[0] == results[1]
    assert len(results[0]["annotations"]) == 5


def test_a_run_goes_on_in_two_processes_that_share_the_weights_and_again_in_one(tmp_path: Path) -> None:
    root, out = tmp_path / "data", tmp_path / "run"
    write_shapes(root, train=4, val=2, seed=3)
    options = [*five_steps.TINY[2:6], f"data.root={root}", "data.workers=0", "data.short_sides=[64]"]
    options += ["train.batch_size=2", "train.rescale=false", "train.precision=32-true", "train.log_every=1"]
    options += ["train.ema=0.5"]
    train: list[str | Path] = [ROOT / "tools/train.py", "demo/shapes_r18", *options, "-o", out]
    [first] = ranks.together(1, ["train", *train[1:], "train.iterations=2"], tmp_path)
    assert first.code == 0, first.said
    run(*train, "train.iterations=3", "--resume", "auto", "--devices", "2", "train.strategy=fsdp")
    records = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [record["iteration"] for record in records if "loss" in record] == [1, 2, 3]
    state = read_state(state_files(out)[0])
    assert state["model"].keys() == build_model(load_config("demo/shapes_r18", [*options])).state_dict().keys()
    assert all(isinstance(value, torch.Tensor) for value in state["model"].values())
    again = Run(load_config("demo/shapes_r18", [*options, "train.iterations=3"]), out, resume=True)
    assert again.iteration == 3
    assert len(again.optimizer.state) == len(state["optimizer"]["state"]) > 0
    averaged = state["model"] | state["ema"]
    assert averaged.keys() == state["model"].keys()
    assert all(torch.equal(value, averaged[name]) for name, value in load_file(out / LAST).items())


PARENT = """
import subprocess, sys, time
if "child" in sys.argv:
    from panoptic_blend.runtime.processes import _die_with_parent
    _die_with_parent()
    print("alive", flush=True)
    time.sleep(600)
subprocess.run([sys.executable, "-c", sys.argv[1], sys.argv[1], "child"])
"""


def test_a_process_that_fabric_starts_dies_with_the_first() -> None:
    """The output ends only when the last process that could write to it is dead."""
    command = [sys.executable, "-c", PARENT, PARENT]
    with subprocess.Popen(command, env=ENVIRONMENT, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"alive\n"
        process.kill()
        assert process.communicate(timeout=60)[0] == b""


def test_tasks_of_slurm_are_one_run(tmp_path: Path) -> None:
    """Both tasks have the command of a single process, and share the folder."""
    root, out = tmp_path / "data", tmp_path / "run"
    write_shapes(root, train=4, val=2, seed=3)
    options = [*five_steps.TINY[2:6], f"data.root={root}", "data.short_sides=[64]", "test.short_side=64"]
    options += ["data.workers=0", "train.iterations=0", "train.batch_size=2", "train.rescale=false"]
    tasks = ranks.tasks_of_slurm(2, ["train", "demo/shapes_r18", *options, "-o", out], tmp_path)
    assert [task.code for task in tasks] == [0, 0], tasks
    assert "0 iterations on 4 images" in tasks[0].said
    assert "2 x cpu" in tasks[0].said
    assert "iterations" not in tasks[1].said
    [start] = json.loads((out / "run.json").read_text())
    assert start["processes"] == 2
