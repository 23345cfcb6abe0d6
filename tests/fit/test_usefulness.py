"""What a picture would teach, from two outputs whose segments are known."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from label_corruption import output_of

from panoptic_blend.fit.usefulness import Usefulness, agreement, turned, usefulness
from panoptic_blend.formats.categories import Categories
from panoptic_blend.structures import Category, PanopticMap, Segment

CATEGORIES = Categories([Category(3, "cat", True), Category(5, "dog", True), Category(9, "sky", False)])
SKY = PanopticMap.measured(np.full((20, 40), 1, np.int32), [Segment(1, 9, False, None, 0, None)])


def box(x0: int, x1: int) -> Any:
    mask = np.zeros((20, 40), bool)
    mask[:10, x0:x1] = True
    return mask


def judged(first: list[tuple[int, float, Any]], second: list[tuple[int, float, Any]]) -> Usefulness:
    outputs = (output_of(CATEGORIES, SKY, things) for things in (first, second))
    return usefulness(*outputs, confidence=0.2, overlap=0.4, is_semantic=True)


def test_a_picture_that_is_sure_teaches_nothing() -> None:
    found = judged([(3, 0.9, box(0, 10))], [(3, 0.8, box(30, 40))])  # the mirror image has it at the right
    assert (found.score, found.counts, found.reasons(CATEGORIES)) == (0, (0, 1), "both views agree")


def test_disagreement_by_hand() -> None:
    found = judged([(3, 0.9, box(0, 10)), (5, 0.9, box(20, 30))], [(3, 0.9, box(30, 40))])
    # cats agree; sky has 600 pixels in one view and 700 in the other; the dog is in one view only: 2 (1 + 6/7) / 5
    assert found.disagreement == pytest.approx(1 - 2 * (1 + 6 / 7) / 5)
    assert found.score == found.disagreement / 2
    assert [s.category for s in found.first_only] == [5] and not found.second_only
    assert found.reasons(CATEGORIES) == "1 thing seen in one view only (dog)"


def test_things_near_the_threshold_are_doubtful() -> None:
    # odds of 1/4 at 0.2: the band is from odds of 1/8, a score of 1/9, to odds of 1/2, a score of 1/3
    things = [(3, 0.12, box(0, 8)), (5, 0.32, box(10, 18)), (3, 0.34, box(20, 28)), (3, 0.1, box(30, 38))]
    found = judged(things, [])
    assert found.counts == (2, 3) and found.doubtful == pytest.approx(2 / 3)
    assert "2 of 3 things near the confidence threshold" in found.reasons(CATEGORIES)


def test_pixels_without_a_segment_count_only_with_a_semantic_head() -> None:
    nothing = PanopticMap(np.zeros((20, 40), np.int32), [])
    outputs = [output_of(CATEGORIES, nothing, []) for _ in range(2)]
    found = usefulness(*outputs, confidence=0.2, overlap=0.4, is_semantic=True)
    assert (found.unclaimed, found.disagreement, found.score) == (1, 0, 0.25)
    assert found.reasons(CATEGORIES) == "100% of the pixels in no segment"
    assert usefulness(*outputs, confidence=0.2, overlap=0.4, is_semantic=False).score == 0


@pytest.mark.parametrize("confidence", [0.0, 1.0])
def test_extreme_thresholds(confidence: float) -> None:
    outputs = [output_of(CATEGORIES, SKY, [(3, 0.5, box(0, 10))]) for _ in range(2)]
    assert usefulness(*outputs, confidence=confidence, overlap=0.4, is_semantic=True).doubtful == 0


def test_agreement_is_symmetric() -> None:
    one, other = (output_of(CATEGORIES, SKY, [(3, 0.9, box(0, n))]).panoptic for n in (10, 14))
    assert agreement(one, other)[0] == agreement(other, one)[0] == pytest.approx((10 / 14 + 660 / 700) / 2)
    assert agreement(one, one) == (1.0, [], [])
    assert (turned(turned(one)).segment_ids == one.segment_ids).all()
