"""Box and mask AP: cases by hand. `test_precision_recall.py` compares random sets with pycocotools."""

from __future__ import annotations

import pickle
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import pytest
import torch

from panoptic_blend.instances import FoundInstances, TrueInstances
from panoptic_blend.metrics.average_precision import AveragePrecision
from panoptic_blend.metrics.instance_conversion import encode
from panoptic_blend.metrics.instance_report import InstanceReport
from panoptic_blend.structures import Category, Detections, ImageId, PanopticBlendError, PanopticMap, Segment

CAT, DOG, SKY = 17, 18, 187
CATEGORIES = [
    Category(SKY, "sky", is_thing=False),
    Category(CAT, "cat", is_thing=True),
    Category(DOG, "dog", is_thing=True),
]


def main_figures(report: InstanceReport) -> tuple[float, ...]:
    """AP, AP50 and AP75 of boxes, then of masks."""
    assert report.mask
    return tuple(figure for found in (report.box, report.mask) for figure in (found.ap, found.ap50, found.ap75))


def is_nothing(report: InstanceReport) -> bool:
    return bool(np.isnan(main_figures(report)).all())


PERFECT = pytest.approx((1.0,) * 6)

Square = tuple[int, int, int, int]
Guess = tuple[float, int, Square]


def rectangle(box: Square, size: tuple[int, int] = (12, 16)) -> npt.NDArray[np.bool_]:
    mask = np.zeros(size, dtype=bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


def truth_map(*objects: tuple[int, Square, bool]) -> PanopticMap:
    """Rectangles (category, box, crowd) with large ids; later ones cover earlier ones."""
    ids = np.zeros((12, 16), dtype=np.int32)
    segments = []
    for index, (category, box, crowd) in enumerate(objects):
        ids[rectangle(box)] = 2**24 - 1 - index
        segments.append(Segment(2**24 - 1 - index, category, category != SKY, None, 0, None, crowd))
    return PanopticMap(ids, segments)


def detections(guesses: Sequence[Guess], masks: Sequence[npt.NDArray[np.bool_]] | None = None) -> Detections:
    found = [rectangle(box) for _, _, box in guesses] if masks is None else masks
    return Detections(
        boxes=torch.tensor([box for _, _, box in guesses], dtype=torch.float32).reshape(-1, 4),
        scores=torch.tensor([score for score, _, _ in guesses], dtype=torch.float32),
        labels=torch.tensor([label for _, label, _ in guesses], dtype=torch.int64),
        masks=torch.from_numpy(np.array(found, dtype=bool).reshape(-1, 12, 16)),
    )


def precision(*images: tuple[PanopticMap, Detections]) -> InstanceReport:
    metric = AveragePrecision(CATEGORIES)
    for truth, found in images:
        metric.update(truth, found)
    return metric.compute()


LEFT, RIGHT = (0, 0, 4, 4), (8, 2, 15, 9)
TRUTH = truth_map((SKY, (0, 0, 16, 12), False), (CAT, LEFT, False), (DOG, RIGHT, False))


def test_perfect_detections(capsys: pytest.CaptureFixture[str]) -> None:
    assert main_figures(precision((TRUTH, detections([(0.9, CAT, LEFT), (0.3, DOG, RIGHT)])))) == PERFECT
    assert capsys.readouterr().out == ""


def test_no_detections_no_truth_nothing_at_all() -> None:
    assert main_figures(precision((TRUTH, detections([])))) == (0.0,) * 6
    assert is_nothing(precision((truth_map(), detections([(0.9, CAT, LEFT)]))))
    assert is_nothing(precision((truth_map((CAT, LEFT, True)), detections([(0.9, CAT, LEFT)]))))
    assert is_nothing(precision())
    assert is_nothing(AveragePrecision([CATEGORIES[0]]).compute())


def test_one_of_two_classes_is_half() -> None:
    report = precision((TRUTH, detections([(0.9, CAT, LEFT), (0.8, CAT, RIGHT)])))
    assert main_figures(report) == pytest.approx((0.5,) * 6)


def test_a_false_positive_of_higher_score_halves_the_precision_unless_on_a_crowd() -> None:
    found = detections([(0.9, CAT, (9, 3, 13, 8)), (0.5, CAT, LEFT)])
    cat, half = (CAT, LEFT, False), pytest.approx((0.5,) * 6)
    assert main_figures(precision((truth_map(cat), found))) == half
    assert main_figures(precision((truth_map(cat, (CAT, RIGHT, True)), found))) == PERFECT
    assert main_figures(precision((truth_map(cat, (DOG, RIGHT, True)), found))) == half


def test_boxes_and_masks_are_evaluated_separately() -> None:
    # The box is exact; the mask covers 35 of 49 pixels: IoU 0.71 passes five of ten thresholds, the last one 0.70.
    found = detections([(0.9, CAT, RIGHT)], [rectangle((8, 2, 13, 9))])
    report = precision((truth_map((CAT, RIGHT, False)), found))
    assert main_figures(report) == pytest.approx((1.0, 1.0, 1.0, 0.5, 1.0, 0.0))


def test_false_masks_may_be_small_or_large_by_the_area_of_their_box() -> None:
    """A false mask of 1,000 pixels in a box of 2,000 is small by its own area and medium by that of its box."""
    size = (100, 100)
    cat = TrueInstances(
        size,
        category_ids=np.array([CAT]),
        boxes=np.array([[0.0, 0, 10, 10]]),
        masks=[encode(rectangle((0, 0, 10, 10), size))],
        areas=np.array([100.0]),
        is_crowd=np.zeros(1, np.bool_),
    )
    boxes = np.array([[50.0, 50, 50, 40], [0, 0, 10, 10]])
    masks = [encode(rectangle((50, 50, 75, 90), size)), *cat.masks]
    small = []
    for areas in (None, np.array([2000.0, 100])):
        metric = AveragePrecision(CATEGORIES)
        metric.update(cat, FoundInstances(size, np.array([CAT] * 2), np.array([0.9, 0.8]), boxes, masks, areas))
        report = metric.compute()
        assert report.mask
        small.append((report.box.ap_small, report.mask.ap_small))
    assert small == [pytest.approx((1, 0.5)), pytest.approx((1, 1))]


def test_hidden_parts_do_not_count() -> None:
    truth = truth_map((CAT, (0, 0, 8, 4), False), (DOG, (4, 0, 8, 4), False))
    assert main_figures(precision((truth, detections([(0.9, CAT, LEFT), (0.9, DOG, (4, 0, 8, 4))])))) == PERFECT


def test_a_segment_without_pixels_is_not_missed() -> None:
    truth = truth_map((DOG, LEFT, False), (CAT, LEFT, False))
    assert main_figures(precision((truth, detections([(0.9, CAT, LEFT)])))) == PERFECT


def test_shards_in_any_order_give_the_same_report_to_the_last_bit() -> None:
    """Equal scores in several images rank by the ids of the images, whoever added them."""
    guesses: dict[ImageId, Square] = {9: LEFT, 10: RIGHT, "a": LEFT, 11: LEFT, "b": RIGHT}
    truth = truth_map((CAT, LEFT, False))
    images = [(image, detections([(0.5, CAT, box)])) for image, box in guesses.items()]
    whole = AveragePrecision(CATEGORIES)
    for image, found in images:
        whole.update(truth, found, image)
    report = whole.compute()
    # In the order 9, 10, 11, a, b: true, false, true, true, false. Recalls of 0.2, 0.4 and 0.6 are reached.
    assert report.box.ap == pytest.approx((21 * 1.0 + 40 * 0.75) / 101)
    for order in ([4, 2, 0, 1, 3], [3, 1, 0, 2, 4]):
        first, second = AveragePrecision(CATEGORIES), AveragePrecision(CATEGORIES)
        for place, index in enumerate(order):
            image, found = images[index]
            (first if place < 3 else second).update(truth, found, image)
        second.compute()  # does not change the state
        first.merge(pickle.loads(pickle.dumps(second)))
        assert first.compute() == report
    first.reset()
    assert is_nothing(first.compute())


def test_results_that_are_boxes_only_have_no_figures_of_masks() -> None:
    box, one = np.array([[0.0, 0.0, 4.0, 4.0]]), np.ones(1)
    truth = TrueInstances((12, 16), np.array([CAT]), box, [encode(rectangle(LEFT))], 16 * one, one == 0)
    metric = AveragePrecision(CATEGORIES)
    metric.update(truth, FoundInstances((12, 16), np.array([CAT]), one, box, None))
    report = metric.compute()
    assert report.box.ap == pytest.approx(1)
    assert report.mask is None
    assert report.figures()["mask"] is None
    assert report.figures()["per_class"][str(CAT)]["box"]["AP"] == pytest.approx(1)
    assert report.figures()["per_class"][str(DOG)]["box"]["AP"] is None


def test_unusable_input_is_refused() -> None:
    metric = AveragePrecision(CATEGORIES)
    with pytest.raises(PanopticBlendError, match="label 2, 187 is not a thing category"):
        metric.update(TRUTH, detections([(0.9, 2, LEFT), (0.9, CAT, LEFT), (0.9, SKY, LEFT)]))
    with pytest.raises(PanopticBlendError, match="truth: unknown category 5"):
        metric.update(truth_map((5, LEFT, False)), detections([]))
    small = PanopticMap(np.zeros((6, 8), dtype=np.int32), [])
    with pytest.raises(PanopticBlendError, match=r"masks are \(12, 16\) and the truth is \(6, 8\)"):
        metric.update(small, detections([(0.9, CAT, LEFT)]))
    with pytest.raises(PanopticBlendError, match="share id"):
        AveragePrecision([*CATEGORIES, CATEGORIES[0]])
    with pytest.raises(PanopticBlendError, match="merge"):
        metric.merge(AveragePrecision(CATEGORIES[:1]))
    assert is_nothing(metric.compute())
    metric.update(TRUTH, detections([]), image=5)
    metric.update(TRUTH, detections([]), image=5)
    with pytest.raises(PanopticBlendError, match="image 5 is added twice"):
        metric.compute()
