"""The experiment on the speed of PQ: it measures pairs that differ, and reports missed targets."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from evaluation import pq_speed
from evaluation.pq_speed import (
    Cost,
    Spent,
    command_time,
    measure,
    missed_targets,
    repeat_pairs,
    table,
    write_pairs,
)
from panoptic_blend import evaluate_files


def test_pairs_in_memory_and_in_files_differ_moderately(generated: Path, tmp_path: Path) -> None:
    maps = write_pairs(generated / "annotations" / "panoptic_val2017.json", 4, tmp_path)
    assert [[panoptic.segment_ids.shape for panoptic in pair] for pair in maps] == [[(480, 640)] * 2] * 4
    report = evaluate_files(tmp_path / "truth.json", tmp_path / "prediction.json")
    assert 0.5 < report["All"]["pq"] < 1


def test_everything_is_measured(generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pq_speed, "find_spec", lambda name: None)
    costs = measure(generated / "annotations" / "panoptic_val2017.json", 2, tmp_path)
    assert costs.keys() == {"files", "one", "memory", "reference"}
    assert all(cost.cpu > 0 and cost.wall > 0 for cost in costs.values())
    assert costs["reference"].name == "stand-in for panopticapi"


def costs(one: float, memory: float) -> dict[str, Cost]:
    found = {"files": one, "one": one, "memory": memory, "reference": 10.0, "torchmetrics": 600.0}
    return {name: Cost(name, cpu, 2 * cpu) for name, cpu in found.items()}


def test_targets() -> None:
    assert missed_targets(costs(1.5, 0.6)) == []
    assert missed_targets(costs(5.0, 0.75)) == [
        "from files: 5.00 ms per pair, target 1.5",
        "in memory: 0.75 ms per pair, target 0.6",
    ]
    columns = [list(column.cells) for column in table(costs(4.0, 3.0)).columns]
    assert columns[0] == ["files", "one", "memory", "reference", "torchmetrics"]
    assert columns[3] == ["", "", "", "2.50", "200.00"]


@pytest.mark.parametrize(("one", "status"), [(1.5, 0), (1.6, 1)])
def test_a_missed_target_ends_in_an_error(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], one: float, status: int
) -> None:
    monkeypatch.setattr(sys, "argv", ["pq_speed"])
    monkeypatch.setattr(pq_speed, "measure", lambda *given: costs(one, 0.5))
    monkeypatch.setattr(pq_speed, "peak_memory", lambda *given: 59.9)
    monkeypatch.setattr(pq_speed, "repeat_pairs", lambda *given: None)
    monkeypatch.setattr(pq_speed, "command_time", lambda *given: Spent(5.0, 9.0))
    with pytest.raises(SystemExit) as stop:
        pq_speed.main()
    assert stop.value.code == status
    assert ("target 1.5" in capsys.readouterr().out) == bool(status)


def test_the_command_scores_repeated_pairs(generated: Path, tmp_path: Path) -> None:
    write_pairs(generated / "annotations" / "panoptic_val2017.json", 2, tmp_path)
    repeat_pairs(tmp_path, 5)
    spent = command_time(tmp_path, 2)
    assert spent.cpu > 0 and spent.wall > 0
    files = tmp_path / "many_truth.json", tmp_path / "many_prediction.json"
    twice = evaluate_files(*files, tmp_path / "truth", tmp_path / "prediction")
    once = evaluate_files(tmp_path / "truth.json", tmp_path / "prediction.json")
    assert sum(q["tp"] for q in twice.per_class.values()) > 2 * sum(q["tp"] for q in once.per_class.values())
