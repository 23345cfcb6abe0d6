"""Each reason at its threshold and below it; nothing for a model that is fine."""

from __future__ import annotations

import math

import numpy as np
import pytest

from panoptic_blend.scoring.hopeless import Training, reasons
from panoptic_blend.structures import Category

CATEGORIES = [Category(1, "cat", is_thing=True), Category(2, "dog", is_thing=True), Category(3, "sky", is_thing=False)]
LONG = Training(passes=10, has_weights=True)

# rows are the truth, columns the prediction: void, cat, dog, sky
MIXED = [[0, 0, 0, 0], [0, 10, 15, 15], [0, 15, 10, 15], [0, 15, 15, 10]]
CASES: dict[str, tuple[list[list[int]], Training, str | None]] = {
    "void at the threshold": (
        [[0, 0, 0, 0], [40, 0, 0, 2], [20, 1, 1, 1], [35, 0, 0, 0]],
        LONG,
        "95% of the",
    ),
    "void below it": ([[0, 0, 0, 0], [39, 0, 0, 2], [20, 1, 1, 1], [35, 0, 1, 0]], LONG, None),
    "wrong classes": ([[0] * 4, [0, 5, 25, 5], [0, 25, 5, 5], [0, 15, 15, 0]], LONG, "the classes are wrong: 50%"),
    "less than half is right if renamed": ([[0] * 4, [0, 5, 24, 6], [0, 25, 5, 5], [0, 15, 15, 0]], LONG, None),
    "more than a tenth is right": ([[0] * 4, [0, 6, 25, 4], [0, 25, 5, 5], [0, 15, 15, 0]], LONG, None),
    "one class": (
        [[0] * 4, [0, 1, 1, 40], [0, 1, 2, 20], [0, 0, 0, 35]],
        LONG,
        "95% of what is predicted is `sky`",
    ),
    "one class, less": ([[0] * 4, [0, 2, 1, 39], [0, 1, 2, 20], [0, 0, 0, 35]], LONG, None),
    "one class, as in the truth": ([[0] * 4, [0, 0, 0, 10], [0, 0, 0, 10], [0, 0, 0, 80]], LONG, None),
    "more than half of the truth is void": (
        [[0, 41, 40, 40], *MIXED[1:]],
        LONG,
        "50% of the pixels of the truth are void",
    ),
    "half is": ([[0, 40, 40, 40], *MIXED[1:]], LONG, None),
    "few passes": (MIXED, Training(9.9, has_weights=True), "9.9 passes over the training images are few"),
    "random weights": (MIXED, Training(10, has_weights=False), "training started from random weights"),
    "no reason": (MIXED, LONG, None),
}


@pytest.mark.parametrize("case", CASES)
def test_reasons_begin_at_their_thresholds(case: str) -> None:
    pixels, training, expected = CASES[case]
    [line] = reasons(0.0099, np.array(pixels), CATEGORIES, training)
    assert line.startswith(f"PQ is 0.99: {expected or 'the predictions are in the wrong places'}")


def test_a_model_that_is_fine_or_not_measured_gets_no_line() -> None:
    pixels, training = np.array(CASES["void at the threshold"][0]), Training(0.1, has_weights=False)
    assert reasons(0.01, pixels, CATEGORIES, training) == []
    assert reasons(math.nan, pixels, CATEGORIES, training) == []
    assert reasons(0.0, np.zeros((4, 4), np.int64), CATEGORIES, training) == []


def test_there_are_at_most_three_lines_the_likeliest_first() -> None:
    pixels = [[0, 0, 0, 200], [0, 0, 0, 20], [0, 0, 0, 20], [0, 0, 0, 0]]
    lines = reasons(0.0, np.array(pixels), CATEGORIES, Training(0.1, has_weights=False))
    assert [line.split(": ", 1)[1].split(" ", 1)[0] for line in lines] == ["the", "100%", "83%"]
