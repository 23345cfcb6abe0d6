"""Rows of segments, PQ by size, confusion and merging, worked out by hand."""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.metrics.confusion import confusion
from panoptic_blend.metrics.conversion import from_detectron2
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.overlaps import compare
from panoptic_blend.metrics.panoptic_quality import PanopticQuality
from panoptic_blend.structures import Category, PanopticBlendError, PanopticMap, Segment

Refused = Callable[..., str]

CAT, DOG, SKY = 17, 18, 187
CATEGORIES = [
    Category(CAT, "cat", is_thing=True),
    Category(DOG, "dog", is_thing=True),
    Category(SKY, "sky", is_thing=False),
]


def panoptic(rows: Sequence[Sequence[int]] | np.ndarray, *kinds: int, crowd: int = 0) -> PanopticMap:
    segments = [Segment(i, kind, kind != SKY, None, 0, None, i == crowd) for i, kind in enumerate(kinds, 1)]
    return PanopticMap(np.array(rows, dtype=np.int32), segments)


TRUTH = panoptic([[1, 1, 1, 1, 2, 2, 2, 3, 0, 0]], CAT, SKY, DOG)
PREDICTION = panoptic([[1, 1, 1, 2, 2, 2, 2, 2, 3, 3]], CAT, SKY, DOG)


def details_of(*pairs: tuple[int | str, PanopticMap, PanopticMap], boundary: bool = False) -> PanopticDetails:
    result = PanopticDetails(CATEGORIES, boundary=boundary)
    for pair in pairs:
        result.update(*pair)
    return result


def test_one_row_per_segment() -> None:
    rows = list(details_of(("a.jpg", TRUTH, PREDICTION)).segments())
    seen = [(r.side, r.segment, r.category, r.area, r.outcome, r.iou, r.matched_with, r.cause) for r in rows]
    assert seen == [
        ("truth", 1, CAT, 4, "tp", 0.75, 1, None),
        ("truth", 2, SKY, 3, "tp", 0.6, 2, None),
        ("truth", 3, DOG, 1, "fn", None, None, "missed"),
        ("prediction", 1, CAT, 3, "tp", 0.75, 1, None),
        ("prediction", 2, SKY, 5, "tp", 0.6, 2, None),
        ("prediction", 3, DOG, 2, "ignored", None, None, None),
    ]
    nearest = [(r.nearest, r.nearest_category, r.nearest_iou) for r in rows]
    assert nearest[2:] == [(2, SKY, 0.2), (1, CAT, 0.75), (2, SKY, 0.6), (None, None, 0)]
    assert {r.image for r in rows} == {"a.jpg"}


def test_the_same_quality_as_the_plain_metric() -> None:
    plain = PanopticQuality(CATEGORIES)
    plain.update(TRUTH, PREDICTION)
    plain.update(PREDICTION, TRUTH)
    assert details_of((1, TRUTH, PREDICTION), (2, PREDICTION, TRUTH)).compute() == plain.compute()


def test_confusion_in_pixels_and_in_segments() -> None:
    found = confusion(details_of((1, TRUTH, PREDICTION)))
    assert found.categories == tuple(CATEGORIES)
    # rows and columns: no class, cat, dog, sky
    assert found.pixels.tolist() == [[0, 0, 2, 0], [0, 3, 0, 1], [0, 0, 0, 1], [0, 0, 0, 3]]
    assert found.segments.tolist() == [[0, 0, 0, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]]
    wrong = panoptic([[1, 1, 1, 1, 2, 2, 2, 3, 0, 0]], DOG, SKY, CAT)
    crowd = panoptic([[1, 1, 1, 1, 2, 2, 2, 3, 0, 0]], CAT, SKY, DOG, crowd=2)
    found = confusion(details_of((1, TRUTH, wrong), (2, crowd, TRUTH)))
    # in the second image the sky is a crowd: its pixels count, its segment does not, and PQ ignores the prediction
    assert found.pixels.tolist() == [[4, 0, 0, 0], [0, 4, 4, 0], [0, 1, 1, 0], [0, 0, 0, 6]]
    assert found.segments.tolist() == [[0, 0, 0, 0], [0, 1, 1, 0], [0, 1, 1, 0], [0, 0, 0, 1]]


def test_pairs_have_the_size_of_the_truth_and_false_positives_their_own() -> None:
    truth, prediction = np.full((200, 200), 4, np.int32), np.full((200, 200), 4, np.int32)
    truth[:32, :32], truth[:40, 100:140], truth[100:, :92] = 1, 2, 3  # 1024 medium, 1600 medium, 9200 medium
    prediction[:31, :32], prediction[:40, 100:140], prediction[100:, :100] = 1, 2, 3  # 992, 1600, 10000
    kinds = (CAT, DOG, CAT, SKY)
    sizes = details_of((1, panoptic(truth, *kinds), panoptic(prediction, *kinds))).by_size()
    medium, large = sizes["medium"].per_class[CAT], sizes["large"]
    assert medium["tp"] == 2 and medium["iou_sum"] == pytest.approx(31 / 32 + 0.92)
    assert (sizes["small"]["All"]["n"], large["Stuff"]["n"], large["Things"]["n"]) == (0, 1, 0)
    truth[:31, :32] = 4
    truth[31, :32] = 4
    found = details_of((1, panoptic(truth, CAT, DOG, CAT, SKY), panoptic(prediction, *kinds))).by_size()
    assert (found["small"].per_class[CAT]["fp"], found["medium"].per_class[CAT]["fp"]) == (1, 0)


def test_merging_is_exact_in_any_order_and_survives_pickling() -> None:
    whole = details_of((1, TRUTH, PREDICTION), (2, PREDICTION, TRUTH), ("x", TRUTH, TRUTH), boundary=True)
    parts = [details_of((1, TRUTH, PREDICTION), boundary=True), details_of(("x", TRUTH, TRUTH), boundary=True)]
    parts.append(details_of((2, PREDICTION, TRUTH), boundary=True))
    parts = [pickle.loads(pickle.dumps(part)) for part in parts]
    parts[2].merge(parts[0])
    parts[1].merge(parts[2])
    assert parts[1].images == whole.images == (1, 2, "x")
    assert list(parts[1].segments()) == list(whole.segments())
    assert parts[1].compute(boundary=True) == whole.compute(boundary=True)
    assert (parts[1].tallies().iou_sum == whole.tallies().iou_sum).all()
    assert len(parts[0]) == 1


def test_a_pickled_image_is_small() -> None:
    big = np.zeros((480, 640), np.int32)
    big[:, 320:] = 1
    sizes = [
        len(pickle.dumps(details_of(*((i, panoptic(big, CAT), panoptic(big, CAT)) for i in range(n)))))
        for n in (1, 101)
    ]
    assert (sizes[1] - sizes[0]) / 100 < 1500


def test_incompatible_input_is_refused(refused: Refused) -> None:
    result = details_of((1, TRUTH, PREDICTION))
    assert refused(result.update, 1, TRUTH, PREDICTION) == "image 1 is added twice; keep one"
    assert refused(result.merge, details_of((1, TRUTH, TRUTH))).startswith("cannot merge: image 1 is in both; ")
    assert refused(result.merge, PanopticDetails(CATEGORIES[:1])).startswith("cannot merge details")
    assert refused(result.update, 2, TRUTH, panoptic([[1]], CAT)).startswith("truth has shape")
    assert "unknown category 99" in refused(result.update, 2, TRUTH, panoptic([[1]], 99))
    assert "were not compared" in refused(PanopticDetails(CATEGORIES, boundary=True).add, 1, compare(TRUTH, TRUTH))
    with pytest.raises(PanopticBlendError, match="boundaries were not compared; construct"):
        result.compute(boundary=True)
    assert len(result) == 1


def test_the_documented_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text = (Path(__file__).parents[2] / "docs" / "evaluation.md").read_text(encoding="utf-8")
    [example] = [part for part in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if "PanopticDetails(" in part]
    exec(compile(example, "evaluation.md", "exec"), {})
    lines = capsys.readouterr().out.splitlines()
    table, value, budget = lines[:-7], lines[-7], lines[-5]
    assert table[0].split() == ["PQ", "SQ", "RQ", "TP", "FP", "FN"]
    assert float(value) == pytest.approx((2 / 3 + 3 / 4) / 2)
    assert "missed" in budget
    assert lines[-4:] == [
        f"a.jpg {side} {segment} tp {iou}"
        for side in ("truth", "prediction")
        for segment, iou in ((1, 2 / 3), (2, 0.75))
    ]


@pytest.mark.parametrize("metric", [PanopticQuality, PanopticDetails])
@pytest.mark.parametrize(
    ("categories", "seen"), [({1: "cat"}, "1"), (3, "3"), (["cat"], "'cat'"), ("cat", "'c'"), ([[1, "cat"]], "list")]
)
def test_categories_that_are_no_records_are_refused(
    metric: Callable[..., object], categories: object, seen: str, refused: Refused
) -> None:
    expected = f"categories are a list of records with id, name, isthing, not {seen}; give these"
    assert refused(metric, categories) == expected


@pytest.mark.parametrize("metric", [PanopticQuality, PanopticDetails])
@pytest.mark.parametrize("divisor", [0, -1000, 0.5, "1000"])
def test_a_label_divisor_is_a_positive_whole_number(
    metric: Callable[..., object], divisor: object, refused: Refused
) -> None:
    expected = f"label_divisor is {divisor!r}; give a positive whole number"
    assert refused(lambda: metric(CATEGORIES, label_divisor=divisor)) == expected
    labels = np.full((1, 1), 1000)
    assert refused(lambda: from_detectron2((labels, None), {}, [], [], label_divisor=divisor)) == expected  # type: ignore[arg-type]
