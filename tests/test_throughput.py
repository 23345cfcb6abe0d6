from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from evaluation.throughput import copies, in_turn, lively_predictor, main
from panoptic_blend.engine.predict import predict_pictures


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "ab":
        cv2.imwrite(str(folder / f"{name}.png"), np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    return folder


def test_both_ways_write_the_same(pictures: Path, tmp_path: Path) -> None:
    predictor = lively_predictor("demo/shapes_r18", "32-true")
    folder = copies(pictures, tmp_path / "three", 3)
    assert sorted(path.name for path in folder.iterdir()) == ["0.png", "1.png", "2.png"]
    assert predict_pictures(predictor, [folder], tmp_path / "a", lambda done, total: None) == 3
    with in_turn():
        assert predict_pictures(predictor, [folder], tmp_path / "b", lambda done, total: None) == 3
    a, b = (json.loads((tmp_path / name / "panoptic.json").read_text()) for name in "ab")
    assert a == b


def test_both_rates_are_printed(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--pictures", str(pictures), "--config", "demo/shapes_r18", "--images", "2", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", ["throughput", *given])
    main()
    assert capsys.readouterr().out.count("images/s") == 1
