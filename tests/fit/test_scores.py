"""Which detections are right, by hand; calibration errors by hand; and a calibration that is known is found again."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from panoptic_blend.fit.scores import Outcomes, fit_calibration, outcomes
from panoptic_blend.formats.categories import Categories
from panoptic_blend.structures import Category, Cutout, Runs, Segment
from panoptic_blend.sweep.cache import FusionSample

CATEGORIES = Categories([Category(7, "cat", True), Category(8, "dog", True), Category(9, "sky", False)])
CAT, DOG = 0, 1


def of(pairs: list[tuple[float, bool]]) -> Outcomes:
    scores, right = zip(*pairs, strict=True)
    return Outcomes(np.array(scores), np.array(right))


def sample(*found: tuple[float, int, tuple[int, int, int, int]]) -> FusionSample:
    """Ten rows of: a cat in columns 0-3, a crowd of dogs in 4-7, void in 8-11, sky in 12-15; ``found`` have a score, a
    label, and the rows and columns of their mask."""
    truth = np.tile(np.repeat(np.array([1, 2, 0, 3], np.int32), 4), (10, 1))
    cutouts = [
        Cutout(np.ones((bottom - top, right - left), bool), top, left) for *_, (top, bottom, left, right) in found
    ]
    return FusionSample(
        scores=np.array([score for score, *_ in found], np.float32),
        labels=np.array([label for _, label, _ in found], np.uint8),
        cutouts=cutouts,
        semantic=Runs.from_pixels(np.zeros((10, 16), np.uint8)),
        truth=Runs.from_pixels(truth),
        segments=[
            Segment(1, 7, True, None, 40, None),
            Segment(2, 8, True, None, 40, None, is_crowd=True),
            Segment(3, 9, False, None, 40, None),
        ],
    )


def test_what_is_right_and_what_nobody_knows() -> None:
    found = outcomes(
        [
            sample(
                (0.9, DOG, (0, 10, 0, 4)),  # another class
                (0.8, CAT, (0, 5, 0, 4)),  # IoU 0.5: right
                (0.7, CAT, (0, 10, 0, 4)),  # a better mask of the same cat, but too late
                (0.6, DOG, (0, 3, 4, 8)),  # in the crowd: unknown
                (0.5, CAT, (0, 10, 9, 14)),  # 30 of 50 pixels on void: unknown
                (0.4, CAT, (0, 10, 10, 14)),  # 20 of 40 on void: known, and wrong
            ),
            sample(),
            sample((0.3, CAT, (0, 9, 0, 4))),  # the cat of another image
        ],
        CATEGORIES,
    )
    order = np.argsort(-found.scores)
    assert found.scores[order] == pytest.approx([0.9, 0.8, 0.7, 0.4, 0.3])
    assert found.is_right[order].tolist() == [False, True, False, False, True]
    assert len(outcomes([], CATEGORIES)) == len(outcomes([sample()], CATEGORIES)) == 0


def test_errors_by_hand() -> None:
    # bins of a fifteenth: 0.01 and 0.05 share the first, where 1 of 2 is right and the mean score is 0.03
    found = of([(0.01, True), (0.05, False), (1.0, True), (1.0, False)])
    assert found.calibration_error() == pytest.approx(abs(0.06 - 1) / 4 + abs(2 - 1) / 4)
    assert of([(0.8, True), (0.8, False)]).log_loss() == pytest.approx(-(math.log(0.8) + math.log(0.2)) / 2)
    assert of([(1.0, False)]).log_loss() == pytest.approx(-math.log(1e-6))
    nothing = Outcomes(np.zeros(0), np.zeros(0, bool))
    assert math.isnan(nothing.log_loss()) and math.isnan(nothing.calibration_error()) and not nothing.are_enough()


def test_a_known_calibration_is_found_again() -> None:
    rng = np.random.default_rng(0)
    truly = rng.random(20_000)
    # a model whose logits are half as large as they should be, and shifted
    seen = Outcomes(1 / (1 + np.exp(-0.5 * (np.log(truly / (1 - truly)) + 0.8))), rng.random(20_000) < truly)
    found = fit_calibration(seen)
    assert found.temperature == pytest.approx(0.5, abs=0.02) and found.bias == pytest.approx(-0.8, abs=0.05)
    assert seen.calibration_error() > 0.1 > 0.02 > seen.calibrated(found).calibration_error()
    assert seen.calibrated(found).log_loss() < seen.log_loss()
    assert fit_calibration(replace(seen, scores=truly)).temperature == pytest.approx(1, abs=0.03)


def test_scores_that_separate_right_and_wrong_stay_probabilities() -> None:
    separable = of([(0.4, False)] * 20 + [(0.6, True)] * 20)
    assert separable.are_enough()
    sure = separable.calibrated(fit_calibration(separable)).scores
    assert sure[0] == pytest.approx(1 / 22, abs=1e-3) and sure[-1] == pytest.approx(21 / 22, abs=1e-3)  # Platt, 2.2
    assert not of([(0.4, False)] * 400 + [(0.6, True)] * 19).are_enough()
    assert of([(0.0, False)] * 20 + [(1.0, True)] * 20 + [(0.0, True)]).are_enough()
    upside_down = of([(0.9, False)] * 30 + [(0.2, True)] * 30)
    assert fit_calibration(upside_down).temperature == 50  # as flat as it may be, and not falling
