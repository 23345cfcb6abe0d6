"""The experiment on the loader's speed: every step is measured, in this process and in a worker, and reported."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import pytest
import torch
from instance_files import write_instances

from evaluation import loader_speed
from evaluation.loader_speed import Cost, datasets, measure_batches, measure_steps, table
from panoptic_blend.data.dataset import CocoPanoptic


def test_every_step_is_measured(generated: Path) -> None:
    steps = measure_steps(CocoPanoptic(generated, "val2017"), 6)
    assert [step.name for step in steps] == [
        "read and decode the JPEG",
        "read and decode the PNG",
        "measure the segments",
        "number the segments",
        "resize the picture",
        "resize the map",
        "flip half of the samples",
        "target",
    ]
    assert all(step.wall > 0 for step in steps)


def test_every_step_of_instances_is_measured_where_a_split_has_them(shapes: Path) -> None:
    assert [dataset.name for dataset in datasets(shapes, "val2017")] == ["panoptic_val2017.json"]
    write_instances(shapes, "val2017")
    panoptic, instances = datasets(shapes, "val2017")
    assert (panoptic.name, instances.name) == ("panoptic_val2017.json", "instances_val2017.json")
    steps = measure_steps(instances, 6)
    assert [step.name for step in steps] == [
        "read and decode the JPEG",
        "rasterize the masks",
        "paint the layers",
        "resize the picture",
        "resize the layers",
        "flip half of the samples",
        "target",
    ]
    assert all(step.wall > 0 for step in steps)


def test_a_worker_is_measured_and_so_is_this_process(generated: Path) -> None:
    dataset = CocoPanoptic(generated, "val2017")
    for workers in (0, 1):
        made, main_process = measure_batches(dataset, 2, 2, workers)
        assert made.cpu > 0 and made.rate == 1 / made.cpu
        assert main_process.cpu > 0


def test_shares_add_up() -> None:
    steps = [Cost("decode", 0.004, 0.006), Cost("resize", 0.002, 0.002)]
    columns = [
        list(column.cells)
        for column in table(steps, Cost("alone", 0.008, 0.01), Cost("worker", 0.01, 0.02), "a.json").columns
    ]
    assert columns == [
        ["decode", "resize", "everything else", "alone", "transfer between processes", "worker"],
        ["4.00", "2.00", "2.00", "8.00", "2.00", "10.00"],
        ["6.00", "2.00", "2.00", "10.00", "10.00", "20.00"],
        ["40%", "20%", "20%", "80%", "20%", "100%"],
        ["", "", "", "125", "", "100"],
    ]


@pytest.mark.parametrize(("milliseconds", "status", "rate"), [(10, 0, 100), (12.5, 1, 80)])
def test_a_missed_target_ends_in_an_error(
    generated: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    milliseconds: float,
    status: int,
    rate: int,
) -> None:
    monkeypatch.setattr(sys, "argv", ["loader_speed", "--data", str(generated)])
    monkeypatch.setattr(torch, "set_num_threads", lambda number: None)
    monkeypatch.setattr(cv2, "setNumThreads", lambda number: None)
    monkeypatch.setattr(loader_speed, "measure_steps", lambda *given: [])
    cost = Cost("worker", milliseconds / 1000, 0.02)
    monkeypatch.setattr(loader_speed, "measure_batches", lambda *given, workers: (cost, cost))
    with pytest.raises(SystemExit) as stop:
        loader_speed.main()
    assert stop.value.code == status
    assert f"worker: {rate} samples per second and core, target 90" in capsys.readouterr().out
