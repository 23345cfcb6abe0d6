"""Each cause on a map of one row, worked out by hand, and properties of all causes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.metrics.causes import Cause
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.error_budget import error_budget
from panoptic_blend.structures import Category, PanopticMap, Segment

CAT, DOG, SKY, SEA = 17, 18, 187, 155
CATEGORIES = [
    Category(CAT, "cat", is_thing=True),
    Category(DOG, "dog", is_thing=True),
    Category(SKY, "sky", is_thing=False),
    Category(SEA, "sea", is_thing=False),
]


def panoptic(ids: Sequence[int] | np.ndarray, categories: Sequence[int], crowds: Sequence[int] = ()) -> PanopticMap:
    """A map of one row; segment i has the category ``categories[i - 1]``."""
    things = {category.id for category in CATEGORIES if category.is_thing}
    segments = [
        Segment(i, category, category in things, None, 0, None, i in crowds) for i, category in enumerate(categories, 1)
    ]
    return PanopticMap(np.array(ids, dtype=np.int32).reshape(1, -1), segments)


def runs(*lengths: tuple[int, int]) -> list[int]:
    """Decode runs (id, length)."""
    return [id for id, length in lengths for _ in range(length)]


def details(truth: PanopticMap, prediction: PanopticMap) -> PanopticDetails:
    result = PanopticDetails(CATEGORIES)
    result.update(1, truth, prediction)
    return result


def causes(truth: PanopticMap, prediction: PanopticMap) -> tuple[dict[int, str], dict[int, str]]:
    """Segment ids of the truth and the prediction -> cause."""
    rows = [row for row in details(truth, prediction).segments() if row.cause]
    return tuple({r.segment: str(r.cause) for r in rows if r.side == side} for side in ("truth", "prediction"))  # type: ignore[return-value]


def test_missed_and_background() -> None:
    truth = panoptic(runs((1, 4), (2, 6)), [CAT, SKY])
    assert causes(truth, panoptic(runs((1, 10)), [SKY])) == ({1: "missed"}, {})  # the sky is in its place
    truth = panoptic(runs((1, 10)), [SKY])
    prediction = panoptic(runs((1, 2), (2, 8)), [CAT, SKY])
    assert causes(truth, prediction) == ({}, {1: "background"})


def test_wrong_class_is_a_pair_of_any_other_class() -> None:
    truth = panoptic(runs((1, 4), (2, 6)), [CAT, SKY])
    prediction = panoptic(runs((1, 5), (2, 5)), [DOG, SKY])  # IoU 4/5 with the cat
    assert causes(truth, prediction) == ({1: "wrong class"}, {1: "wrong class"})
    budget = error_budget(details(truth, prediction))
    # PQ of cat 0, dog 0, sky 5/6; repaired: cat 4/5, dog does not occur, sky 5/6
    assert budget.groups["All"].pq == pytest.approx(5 / 18)
    assert budget.groups["All"].lost[Cause.WRONG_CLASS] == pytest.approx(2 / 3)
    assert budget.groups["All"].lost[Cause.INEXACT] == pytest.approx(1 / 18)
    assert budget.groups["All"].repaired[Cause.WRONG_CLASS] == pytest.approx((4 / 5 + 5 / 6) / 2)


def test_poor_outline_is_the_right_class_at_an_iou_from_3_to_5_tenths() -> None:
    truth = panoptic(runs((1, 10), (2, 10)), [CAT, SKY])
    prediction = panoptic(runs((1, 5), (2, 15)), [CAT, SKY])  # 5/10
    assert causes(truth, prediction) == ({1: "poor outline"}, {1: "poor outline"})
    assert causes(truth, panoptic(runs((1, 3), (2, 17)), [CAT, SKY]))[0][1] == "poor outline"  # 3/10
    assert causes(truth, panoptic(runs((1, 2), (2, 18)), [CAT, SKY])) == ({1: "missed"}, {1: "background"})


def test_split_pieces_would_match_if_joined() -> None:
    truth = panoptic(runs((1, 9), (2, 11)), [CAT, SKY])
    prediction = panoptic(runs((1, 4), (2, 4), (3, 12)), [CAT, CAT, SKY])  # 4/9 each, 8/9 joined
    assert causes(truth, prediction) == ({1: "split"}, {1: "split", 2: "split"})
    budget = error_budget(details(truth, prediction)).per_class[CAT]
    assert (budget.pq, budget.lost[Cause.SPLIT]) == (0, 1)
    assert budget.repaired[Cause.SPLIT] == pytest.approx(8 / 9)
    # 2 + 2 of 9 would not match if joined
    little = panoptic(runs((1, 2), (2, 2), (3, 16)), [CAT, CAT, SKY])
    assert causes(truth, little)[0] == {1: "missed"}


def test_merged_truths_are_covered_by_one_prediction() -> None:
    truth = panoptic(runs((1, 5), (2, 5), (3, 10)), [CAT, CAT, SKY])
    prediction = panoptic(runs((1, 11), (2, 9)), [CAT, SKY])  # 5/11 each, 10/11 joined
    assert causes(truth, prediction) == ({1: "merged", 2: "merged"}, {1: "merged"})
    budget = error_budget(details(truth, prediction)).per_class[CAT]
    assert (budget.lost[Cause.MERGED], budget.repaired[Cause.MERGED]) == (1, 1)


def test_a_truth_in_the_match_of_another_is_merged_too() -> None:
    truth = panoptic(runs((1, 8), (2, 4), (3, 8)), [CAT, CAT, SKY])
    prediction = panoptic(runs((1, 11), (2, 9)), [CAT, SKY])  # 8/11 with the first, 3 of 4 pixels of the second
    assert causes(truth, prediction) == ({2: "merged"}, {})
    budget = error_budget(details(truth, prediction)).per_class[CAT]
    assert budget.pq == pytest.approx(8 / 11 / 1.5)
    assert budget.lost[Cause.MERGED] == pytest.approx(0.5 / 1.5)
    assert budget.lost[Cause.INEXACT] == pytest.approx(3 / 11 / 1.5)
    assert budget.repaired[Cause.MERGED] == pytest.approx((8 / 11 + 3 / 4) / 2)


def test_duplicate_lies_in_a_truth_that_is_found() -> None:
    truth = panoptic(runs((1, 10), (2, 10)), [CAT, SKY])
    prediction = panoptic(runs((1, 7), (2, 3), (3, 10)), [CAT, CAT, SKY])
    assert causes(truth, prediction) == ({}, {2: "duplicate"})
    budget = error_budget(details(truth, prediction)).per_class[CAT]
    assert [budget.pq, budget.repaired[Cause.DUPLICATE]] == pytest.approx([0.7 / 1.5, 0.7])


def test_swallowed_lies_under_a_segment_of_another_class() -> None:
    truth = panoptic(runs((1, 10), (2, 4), (3, 6)), [CAT, DOG, SKY])
    prediction = panoptic(
        runs((1, 13), (2, 1), (3, 6)), [CAT, DOG, SKY]
    )  # 3 of 4 pixels of the dog are predicted as cat
    assert causes(truth, prediction) == ({2: "swallowed"}, {2: "swallowed"})
    truth = panoptic(runs((1, 10), (2, 4)), [SEA, SKY])  # stuff under stuff
    assert causes(truth, panoptic(runs((1, 14)), [SEA])) == ({2: "swallowed"}, {})


def test_crowds_and_void_have_no_cause() -> None:
    truth = panoptic(runs((1, 10), (0, 4), (2, 6)), [CAT, SKY], crowds=[1])
    prediction = panoptic(runs((1, 6), (0, 5), (2, 3), (3, 6)), [CAT, DOG, SKY])
    assert causes(truth, prediction) == ({}, {})
    rows = {(row.side, row.segment): row for row in details(truth, prediction).segments()}
    assert [rows[key].outcome for key in (("truth", 1), ("prediction", 1), ("prediction", 2))] == ["ignored"] * 3
    assert rows["truth", 2].outcome == rows["prediction", 3].outcome == "tp"


def test_a_map_without_segments() -> None:
    one, none = panoptic(runs((1, 4)), [CAT]), panoptic(runs((0, 4)), [])
    assert causes(one, none) == ({1: "missed"}, {})
    assert causes(none, one) == ({}, {})  # all of it lies on void
    assert causes(none, none) == ({}, {})
    assert error_budget(details(one, none)).groups["All"].repaired[Cause.MISSED] == 1


def test_nothing_at_all_has_no_figures() -> None:
    budget = error_budget(PanopticDetails(CATEGORIES))
    assert budget.per_class == {}
    found = budget.groups["All"]
    assert np.isnan([found.pq, *found.lost.values(), *found.repaired.values()]).all()


@given(st.lists(st.tuples(st.integers(0, 2**32), st.integers(0, 3)), min_size=1, max_size=4))
def test_lost_points_add_up_and_repairs_never_lower_pq(seeds: list[tuple[int, int]]) -> None:
    result = PanopticDetails(CATEGORIES)
    for number, (seed, crowd) in enumerate(seeds):
        generator = np.random.default_rng(seed)
        coarse = np.sort(generator.integers(0, 6, 40))
        moved = np.where(generator.random(40) < generator.choice([0.05, 0.3]), generator.integers(0, 6, 40), coarse)
        kinds = [list(generator.choice([CAT, DOG, SKY, SEA], 5)) for _ in range(2)]
        kinds[1] = [a if generator.random() < 0.6 else b for a, b in zip(*kinds, strict=True)]
        result.update(number, panoptic(coarse, kinds[0], [crowd]), panoptic(np.roll(moved, 2), kinds[1]))
    budget, report = error_budget(result), result.compute()
    for group in ("All", "Things", "Stuff"):
        found = budget.groups[group]
        if report[group]["n"]:
            assert found.pq == report[group]["pq"]
            assert sum(found.lost.values()) == pytest.approx(1 - found.pq, abs=1e-12)
    for category, found in budget.per_class.items():
        assert sum(found.lost.values()) == pytest.approx(1 - report.per_class[category]["pq"], abs=1e-12)
        for cause in Cause:
            is_gone = cause is not Cause.INEXACT and found.repaired[cause] == 0 and found.pq == 0
            assert is_gone or found.repaired[cause] >= found.pq - 1e-12
            if not found.lost[cause]:
                assert found.repaired[cause] == pytest.approx(found.pq)
    for row in result.segments():
        assert (row.cause is not None) == (row.outcome in ("fn", "fp"))
