"""``--weights`` and ``--partial`` on the commands that use a model, with weights of several kinds."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_io import state_of
from torch import Tensor
from torchvision.models import resnet18

from panoptic_blend.checkpoints.io import read_checkpoint
from panoptic_blend.cli import main as cli
from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.build import build_model
from panoptic_blend.shapes.dataset import write_shapes

SMALL = ["model.fpn.channels=32", "model.semantic.channels=32", "model.bottom.channels=32", "data.workers=0"]
COUNTS = ["model.num_things=6", "model.num_stuff=4"]
NONE = ["train.iterations=0", "train.precision=32-true"]


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shapes")
    write_shapes(folder, train=2, val=1)
    return folder


def model_state(*overrides: str) -> dict[str, Tensor]:
    torch.manual_seed(4)
    return state_of(build_model(load_config("demo/shapes_r18", [*SMALL, *COUNTS, *overrides])))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights for Shapes that say nothing about themselves, under a name that YAML would read otherwise."""
    path = tmp_path_factory.mktemp("weights") / "a: [b] #c.pth"
    torch.save(model_state(), path)
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["panoptic-blend", *map(str, arguments)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return int(end.value.code or 0)


def test_predict(monkeypatch: pytest.MonkeyPatch, bare: Path, root: Path, tmp_path: Path) -> None:
    changes = [part for change in [*SMALL, *COUNTS] for part in ("--set", change)]
    pictures = root / "val2017"
    ways: list[list[Any]] = [
        ["demo/shapes_r18", pictures, "--weights", bare],
        [bare, pictures, "--config", "demo/shapes_r18"],
    ]
    for i, way in enumerate(ways):
        assert run(monkeypatch, "predict", *way, "-o", tmp_path / str(i), *changes) == 0
        assert (tmp_path / str(i) / "panoptic.json").is_file()


def test_evaluate_checks_the_categories_of_weights_that_do_not_say(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bare: Path, root: Path
) -> None:
    arguments = ["evaluate", "demo/shapes_r18", *SMALL, *COUNTS, f"data.root={root}", "--weights", bare]
    assert run(monkeypatch, *arguments) == 2
    assert "categor" in capsys.readouterr().err


def test_two_ways_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], bare: Path, root: Path
) -> None:
    assert run(monkeypatch, "evaluate", bare, "--config", "demo/shapes_r18", "--weights", bare) == 2
    assert "exclude each other" in capsys.readouterr().err


def test_train_from_weights(monkeypatch: pytest.MonkeyPatch, bare: Path, root: Path, tmp_path: Path) -> None:
    arguments = ["train", "demo/shapes_r18", *SMALL, *NONE, f"data.root={root}", "-o", tmp_path, "--weights", bare]
    assert run(monkeypatch, *arguments) == 0
    checkpoint = read_checkpoint(tmp_path / "best.safetensors")
    assert checkpoint.config.train.weights == str(bare)
    expected = model_state()
    assert all(torch.equal(value, expected[name]) for name, value in checkpoint.state.items())


def test_train_from_the_weights_of_a_backbone(monkeypatch: pytest.MonkeyPatch, root: Path, tmp_path: Path) -> None:
    theirs = resnet18().state_dict()
    torch.save({name: value.numpy() for name, value in theirs.items()}, tmp_path / "R-18.pkl")
    arguments = ["train", "demo/shapes_r18", *SMALL, *NONE, f"data.root={root}", "-o", tmp_path]
    assert run(monkeypatch, *arguments, "--weights", tmp_path / "R-18.pkl") == 0
    state = read_checkpoint(tmp_path / "best.safetensors").state
    assert np.array_equal(state["backbone.layer4.1.conv2.weight"], theirs["layer4.1.conv2.weight"])


def test_fine_tuning_on_other_classes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], root: Path, tmp_path: Path
) -> None:
    torch.save(model_state("model.num_things=9"), tmp_path / "nine.pth")
    arguments = ["train", "demo/shapes_r18", *SMALL, *NONE, f"data.root={root}", "--weights", tmp_path / "nine.pth"]
    assert run(monkeypatch, *arguments, "-o", tmp_path / "whole") == 2
    message = capsys.readouterr().err
    assert "instances.fcos.class_logits.bias has the shape 9 in the weights and 6 in the model (and 3 more)" in message
    assert "--partial" in message
    assert run(monkeypatch, *arguments, "-o", tmp_path / "part", "--partial") == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert (
        "not loaded instances.fcos.class_logits, instances.thing_semantic.6, semantic.predictor (6 tensors)" in printed
    )
    assert "knows none of the 10 classes by name" in printed
    state, expected = read_checkpoint(tmp_path / "part" / "best.safetensors").state, model_state("model.num_things=9")
    assert torch.equal(state["instances.top_layer.weight"], expected["instances.top_layer.weight"])
    assert len(state["instances.fcos.class_logits.bias"]) == 6
