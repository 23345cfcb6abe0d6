"""The comparison of round trips by the libraries that the tests have."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from evaluation import roundtrips


def test_other_libraries_read_the_same_pixels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--pictures", "1", "--only", "pycocotools", "torchvision", "PIL"]
    assert roundtrips.main([*words, "--output", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert [(each["form"], each["way"]) for each in found] == [
        *((form, way) for form in ("coco-instances", "fiftyone") for way in roundtrips.WAYS),
        ("cityscapes", "masks"),
        ("masks", "masks"),
    ]
    assert all(each["exact"] == each["segments"] > 0 for each in found if each["way"] != "polygons, 1")
    assert "pycocotools" in capsys.readouterr().out


def test_lost_and_invented_segments_count() -> None:
    one, other = np.array([[True, False]]), np.array([[False, True]])
    truth = {"a": [("car", one), ("dog", other)]}
    assert roundtrips.compared(truth, truth) == (2, 0, [1.0, 1.0])
    assert roundtrips.compared(truth, {}) == (2, 2, [])
    assert roundtrips.compared(truth, {"a": [("car", one | other), ("dog", other), ("dog", one)]}) == (2, 1, [0.5, 1.0])
