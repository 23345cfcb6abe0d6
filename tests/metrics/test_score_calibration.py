"""Calibration of scores, worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from panoptic_blend.metrics.calibration import calibration
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.scoring.calibrated import CalibratedScores
from panoptic_blend.structures import Category, PanopticMap, Segment

CAT, SKY = 1, 2
CATEGORIES = [Category(CAT, "cat", is_thing=True), Category(SKY, "sky", is_thing=False)]


def panoptic(row: list[int], *scored: tuple[int, float | None]) -> PanopticMap:
    segments = [Segment(i, kind, kind == CAT, score, 0, None) for i, (kind, score) in enumerate(scored, 1)]
    return PanopticMap(np.array([row], dtype=np.int32), segments)


def details_of(*scores: float | None) -> PanopticDetails:
    """Cats in the right place, with these scores; the last one is in a wrong place, and sky has no score."""
    places = list(range(1, len(scores) + 1))
    truth = panoptic([*places[:-1], 0, 0, len(scores)], *((CAT, None) for _ in scores[:-1]), (SKY, None))
    prediction = panoptic(
        [*places[:-1], 0, len(scores) + 1, len(scores)],
        *((CAT, score) for score in scores),
        (CAT, 0.55),
    )
    details = PanopticDetails(CATEGORIES)
    details.update(1, truth, prediction)
    return details


def test_by_hand() -> None:
    found = calibration(details_of(0.7, 0.65, 0.9, 0.62))
    # 0.62, 0.65 and 0.7 are in the bin up to 0.7: two of three match; 0.9 matches; 0.55 lies on void and is ignored
    bins = {round(each.high, 1): each for each in found["Things"].bins if each.segments}
    assert bins.keys() == {0.7, 0.9}
    assert (bins[0.7].segments, bins[0.7].score, bins[0.7].matched) == pytest.approx((3, 1.97 / 3, 2 / 3))
    assert (bins[0.9].segments, bins[0.9].score, bins[0.9].matched) == (1, 0.9, 1)
    error = (3 * abs(2 / 3 - 1.97 / 3) + 0.1) / 4
    assert found["All"].expected_error == found["Things"].expected_error == pytest.approx(error)
    assert (found["Things"].scored, found["Things"].unscored, len(found["Things"].bins)) == (4, 0, 10)
    assert math.isnan(found["Stuff"].expected_error)


def test_segments_without_score_and_scores_that_are_no_probabilities() -> None:
    some = CalibratedScores(calibration(details_of(None, 1.0, 0.0)))
    assert (some.groups["All"].scored, some.groups["All"].unscored) == (2, 1)
    assert list(some.remarks()) == ["calibration leaves out 1 segments whose `score` is missing or no finite number"]
    assert some.groups["All"].expected_error == 0, "1 matches and 0 does not"
    none = CalibratedScores(calibration(details_of(None, None)))
    assert list(none.remarks()) == ["no calibration: no segment of the results has a `score` in `segments_info`"]
    logits = CalibratedScores(calibration(details_of(3.5, 0.5, -1)))
    assert list(logits.remarks()) == ["no calibration: 2 scores are not between 0 and 1, so they are no probabilities"]
    for found in (none, logits):
        [table] = found.tables()
        assert list(table.columns[1].cells) == ["-", "-", "-"]
    assert math.isnan(calibration(PanopticDetails(CATEGORIES))["All"].expected_error)
