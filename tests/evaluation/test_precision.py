"""The comparison of bf16 with float32: its counts and its exit codes."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import typer

from evaluation import precision
from evaluation.precision import Difference, difference
from panoptic_blend import build_model, load_config
from panoptic_blend.checkpoints.io import save_checkpoint
from panoptic_blend.cli.running import guarded
from panoptic_blend.formats.categories import Categories
from panoptic_blend.shapes.dataset import CATEGORIES
from panoptic_blend.structures import PanopticMap, Segment

SMALL = [
    "model.fpn.channels=32",
    "model.semantic.channels=32",
    "model.backbone.depth=14",
    "model.bottom.channels=32",
    "data.workers=0",
]


def scene(rows: list[list[int]], kinds: dict[int, int]) -> PanopticMap:
    """A map with the given category of each segment; categories below 10 are things."""
    ids = np.array(rows, np.int32)
    return PanopticMap.measured(ids, [Segment(i, kind, kind < 10, None, 0, None) for i, kind in kinds.items()])


def test_pixels_and_segments_that_differ_are_counted() -> None:
    first = scene([[1, 1, 1, 2], [1, 1, 1, 2], [0, 0, 3, 3]], {1: 5, 2: 6, 3: 11})
    same = scene([[9, 9, 9, 4], [9, 9, 9, 4], [0, 0, 7, 7]], {7: 11, 4: 6, 9: 5})
    assert difference(first, same) == Difference(12, 0, 6, 0), "ids and their order do not matter"
    shifted = scene([[9, 9, 4, 4], [9, 9, 4, 4], [0, 0, 7, 7]], {7: 12, 4: 6, 9: 5})
    # 1 and 9 share 4 of 6 pixels, 2 and 4 only 2 of 4; 3 and 7 are of other classes
    assert difference(first, shifted) == Difference(12, 12 - 2 - 4, 6, 4)
    nothing = scene([[0] * 4] * 3, {})
    assert difference(first, nothing) == Difference(12, 10, 3, 3)
    assert difference(nothing, nothing) == Difference(12, 0, 0, 0)
    assert Difference(1, 2, 3, 4) + Difference(10, 20, 30, 40) == Difference(11, 22, 33, 44)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    counts = ["model.num_things=6", "model.num_stuff=4", "model.fusion.stuff_area=0"]
    config = load_config("demo/shapes_r18", [*SMALL, *counts])
    path = tmp_path_factory.mktemp("weights") / "shapes.safetensors"
    save_checkpoint(path, build_model(config).state_dict(), config, Categories(CATEGORIES))
    return path


def run(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr(sys, "argv", ["precision", *map(str, arguments)])
    with pytest.raises(SystemExit) as stop:
        guarded(lambda: typer.run(precision.precision))
    return int(stop.value.code or 0)


def test_the_exit_code_depends_on_the_tolerance(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], checkpoint: Path, generated: Path
) -> None:
    monkeypatch.setattr(precision, "TOLERANCE", 1.0)
    assert run(monkeypatch, checkpoint, "--data", generated) == 0
    printed = capsys.readouterr().out
    assert "All PQ" in printed and "Stuff RQ" in printed
    assert " pixels differ (" in printed and "have no match" in printed
    assert "within the tolerance of 100.0" in printed

    monkeypatch.setattr(precision, "TOLERANCE", -1.0)
    assert run(monkeypatch, checkpoint, "--data", generated, "--split", "val2017") == 1
    assert "beyond the tolerance" in capsys.readouterr().out


def test_one_precision_against_itself_is_the_same(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], checkpoint: Path, generated: Path
) -> None:
    monkeypatch.setattr(precision, "PRECISIONS", ("32-true", "32-true"))
    monkeypatch.setattr(precision, "TOLERANCE", 0.0)
    assert run(monkeypatch, checkpoint, "--data", generated) == 0
    printed = capsys.readouterr().out
    assert "\n0 of " in printed and "PQ differs by +0.000 points" in printed


def test_other_data_is_refused_in_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], checkpoint: Path, coco_sample: Path
) -> None:
    assert run(monkeypatch, checkpoint, "--data", coco_sample) == 2
    assert "its categories are not the model's" in capsys.readouterr().err
