"""Calibrated scores; `test_panoptic_blend` tests where they arrive."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.models.calibration import calibrate


def test_scores_by_hand() -> None:
    scores = torch.tensor([0.5, 0.8, 0.0, 1.0])
    assert calibrate(scores, 2, 0).tolist() == pytest.approx([1 / 2, 2 / 3, 0, 1])  # the root of the odds 1, 4
    assert calibrate(scores, 0.5, 0).tolist() == pytest.approx([1 / 2, 16 / 17, 0, 1])  # their square
    assert calibrate(scores, 1, math.log(3)).tolist() == pytest.approx([3 / 4, 12 / 13, 0, 1])  # three times them
    assert calibrate(scores, 2, 0).dtype == torch.float32
    assert calibrate(scores, 1, 0) is scores
    assert calibrate(torch.zeros(0), 2, 1).shape == (0,)


@settings(max_examples=30)
@given(st.lists(st.floats(0, 1, width=32), min_size=1), st.floats(0.05, 20), st.floats(-5, 5))
def test_the_order_of_scores_stays(scores: list[float], temperature: float, bias: float) -> None:
    rising = torch.tensor(sorted(scores))
    found = calibrate(rising, temperature, bias)
    assert (found.diff() >= 0).all() and ((found >= 0) & (found <= 1)).all()
