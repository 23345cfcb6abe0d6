from __future__ import annotations

import json
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from evaluation.throughput import copies, main, predictor_with_detections, rate
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.prediction import pictures as prediction
from panoptic_blend.prediction.find_pictures import find_pictures


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    folder = tmp_path / "photos"
    folder.mkdir()
    for name in "ab":
        cv2.imwrite(str(folder / f"{name}.png"), np.random.default_rng(0).integers(0, 255, (48, 64, 3), dtype=np.uint8))
    return folder


def test_both_ways_write_the_same(pictures: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    predictor = predictor_with_detections("demo/shapes_r18", "32-true")
    folder = copies(pictures, tmp_path / "three", 3)
    assert sorted(path.name for path in folder.iterdir()) == ["0.png", "1.png", "2.png"]
    for name, depth in (("a", 0), ("b", 3)):
        monkeypatch.setattr(Predictor, "queue_depth", depth)
        found, _ = find_pictures([folder])
        assert prediction.predict_pictures(predictor, found, tmp_path / name, lambda done, total: None) == 3
    a, b = (json.loads((tmp_path / name / "panoptic.json").read_text()) for name in "ab")
    assert a == b
    assert rate(predictor, folder, depth=3) > 0


def test_both_rates_are_printed(
    pictures: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--pictures", str(pictures), "--config", "demo/shapes_r18", "--images", "2", "--rounds", "1"]
    monkeypatch.setattr(sys, "argv", ["throughput", *given])
    main()
    assert capsys.readouterr().out.count("images/s") == 1
