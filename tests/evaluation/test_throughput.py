from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from exported_folder import write_exported

from evaluation import throughput
from evaluation.throughput import config_ways, copies, main
from panoptic_blend.prediction import pictures as prediction
from panoptic_blend.prediction.find_pictures import find_pictures


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "ab":
        cv2.imwrite(str(folder / f"{name}.png"), np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    return folder


def test_both_ways_write_the_same(pictures: Path, tmp_path: Path) -> None:
    folder = copies(pictures, tmp_path / "three", 3)
    assert sorted(path.name for path in folder.iterdir()) == ["0.png", "1.png", "2.png"]
    ways = config_ways("demo/shapes_r18", "32-true")
    assert [predictor.queue_depth for predictor in ways.values()] == [0, 3]
    for words, predictor in ways.items():
        found, _ = find_pictures([folder])
        assert prediction.predict_pictures(predictor, found, tmp_path / words, lambda done, total: None) == 3
    a, b = (json.loads((tmp_path / words / "panoptic.json").read_text()) for words in ways)
    assert a == b


def test_both_rates_are_printed(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--pictures", str(pictures), "--config", "demo/shapes_r18", "--images", "2", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", ["throughput", *given])
    main()
    assert capsys.readouterr().out.count("images/s") == 1


def test_an_exported_model_takes_a_picture_for_each_core(
    pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(throughput, "cores", lambda: 2)
    given = ["--pictures", str(pictures), "--exported", str(write_exported(tmp_path / "exported")), "--images", "2"]
    monkeypatch.setattr(sys, "argv", ["throughput", *given, "--rounds", "1"])
    main()
    printed = capsys.readouterr().out
    assert "exported, 2 cores" in printed and "one for each core" in printed
