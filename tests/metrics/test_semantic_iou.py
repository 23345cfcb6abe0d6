"""Mean IoU: cases by hand, and a reference with sets of pixels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.metrics.semantic_iou import SemanticIoU
from panoptic_blend.structures import PanopticBlendError


def test_case_by_hand() -> None:
    # class 0: 2 of 3; class 1: 1 of 3; class 2 is only predicted; the ignored pixel does not count
    truth = np.array([[0, 0, 0], [1, 1, 255]], dtype=np.uint8)
    prediction = np.array([[0, 0, 1], [1, 2, 2]])
    metric = SemanticIoU(4)
    metric.update(truth, prediction)
    report = metric.compute()
    assert report.per_class[:2].tolist() == [2 / 3, 1 / 3]
    assert np.isnan(report.per_class[2:]).all()
    assert report.mean == pytest.approx(1 / 2)


def test_nothing_counted() -> None:
    metric = SemanticIoU(3, ignore=9)
    assert np.isnan(metric.compute().mean)
    metric.update(np.full((2, 2), 9), np.array([[0, 1], [2, 77]]))
    metric.update(np.zeros((0, 4), dtype=np.int64), np.zeros((0, 4), dtype=np.int64))
    report = metric.compute()
    assert np.isnan(report.mean)
    assert np.isnan(report.per_class).all()


def test_narrow_integers_do_not_overflow() -> None:
    truth = np.full((3, 3), 99, dtype=np.uint8)
    metric = SemanticIoU(100)
    metric.update(truth, truth)
    assert metric.compute().per_class[99] == 1.0


images = st.integers(0, 2**32).map(
    lambda seed: (
        np.random.default_rng(seed).choice([0, 1, 2, 3, 255], (4, 5)),
        np.random.default_rng(seed + 1).integers(0, 5, (4, 5)),
    )
)


@settings(deadline=None)
@given(st.lists(images, min_size=1, max_size=4), st.integers(0, 4))
def test_agrees_with_sets_of_pixels_and_merges_exactly(pairs: list[tuple[np.ndarray, np.ndarray]], cut: int) -> None:
    first, second, single = SemanticIoU(5), SemanticIoU(5), SemanticIoU(5)
    for index, (truth, prediction) in enumerate(pairs):
        single.update(truth, prediction)
        (first if index < cut else second).update(truth, prediction)
    first.merge(second)
    report = single.compute()
    assert np.array_equal(first.compute().per_class, report.per_class, equal_nan=True)
    assert first.compute().mean == report.mean

    pixels = [(int(t), int(p)) for pair in pairs for t, p in zip(*map(np.ravel, pair), strict=True) if t != 255]
    expected = {
        c: sum(t == p == c for t, p in pixels) / sum(c in pixel for pixel in pixels)
        for c in range(5)
        if any(t == c for t, _ in pixels)
    }
    assert {c: iou for c, iou in enumerate(report.per_class) if not np.isnan(iou)} == pytest.approx(expected)
    assert report.mean == pytest.approx(sum(expected.values()) / len(expected) if expected else 0.0)


def test_reset_forgets() -> None:
    metric = SemanticIoU(2)
    metric.update(np.array([[0]]), np.array([[1]]))
    metric.reset()
    metric.update(np.array([[0]]), np.array([[0]]))
    assert metric.compute().mean == 1.0


@pytest.mark.parametrize(
    ("truth", "prediction", "message"),
    [
        ([[0, 1]], [[0], [1]], r"truth has shape \(1, 2\) and prediction \(2, 1\)"),
        ([[0, 2]], [[0, 1]], "truth: class 2 is outside 0..1"),
        ([[0, 1]], [[-1, 1]], "prediction: class -1 is outside 0..1"),
    ],
)
def test_unusable_maps_are_refused(truth: list[list[int]], prediction: list[list[int]], message: str) -> None:
    metric = SemanticIoU(2)
    with pytest.raises(PanopticBlendError, match=message):
        metric.update(np.array(truth), np.array(prediction))
    assert np.isnan(metric.compute().per_class).all()


def test_different_classes_are_not_merged() -> None:
    with pytest.raises(PanopticBlendError, match="merge"):
        SemanticIoU(2).merge(SemanticIoU(3))
    with pytest.raises(PanopticBlendError, match="merge"):
        SemanticIoU(2).merge(SemanticIoU(2, ignore=7))
