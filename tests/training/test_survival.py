"""Real runs that are killed, interrupted or out of disk space, and then resumed, end like an undisturbed run."""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Iterator
from multiprocessing import get_context
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import killable_train
import pytest
import torch
from safetensors.torch import load_file

from panoptic_blend.checkpoints.states import read_state, state_files
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.training.initialization import BEST, LAST

ITERATIONS = 8


@pytest.fixture(scope="module")
def options(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    root = tmp_path_factory.mktemp("shapes")
    write_shapes(root, train=8, val=2, seed=7)
    return [
        "model.fpn.channels=32",
        "model.fcos.num_convs=1",
        "model.bottom.channels=32",
        "model.semantic.channels=32",
        "model.backbone.depth=14",
        "data.short_sides=[64]",
        "data.workers=0",
        f"data.root={root}",
        "test.short_side=64",
        "train.batch_size=2",
        "train.rescale=false",
        "train.precision=32-true",
        "train.log_every=1",
        f"train.iterations={ITERATIONS}",
        "train.checkpoint_every=4",
        "train.evaluate_every=3",
        "train.steps=[6]",
        "train.warmup_iterations=2",
        "train.ema=0.9",
    ]


def start(options: list[str], output: Path, **how: object) -> ForkServerProcess:
    context = get_context("forkserver")
    context.set_forkserver_preload(["panoptic_blend.cli.main", "panoptic_blend.training.loop"])
    process = context.Process(target=killable_train.run, args=(options, output), kwargs=how)
    process.start()
    return process


def finish(options: list[str], output: Path, **how: object) -> int | None:
    process = start(options, output, **how)
    process.join(120)
    return process.exitcode


@pytest.fixture(scope="module")
def undisturbed(options: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "run"
    assert finish(options, output) == 0
    return output


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key in value:
            yield from leaves(value[key], f"{name}.{key}")
    elif isinstance(value, (list, tuple)):
        for i, item in enumerate(value):
            yield from leaves(item, f"{name}.{i}")
    else:
        yield name, value


def require_same(ours: Path, theirs: Path, states: int = 2) -> None:
    """Compare states with optimizer, weights, the log without its times, and results, bit by bit."""
    for left, right in zip(state_files(ours)[:states], state_files(theirs)[:states], strict=True):
        assert left.name == right.name
        for (name, a), (other, b) in zip(leaves(read_state(left)), leaves(read_state(right)), strict=True):
            assert name == other
            assert torch.equal(a, b) if isinstance(a, torch.Tensor) else a == b, name
    for file in (LAST, BEST):
        a, b = load_file(ours / file), load_file(theirs / file)
        assert all(torch.equal(a[name], b[name]) for name in a | b)
    for record, same in zip(log(ours), log(theirs), strict=True):
        assert record == same
    for path in (theirs / "results").rglob("*.*"):
        assert (ours / path.relative_to(theirs)).read_bytes() == path.read_bytes()
    assert not [path for path in ours.rglob("*") if ".part" in path.name]


def log(folder: Path) -> list[dict[str, Any]]:
    records = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [{key: value for key, value in record.items() if "seconds" not in key} for record in records]


def test_a_run_killed_at_random_moments(options: list[str], undisturbed: Path, tmp_path: Path) -> None:
    output, chance, killed = tmp_path / "run", random.Random(4), 0
    while True:
        process = start(options, output)
        process.join(chance.uniform(0.2, 2.5) if killed < 5 else 120)
        if process.exitcode is None:
            process.kill()
            process.join()
            killed += 1
        else:
            assert process.exitcode == 0
            break
    assert killed >= 2
    require_same(output, undisturbed)


def test_a_run_killed_while_it_writes(options: list[str], undisturbed: Path, tmp_path: Path) -> None:
    """Each start is killed at a later moment than the one before."""
    output = tmp_path / "run"
    for die in (
        ("state_000000003", "writing"),
        ("state_000000003", "after"),
        ("panoptic_val2017", "before"),  # the results of iteration 3
        ("best", "writing"),
        ("state_000000004", "before"),
        ("last", "before"),
        ("state_000000008", "after"),
        ("curves", "before"),
    ):
        assert finish(options, output, die=die) == -signal.SIGKILL, die
    assert finish(options, output) == 0
    require_same(output, undisturbed)


def test_a_run_with_kernels_killed_before_it_replaces_a_state(options: list[str], tmp_path: Path) -> None:
    options = [*options, "model.blender={merge: convolve, dice_weight: 1}", "model.bottom.kind=shared"]
    options += ["model.kernels={scale: 0.1, rounds: 1}", "model.semantic.kernel_rounds=1"]
    assert finish(options, tmp_path / "undisturbed") == 0
    assert finish(options, tmp_path / "run", die=("state_000000006", "before")) == -signal.SIGKILL
    assert finish(options, tmp_path / "run") == 0
    require_same(tmp_path / "run", tmp_path / "undisturbed")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_an_interrupted_run_reports_it_and_continues(
    options: list[str], undisturbed: Path, tmp_path: Path, number: signal.Signals
) -> None:
    output, codes = tmp_path / "run", []
    for seen in (1, 5):
        process = start(options, output)
        while process.exitcode is None and not (
            (output / "log.jsonl").exists() and len((output / "log.jsonl").read_text().splitlines()) >= seen
        ):
            time.sleep(0.01)
        if process.exitcode is None:
            os.kill(process.pid or 0, number)
        process.join(60)
        codes.append(process.exitcode)
    assert codes[0] == 75
    assert set(codes) <= {75, 0}
    errors = (tmp_path / "errors.txt").read_text()
    assert "Traceback" not in errors
    assert errors.startswith("interrupted at iteration ")
    assert "continue with --resume auto" in errors
    assert finish(options, output) == 0
    require_same(output, undisturbed, states=1)  # the older one may be that of the interruption


def test_a_full_disk_does_not_damage_the_last_state(options: list[str], undisturbed: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    assert finish([*options, "train.iterations=3"], output) == 0
    before = {path.name: path.read_bytes() for path in [*state_files(output), output / LAST]}
    size = len(before[LAST])
    assert finish(options, output, limit=size // 2) == 2
    assert {path.name: path.read_bytes() for path in [*state_files(output), output / LAST]} == before
    [line] = (tmp_path / "errors.txt").read_text().splitlines()
    assert "File too large" in line or "No space" in line
    assert finish(options, output) == 0
    assert read_state(state_files(output)[0])["iteration"] == ITERATIONS


def test_a_damaged_state_loses_only_its_own_iterations(options: list[str], undisturbed: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    assert finish(options, output, die=("state_000000006", "before")) == -signal.SIGKILL
    newest = state_files(output)[0]
    newest.write_bytes(newest.read_bytes()[:1000])
    with pytest.raises(PanopticBlendError):
        read_state(newest)
    assert finish(options, output) == 0
    require_same(output, undisturbed)
