"""Box and mask AP: cases by hand, and equality with pycocotools on the same data."""

from __future__ import annotations

import contextlib
import io
import pickle
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pycocotools import mask as rle
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from panoptic_blend.metrics.average_precision import AveragePrecision, InstanceReport
from panoptic_blend.structures import Category, Detections, PanopticBlendError, PanopticMap, Segment

CAT, DOG, SKY = 17, 18, 187
CATEGORIES = [
    Category(SKY, "sky", is_thing=False),
    Category(CAT, "cat", is_thing=True),
    Category(DOG, "dog", is_thing=True),
]


def is_nothing(report: InstanceReport) -> bool:
    return bool(np.isnan(astuple(report)).all())


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
    assert astuple(precision((TRUTH, detections([(0.9, CAT, LEFT), (0.3, DOG, RIGHT)])))) == PERFECT
    assert capsys.readouterr().out == ""


def test_no_detections_no_truth_nothing_at_all() -> None:
    assert astuple(precision((TRUTH, detections([])))) == (0.0,) * 6
    assert is_nothing(precision((truth_map(), detections([(0.9, CAT, LEFT)]))))
    assert is_nothing(precision((truth_map((CAT, LEFT, True)), detections([(0.9, CAT, LEFT)]))))
    assert is_nothing(precision())
    assert is_nothing(AveragePrecision([CATEGORIES[0]]).compute())


def test_one_of_two_classes_is_half() -> None:
    report = precision((TRUTH, detections([(0.9, CAT, LEFT), (0.8, CAT, RIGHT)])))
    assert astuple(report) == pytest.approx((0.5,) * 6)


def test_a_false_positive_of_higher_score_halves_the_precision_unless_on_a_crowd() -> None:
    found = detections([(0.9, CAT, (9, 3, 13, 8)), (0.5, CAT, LEFT)])
    assert astuple(precision((truth_map((CAT, LEFT, False)), found))) == pytest.approx((0.5,) * 6)
    assert astuple(precision((truth_map((CAT, LEFT, False), (CAT, RIGHT, True)), found))) == PERFECT
    assert astuple(precision((truth_map((CAT, LEFT, False), (DOG, RIGHT, True)), found))) == pytest.approx((0.5,) * 6)


def test_boxes_and_masks_are_evaluated_separately() -> None:
    # The box is exact; the mask covers 35 of 49 pixels: IoU 0.71 passes five of ten thresholds, the last one 0.70.
    found = detections([(0.9, CAT, RIGHT)], [rectangle((8, 2, 13, 9))])
    report = precision((truth_map((CAT, RIGHT, False)), found))
    assert astuple(report) == pytest.approx((1.0, 1.0, 1.0, 0.5, 1.0, 0.0))


def test_hidden_parts_do_not_count() -> None:
    truth = truth_map((CAT, (0, 0, 8, 4), False), (DOG, (4, 0, 8, 4), False))
    assert astuple(precision((truth, detections([(0.9, CAT, LEFT), (0.9, DOG, (4, 0, 8, 4))])))) == PERFECT


def test_a_segment_without_pixels_is_not_missed() -> None:
    truth = truth_map((DOG, LEFT, False), (CAT, LEFT, False))
    assert astuple(precision((truth, detections([(0.9, CAT, LEFT)])))) == PERFECT


def random_image(generator: np.random.Generator) -> tuple[PanopticMap, Detections]:
    """Disjoint objects in a grid, some of which are crowds, and two shifted detections of each."""
    corners = [(x, y) for x in range(0, 16, 4) for y in range(0, 12, 4)]
    sizes = generator.integers(2, 5, (12, 2)).tolist()
    boxes = [(x, y, x + width, y + height) for (x, y), (width, height) in zip(corners, sizes, strict=True)]
    objects = [(int(generator.choice([CAT, DOG])), box, bool(generator.random() < 0.15)) for box in boxes]
    guesses = []
    for category, box, _ in objects * 2:
        x0, y0, x1, y1 = box
        dx, dy = (int(shift) for shift in generator.integers(0, 2, 2))
        label = category if generator.random() < 0.8 else DOG
        guesses.append((float(generator.random()), label, (x0 + dx, y0, x1, y1 + dy)))
    return truth_map(*objects), detections(guesses)


def coco_stats(images: Sequence[tuple[PanopticMap, Detections]], kind: str) -> list[float]:
    """AP, AP50 and AP75 from pycocotools for the same data in COCO's format."""
    truth: list[dict[str, Any]] = []
    results: list[dict[str, Any]] = []
    for image, (panoptic, found) in enumerate(images):
        for segment in panoptic.segments:
            mask = panoptic.segment_ids == segment.id
            ys, xs = np.nonzero(mask)
            truth.append({
                "id": len(truth) + 1,
                "image_id": image,
                "category_id": segment.category,
                "iscrowd": int(segment.is_crowd),
                "area": int(mask.sum()),
                "bbox": [int(xs.min()), int(ys.min()), int(np.ptp(xs)) + 1, int(np.ptp(ys)) + 1],
                "segmentation": rle.encode(np.asfortranarray(mask, dtype=np.uint8)),
            })  # fmt: skip
        for box, score, label, mask in zip(found.boxes, found.scores, found.labels, found.masks, strict=True):
            x0, y0, x1, y1 = box.tolist()
            result = {"image_id": image, "category_id": int(label), "score": float(score)}
            if kind == "bbox":
                results.append({**result, "bbox": [x0, y0, x1 - x0, y1 - y0]})
            else:
                results.append({**result, "segmentation": rle.encode(np.asfortranarray(mask.numpy(), dtype=np.uint8))})
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = {
            "images": [{"id": image, "height": 12, "width": 16} for image in range(len(images))],
            "categories": [{"id": CAT}, {"id": DOG}],
            "annotations": truth,
        }
        coco.createIndex()
        evaluation = COCOeval(coco, coco.loadRes(results), kind)
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return [float(figure) for figure in evaluation.stats[:3]]


def test_equals_pycocotools_before_and_after_merging() -> None:
    generator = np.random.default_rng(3)
    images = [random_image(generator) for _ in range(6)]
    report = precision(*images)
    assert 0.05 < report.mask75 < report.mask50 < 0.95
    assert [report.box, report.box50, report.box75] == pytest.approx(coco_stats(images, "bbox"), abs=1e-12)
    assert [report.mask, report.mask50, report.mask75] == pytest.approx(coco_stats(images, "segm"), abs=1e-12)

    first, second = AveragePrecision(CATEGORIES), AveragePrecision(CATEGORIES)
    for index, image in enumerate(images):
        (first if index < 2 else second).update(*image)
    second.compute()  # does not change the state
    first.merge(pickle.loads(pickle.dumps(second)))
    assert first.compute() == report
    first.reset()
    assert is_nothing(first.compute())


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
