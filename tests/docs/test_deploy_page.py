"""The worked example of the page on deployment: the library computes its numbers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.postprocessing.blending import blend
from panoptic_blend.postprocessing.detection import Level, decode

PAGE = " ".join((Path(__file__).parents[2] / "docs" / "deploy.md").read_text(encoding="utf-8").split())


def test_the_box_and_the_score_of_a_cell() -> None:
    logits, distances = np.full((1, 3, 4), -9, np.float32), np.zeros((4, 3, 4), np.float32)
    logits[0, 2, 3], distances[:, 2, 3] = 2, (1.5, 0.5, 2, 1)
    found = decode([Level(8, logits, distances, np.ones((1, 3, 4), np.float32), distances)], 0.05, 1000)
    assert found.boxes.tolist() == [[16, 16, 44, 28]]
    [score] = found.scores.tolist()
    assert f"the probability is 0.8808 · 0.7311 = {score**2:.4f} and the score {score:.4f}" in PAGE
    assert "the box is 16, 16, 44, 28." in PAGE


def test_the_probability_of_a_mask() -> None:
    crops = np.array([3, -1], np.float32).reshape(1, 2, 1, 1)
    attentions = np.array([0.5, -0.5], np.float32).reshape(1, 2, 1, 1)
    [probability] = blend(crops, attentions, "bilinear").ravel().tolist()
    assert np.log(probability / (1 - probability)) == pytest.approx(1.9242, abs=1e-4)
    assert f"the sum is 1.9242 and the probability {probability:.4f}" in PAGE
