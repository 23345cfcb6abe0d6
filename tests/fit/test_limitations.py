"""What limits a model, worked out by hand on maps of one row."""

from __future__ import annotations

import numpy as np
import pytest

from panoptic_blend.fit.limitations import class_qualities, limits, named, rare_and_weak, small_are_missed, to_label
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.scoring.details import Resampling, compute_findings
from panoptic_blend.structures import Category, PanopticMap, Segment

CAT, DOG, SKY = 1, 2, 3
CATEGORIES = [Category(CAT, "cat", True), Category(DOG, "dog", True), Category(SKY, "sky", False)]


def row(*segments: tuple[int, int]) -> PanopticMap:
    """A map of one row with segments of a category and a width."""
    ids = np.repeat(np.arange(1, len(segments) + 1, dtype=np.int32), [width for _, width in segments])
    found = [Segment(i, category, category != SKY, None, 0, None) for i, (category, _) in enumerate(segments, 1)]
    return PanopticMap(ids.reshape(1, -1), found)


def of(*images: tuple[PanopticMap, PanopticMap]) -> PanopticDetails:
    details = PanopticDetails(CATEGORIES)
    for number, pair in enumerate(images):
        details.update(number, *pair)
    return details


DETAILS = of(
    (row((CAT, 10), (SKY, 90)), row((SKY, 100))),  # a small cat is missed, the sky is found with IoU 0.9
    (row((CAT, 30), (DOG, 30), (SKY, 40)), row((CAT, 30), (CAT, 30), (SKY, 40))),  # a dog is taken for a cat
)
FINDINGS = compute_findings(DETAILS, None, Resampling(resamples=10))


def test_causes_by_what_they_cost() -> None:
    # cat: 1 TP, 1 FP (wrong class), 1 FN (missed): each error costs 1/4; dog: 1 FN costs 1; sky: IoUs of 0.9 and 1
    first, second, third = limits(DETAILS, FINDINGS)
    assert first.points == pytest.approx((1 + 1 / 4) / 3)
    assert first.words == "things of the wrong class (most often `dog` taken for `cat`) cost 41.7 points"
    assert second.words == "missed things (100% of them under 32 x 32 pixels) cost 8.3 points"
    assert third.points == pytest.approx(0.05 / 3)
    assert third.words == "outlines of found stuff that are not exact cost 1.7 points"
    assert small_are_missed([first, second]) and not small_are_missed([first, third])
    assert [limit.points for limit in limits(DETAILS, FINDINGS, has_stuff=False)] == pytest.approx([5 / 8, 1 / 8])


def test_large_things_that_are_missed_are_not_called_small() -> None:
    details = of((row((CAT, 2000), (SKY, 9000)), row((SKY, 11000))))
    [missed, *_] = limits(details, compute_findings(details, None, Resampling(resamples=10)))
    assert missed.words.startswith("missed things cost") and not small_are_missed([missed])


def test_a_perfect_model_and_no_image_have_no_limits() -> None:
    for details in (of((row((CAT, 5), (SKY, 5)), row((CAT, 5), (SKY, 5)))), of()):
        assert limits(details, compute_findings(details, None, Resampling(resamples=10))) == []


def test_classes_to_label() -> None:
    # PQ: cat 1/2, dog 0, sky 0.95; their mean is 0.48
    qualities = class_qualities(FINDINGS)
    assert [(c.name, quality) for c, quality in qualities] == [("dog", 0), ("cat", 0.5), ("sky", pytest.approx(0.95))]
    assert [c.name for c in rare_and_weak(qualities, {CAT: 1, DOG: 49, SKY: 2})] == ["dog"]
    assert rare_and_weak(qualities, {CAT: 1, DOG: 50, SKY: 2}) == rare_and_weak([], {}) == []
    assert list(to_label(FINDINGS, {DOG: 7})) == ["with classes of few examples: `dog` (7)"]
    assert list(to_label(FINDINGS, {})) == ["with the weakest classes: `dog`, `cat`, `sky`"]
    assert named(Category(1, "a`b\n" + "c" * 99, True)) == "`a b " + "c" * 76 + "`"
