"""`panoptic-blend sweep` on a checkpoint: its files and its output, a second run, and an error."""

from __future__ import annotations

import csv
import json
import shutil
import sys
from pathlib import Path

import pytest
import torch

from panoptic_blend import build_model, load, load_config
from panoptic_blend.checkpoints.io import read_checkpoint, save_checkpoint
from panoptic_blend.cli.main import main
from panoptic_blend.files import locked
from panoptic_blend.formats.categories import Categories
from panoptic_blend.shapes.dataset import CATEGORIES

SMALL = ["model.fpn.channels=32", "model.semantic.channels=32", "model.bottom.channels=32", "data.workers=0"]


@pytest.fixture(scope="module")
def weights(generated: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An untrained model for Shapes with high scores for some instances and low scores for others."""
    counts = ["model.num_things=6", "model.num_stuff=4", f"data.root={generated}"]
    config = load_config("demo/shapes_r18", [*SMALL, *counts])
    torch.manual_seed(0)
    model = build_model(config)
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "class_logits" in name:
                value.mul_(60 if name.endswith("weight") else 0.3)
    path = tmp_path_factory.mktemp("weights") / "shapes.safetensors"
    save_checkpoint(path, model.state_dict(), config, Categories(CATEGORIES))
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["panoptic-blend", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        main()
    return int(stop.value.code or 0)


@pytest.fixture
def imitated(monkeypatch: pytest.MonkeyPatch, weights: Path, shapes: Path, tmp_path: Path) -> Path:
    """Shapes with the predictions of the model as ground truth."""
    assert run(monkeypatch, "evaluate", weights, "--output", tmp_path / "predicted") == 0
    name = "panoptic_val2017"
    predicted = json.loads((tmp_path / "predicted" / f"{name}.json").read_text())
    truth = shapes / "annotations" / f"{name}.json"
    truth.write_text(json.dumps({**json.loads(truth.read_text()), "annotations": predicted["annotations"]}))
    shutil.rmtree(shapes / "annotations" / name)
    shutil.copytree(tmp_path / "predicted" / name, shapes / "annotations" / name)
    return shapes


def test_sweep_agrees_with_evaluate_and_runs_the_model_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], weights: Path, imitated: Path, tmp_path: Path
) -> None:
    output, root = tmp_path / "out", f"data.root={imitated}"
    command = "sweep", weights, root, "model.fusion.confidence=0.78", "--output", output, "--workers", 1
    capsys.readouterr()
    assert run(monkeypatch, *command) == 0
    first = capsys.readouterr().out.splitlines()
    assert "does not exist yet" in first[0]
    assert any(line.startswith("best of 1320 combinations: model.fusion.confidence=0.") for line in first)
    assert sorted(path.name for path in output.iterdir()) == ["cache.zip", "sweep.csv", "sweep.png"]
    content = (output / "sweep.csv").read_text()
    assert "\n0.2,0.4,128,1.0,1.0,1.0\n" in content

    assert run(monkeypatch, *command) == 0
    second = capsys.readouterr().out.splitlines()
    assert second[0].endswith("cache.zip: reused") and second[1:] == first[1:]
    assert (output / "sweep.csv").read_text() == content

    rows = {tuple(row[:3]): [float(pq) for pq in row[3:]] for row in list(csv.reader(content.splitlines()))[1:]}
    assert len({pq[0] for pq in rows.values()}) > 2
    setting = ["model.fusion.confidence=0.75", "model.fusion.overlap=0.4", "model.fusion.stuff_area=1024"]
    assert run(monkeypatch, "evaluate", weights, root, *setting, "--output", tmp_path / "results") == 0
    truth, result = (folder / "panoptic_val2017.json" for folder in (imitated / "annotations", tmp_path / "results"))
    capsys.readouterr()
    assert run(monkeypatch, "pq", truth, result, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert rows["0.75", "0.4", "1024"] == [report[group]["pq"] for group in ("All", "Things", "Stuff")]
    assert 0 < report["All"]["pq"] < 1


def test_the_best_setting_is_written_into_a_copy_of_the_checkpoint(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], weights: Path, imitated: Path, tmp_path: Path
) -> None:
    applied, root = tmp_path / "applied.safetensors", f"data.root={imitated}"
    changes = "model.fusion.confidence=0.78", "test.long_side=1000"
    command = "sweep", weights, root, *changes, "-o", tmp_path / "out", "--workers", 1
    assert run(monkeypatch, *command, "--apply", applied) == 0
    said = capsys.readouterr().out
    [best] = [line for line in said.splitlines() if line.startswith("best of ")]
    before, after = read_checkpoint(weights), read_checkpoint(applied)
    assert after.config == before.config.changed([changes[1], *best.split(": ")[1].split()])
    assert after.config.model.fusion != before.config.model.fusion
    assert all(torch.equal(value, after.state[name]) for name, value in before.state.items())
    assert load(applied).config.model.fusion == after.config.model.fusion
    assert said.endswith(f"the weights with the best setting: {applied}\n")

    (tmp_path / "link.safetensors").symlink_to(tmp_path / "nowhere")
    for output, reason in (
        (applied, "already exists"),
        (tmp_path / "link.safetensors", "already exists"),
        (tmp_path / "new.pth", "checkpoints are safetensors; name it new.safetensors"),
    ):
        assert run(monkeypatch, *command, "--apply", output) == 2
        assert reason in capsys.readouterr().err


def test_two_sweeps_do_not_share_a_folder(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], weights: Path, shapes: Path, tmp_path: Path
) -> None:
    for command in ("sweep", "evaluate"):
        with locked(tmp_path / "out"):
            assert run(monkeypatch, command, weights, f"data.root={shapes}", "-o", tmp_path / "out") == 2
        assert "another process is using this folder; wait until it ends" in capsys.readouterr().err


def test_missing_data_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], weights: Path, tmp_path: Path
) -> None:
    assert run(monkeypatch, "sweep", weights, f"data.root={tmp_path / 'none'}", "-o", tmp_path / "out") == 2
    assert capsys.readouterr().err.startswith(f"error: {tmp_path / 'none'}: no such folder;")
    assert not (tmp_path / "out").exists()
