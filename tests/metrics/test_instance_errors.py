"""Causes of the errors of instances, and the AP50 that they cost, on boxes worked out by hand and on random ones."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from panoptic_blend.instances import FoundInstances, TrueInstances
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.instance_budget import InstanceBudget, instance_budget
from panoptic_blend.metrics.instance_errors import CAUSES, Diagnosis, InstanceErrors
from panoptic_blend.structures import Category, PanopticBlendError

SIZE = (20, 100)
CATEGORIES = [Category(1, "cat", True), Category(2, "dog", True), Category(7, "sky", False)]
THINGS = CATEGORIES[:2]

Box = tuple[float, float, float, float]
Truth = tuple[int, Box] | tuple[int, Box, bool]
Found = tuple[int, float, Box]


def masks(boxes: Sequence[Box]) -> list[bytes]:
    drawn = []
    for x, y, width, height in boxes:
        mask = np.zeros(SIZE, np.uint8, order="F")
        mask[int(y) : int(y + height), int(x) : int(x + width)] = 1
        drawn.append(coco.encode(mask)["counts"])
    return drawn


def true(*instances: Truth) -> TrueInstances:
    """Instances as class, box and, if it is one, whether it is a crowd."""
    boxes = [instance[1] for instance in instances]
    return TrueInstances(
        SIZE,
        np.array([instance[0] for instance in instances], np.int64),
        np.array(boxes, np.float64).reshape(-1, 4),
        masks(boxes),
        np.array([width * height for _, _, width, height in boxes], np.float64),
        np.array([len(instance) == 3 for instance in instances], np.bool_),
    )


def found(*detections: Found, has_masks: bool = True) -> FoundInstances:
    """Detections as class, score and box."""
    boxes = [box for _, _, box in detections]
    return FoundInstances(
        SIZE,
        np.array([category for category, _, _ in detections], np.int64),
        np.array([score for _, score, _ in detections], np.float64),
        np.array(boxes, np.float64).reshape(-1, 4),
        masks(boxes) if has_masks else None,
    )


def diagnosed(*images: tuple[TrueInstances, FoundInstances]) -> Diagnosis:
    errors = InstanceErrors(CATEGORIES)
    for number, image in enumerate(images):
        errors.update(number, *image)
    found = errors.diagnose()
    for field in ("match", "cause", "target", "truth_match", "truth_cause"):
        assert (getattr(found["box"], field) == getattr(found["mask"], field)).all(), "masks are the boxes"
    return found["box"]


def causes(diagnosis: Diagnosis) -> list[str | None]:
    """The causes of the detections, in the order in which they were given."""
    named: list[str | None] = [None] * len(diagnosis.cause)
    for place, cause in zip(diagnosis.order.tolist(), diagnosis.cause.tolist(), strict=True):
        named[place] = CAUSES[cause] if cause >= 0 else None
    return named


def budget(*images: tuple[TrueInstances, FoundInstances]) -> InstanceBudget:
    return instance_budget(diagnosed(*images), THINGS).all


CAT: Box = (0, 0, 10, 10)
DOG: Box = (50, 0, 10, 10)


@pytest.mark.parametrize(
    ("detection", "cause"),
    [
        ((1, 0.5, (0, 0, 10, 10)), "duplicate"),
        ((1, 0.5, (0, 0, 10, 5)), "duplicate"),  # IoU 0.5
        ((2, 0.5, (0, 0, 10, 5)), "classification"),
        ((1, 0.5, (0, 0, 10, 4)), "localization"),  # IoU 0.4
        ((1, 0.5, (0, 0, 10, 1)), "localization"),  # IoU 0.1
        ((2, 0.5, (0, 0, 10, 4)), "both"),
        ((2, 0.5, (0, 0, 10, 1)), "both"),
        ((1, 0.5, (0, 0, 9, 1)), "background"),  # IoU 0.09
        ((1, 0.5, (80, 0, 10, 10)), "background"),
    ],
)
def test_each_false_detection_has_one_cause(detection: Found, cause: str) -> None:
    diagnosis = diagnosed((true((1, CAT)), found((1, 0.9, CAT), detection)))
    assert causes(diagnosis) == [None, cause]
    assert diagnosis.truth_match.tolist() == [0] and diagnosis.truth_cause.tolist() == [-1]


def test_what_is_closest_to_right_decides_where_several_causes_apply() -> None:
    truth = true((1, (0, 0, 10, 10)), (2, (0, 4, 10, 10)))  # they share 60 of 140 pixels
    first = (1, 0.9, (0.0, 0.0, 10.0, 10.0)), (2, 0.9, (0.0, 4.0, 10.0, 10.0))
    # (0, 2, 10, 10) shares 80 pixels with both, IoU 2/3; (0, 5, 10, 10) 50 and 90, IoU 1/3 and 9/11
    again = (1, 0.5, (0.0, 2.0, 10.0, 10.0)), (1, 0.4, (0.0, 5.0, 10.0, 10.0)), (2, 0.3, (0.0, 5.0, 10.0, 10.0))
    assert causes(diagnosed((truth, found(*first, *again)))) == [None, None, "duplicate", "classification", "duplicate"]


def test_instances_that_are_not_found_are_missed_unless_a_detection_is_aimed_at_them() -> None:
    truth = true((1, CAT), (1, DOG), (2, (80, 0, 10, 10)))
    diagnosis = diagnosed((truth, found((2, 0.9, CAT), (1, 0.8, (50, 0, 10, 4)))))
    named = [CAUSES[cause] for cause in diagnosis.truth_cause.tolist()]
    assert named == ["classification", "localization", "missed"]
    assert sorted(diagnosis.target.tolist()) == [0, 1]


def test_crowds_have_no_part_in_errors() -> None:
    truth = true((1, (0, 0, 50, 20), True), (2, DOG))
    diagnosis = diagnosed((truth, found((1, 0.9, CAT), (1, 0.8, (42, 0, 10, 10)), (2, 0.7, CAT))))
    assert causes(diagnosis) == [None, None, "background"]
    assert diagnosis.is_ignored.sum() == 2 and diagnosis.iou[:2].tolist() == [1, 0.8] and np.isnan(diagnosis.iou[2])
    assert diagnosis.truth_match.tolist() == [-1, -1] and diagnosis.truth_cause.tolist() == [-1, CAUSES.index("missed")]


def test_the_budget_of_one_false_detection_before_the_right_one() -> None:
    """AP50 of a cat found second is 0.5, and 1 without the first detection."""
    second = (1, 0.5, CAT)
    for first, cause in (
        ((1, 0.9, (80.0, 0.0, 10.0, 10.0)), "background"),
        ((1, 0.9, (0.0, 0.0, 10.0, 4.0)), "localization"),
    ):
        result = budget((true((1, CAT)), found(first, second)))
        assert result.ap50 == pytest.approx(0.5)
        assert result.counts == {name: int(name == cause) for name in CAUSES}
        expected = {name: 0.5 if name == cause else 0 for name in CAUSES}
        assert result.gains == pytest.approx(expected) and result.shares == pytest.approx(expected)
        assert (result.false_positives, result.false_negatives) == pytest.approx((0.5, 0))


def test_the_budget_of_a_wrong_class() -> None:
    """A cat that is found as a dog: AP50 of cats is 0; of dogs it is 0.5 with the false one before the right one."""
    image = true((1, CAT), (2, DOG)), found((2, 0.9, CAT), (2, 0.8, DOG))
    result = instance_budget(diagnosed(image), THINGS)
    assert [result.per_class[i].ap50 for i in (1, 2)] == pytest.approx([0, 0.5])
    assert result.all.ap50 == pytest.approx(0.25)
    assert [result.per_class[i].gains[CAUSES[1]] for i in (1, 2)] == pytest.approx([1, 0.5])
    assert result.all.shares[CAUSES[1]] == pytest.approx(0.75)
    assert result.all.false_positives == pytest.approx(0.25), "the dog alone"
    assert result.all.false_negatives == pytest.approx(0.5), "cats have no instance left, and no false detection"


def test_gains_do_not_add_up_and_shares_do() -> None:
    """Of two cats, one is found, after a detection of nothing: AP50 is 1/2 at the recalls up to 0.5, 51 of 101."""
    image = true((1, CAT), (1, DOG)), found((1, 0.9, (80, 0, 10, 10)), (1, 0.8, CAT))
    result = budget(image)
    background, missed = CAUSES[4], CAUSES[5]
    ap50 = 51 / 101 / 2
    assert result.ap50 == pytest.approx(ap50)
    assert result.gains[background] == pytest.approx(51 / 101 - ap50)
    assert result.gains[missed] == pytest.approx(1 / 2 - ap50)
    assert result.shares[background] == pytest.approx((51 / 101 - ap50 + 1 / 2) / 2)
    assert result.shares[missed] == pytest.approx((1 / 2 - ap50 + 50 / 101) / 2)
    assert result.false_negatives == pytest.approx(1 / 2 - ap50)


def test_of_detections_aimed_at_one_instance_the_best_is_kept() -> None:
    """Both are repaired to the same cat: the first finds it, the second is left out."""
    image = true((1, CAT)), found((1, 0.9, (0, 0, 10, 4)), (1, 0.8, (0, 0, 10, 3)))
    result = budget(image)
    assert (result.ap50, result.gains[CAUSES[2]]) == pytest.approx((0, 1))
    assert result.counts[CAUSES[2]] == 2 and result.counts[CAUSES[5]] == 0


def test_a_class_of_which_nothing_is_found() -> None:
    assert budget((true((1, CAT)), found())).gains[CAUSES[5]] == 1
    noise = (1, 0.5, (80.0, 0.0, 10.0, 10.0))
    result = budget((true((1, CAT)), found(noise)))
    assert result.gains[CAUSES[5]] == result.gains[CAUSES[4]] == 0, "only both together repair it"
    assert result.shares[CAUSES[5]] == result.shares[CAUSES[4]] == pytest.approx(0.5)


def test_nothing_at_all() -> None:
    for image in ((true(), found()), (true((1, CAT, True)), found()), (true(), found((1, 0.5, CAT)))):
        result = budget(image)
        assert math.isnan(result.ap50) and all(map(math.isnan, result.shares.values()))
        assert sum(result.counts.values()) == len(image[1])


def test_boxes_alone_and_merging() -> None:
    image = true((1, CAT)), found((1, 0.9, CAT), has_masks=False)
    one, two = InstanceErrors(CATEGORIES), InstanceErrors(CATEGORIES)
    one.update(1, *image)
    two.update(2, *image)
    one.merge(two)
    assert list(one.diagnose()) == ["box"]
    assert one.diagnose()["box"].truth_match.tolist() == [0, 1]
    with pytest.raises(PanopticBlendError, match="different categories"):
        one.merge(InstanceErrors(THINGS))


def boxes() -> st.SearchStrategy[Box]:
    sides = st.integers(1, 12).map(float)
    return st.tuples(st.integers(0, 20).map(float), st.integers(0, 8).map(float), sides, sides)


CLASSES = st.sampled_from([1, 2])
TRUTHS = st.lists(st.one_of(st.tuples(CLASSES, boxes()), st.tuples(CLASSES, boxes(), st.just(True))), max_size=5)
DETECTIONS = st.lists(st.tuples(CLASSES, st.sampled_from([0.1, 0.2, 0.5, 0.9]), boxes()), max_size=8)


@settings(max_examples=25, deadline=None)
@given(images=st.lists(st.tuples(TRUTHS, DETECTIONS), min_size=1, max_size=4))
def test_budgets_of_random_boxes(images: list[tuple[list[Truth], list[Found]]]) -> None:
    errors, precision = InstanceErrors(CATEGORIES), AveragePrecision(CATEGORIES)
    for number, (truths, detections) in enumerate(images):
        pair = true(*truths), found(*detections)
        errors.update(-number, *pair)  # of equal scores, that in the image with the lower id comes first
        precision.update(*pair, -number)
    report = precision.compute()
    for kind, diagnosis in errors.diagnose().items():
        has_cause, matches = diagnosis.cause >= 0, diagnosis.match >= 0
        assert (has_cause ^ matches).all(), "each detection matches or has one cause"
        assert ((diagnosis.truth_match >= 0) + (diagnosis.truth_cause >= 0) == ~diagnosis.columns.truth_is_crowd).all()
        result = instance_budget(diagnosis, THINGS)
        figures = report.box if kind == "box" else report.mask
        assert figures is not None
        assert result.all.ap50 == pytest.approx(figures.ap50, abs=1e-12, nan_ok=True)
        for own in (result.all, *result.per_class.values()):
            if not math.isnan(own.ap50):
                assert sum(own.shares.values()) == pytest.approx(1 - own.ap50, abs=1e-12)
        assert sum(result.all.counts[cause] for cause in CAUSES[:-1]) == has_cause.sum()
