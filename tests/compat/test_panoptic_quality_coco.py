"""The metric of torchmetrics against `PanopticQuality`, to the last bit, in each way in which torchmetrics uses one."""

from __future__ import annotations

import copy
import math
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torchmetrics import MetricCollection

from panoptic_blend import PanopticQuality
from panoptic_blend.shapes.dataset import CATEGORIES, generate
from panoptic_blend.structures import PanopticMap
from panoptic_blend.torchmetrics import PanopticQualityCoco

Refused = Callable[..., str]
Pair = tuple[PanopticMap, PanopticMap]
ONE = [{"id": 7, "name": "cat", "isthing": 1}]


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    """Predictions and truths of six generated images; a prediction is the truth, moved by some pixels."""
    truths = [generate(seed=3, index=index).panoptic for index in range(6)]
    return [(PanopticMap(np.roll(t.segment_ids, i, (0, 1)), t.segments), t) for i, t in enumerate(truths, start=1)]


def exact(pairs: list[Pair]) -> PanopticQuality:
    quality = PanopticQuality(CATEGORIES)
    for prediction, truth in pairs:
        quality.update(truth=truth, prediction=prediction)
    return quality


def updated(metric: PanopticQualityCoco, pairs: list[Pair]) -> PanopticQualityCoco:
    metric.update([prediction for prediction, _ in pairs], [truth for _, truth in pairs])
    return metric


def test_figures_are_those_of_panoptic_quality(pairs: list[Pair]) -> None:
    metric, report = updated(PanopticQualityCoco(CATEGORIES), pairs), exact(pairs).compute()
    found = metric.compute()
    assert metric.report() == report
    assert 0.2 < report["Things"]["pq"] < 0.95
    assert sorted(found) == sorted(f"{key}{end}" for key in ("pq", "sq", "rq") for end in ("", "_things", "_stuff"))
    assert found["pq"].item() == report["All"]["pq"] and found["rq_things"].item() == report["Things"]["rq"]
    assert found["sq_stuff"].item() == report["Stuff"]["sq"] and found["pq"].dtype == torch.float64


def test_parts_of_the_images_sum_to_the_same_bits(pairs: list[Pair]) -> None:
    report = exact(pairs).compute()
    first, second = (updated(PanopticQualityCoco(CATEGORIES), part) for part in (pairs[:1], pairs[1:]))
    tallies = first.tallies + second.tallies
    merged = copy.deepcopy(second)
    merged.merge_state(first)
    assert (merged.tallies == tallies).all() and merged.report() == report

    # two processes: torchmetrics gathers the states of both and sums them
    first.sync(dist_sync_fn=lambda state, group=None: [state, second.tallies], distributed_available=lambda: True)
    assert first._report() == report
    first.unsync()
    assert first.report() == exact(pairs[:1]).compute()


def test_forward_gives_the_batch_and_adds_it(pairs: list[Pair]) -> None:
    metric = PanopticQualityCoco(CATEGORIES)
    for pair in pairs:
        batch = metric([pair[0]], [pair[1]])
        assert batch["pq"].item() == exact([pair]).compute()["All"]["pq"]
    assert metric.report() == exact(pairs).compute()
    metric.reset()
    assert not metric.tallies.any() and math.isnan(metric.report()["All"]["pq"])


def test_it_is_pickled_copied_and_collected(pairs: list[Pair]) -> None:
    metric = updated(PanopticQualityCoco(CATEGORIES), pairs)
    for other in (pickle.loads(pickle.dumps(metric)), copy.deepcopy(metric)):
        assert other.report() == metric.report()
    collection = MetricCollection({"coco": PanopticQualityCoco(CATEGORIES)})
    collection.update([pairs[0][0]], [pairs[0][1]])
    assert collection.compute()["pq"].item() == exact(pairs[:1]).compute()["All"]["pq"]


def test_sums_stay_exact_where_floats_would_round() -> None:
    """IoU 2/3 very many times: a float64 that adds them one by one is off after a few hundred."""
    metric = PanopticQualityCoco(ONE)
    pair = (
        (np.array([[1, 1, 0]]), [{"id": 1, "category_id": 7}]),
        (np.array([[1, 1, 1]]), [{"id": 1, "category_id": 7}]),
    )
    metric.update([pair[0]], [pair[1]])
    metric.tallies *= 10**9
    quality = metric.report().per_class[7]
    assert quality["tp"] == 10**9
    assert quality["iou_sum"] == 10**9 * int(2 / 3 * 2**53) / 2**53


def test_a_batch_of_category_and_instance() -> None:
    pairs = torch.tensor([[[[7, 1], [7, 1], [-1, 0]]], [[[7, 1], [7, 2], [7, 2]]]])
    metric = PanopticQualityCoco(ONE)
    metric.update(preds=pairs, target=pairs.flip(0))
    # no IoU is above 1/2, and the one prediction with a pixel on void has no more than half of its two pixels there
    assert metric.report().per_class[7] == {
        **{"pq": 0.0, "sq": 0.0, "rq": 0.0, "iou_sum": 0.0},
        **{"tp": 0, "fp": 3, "fn": 3},
    }


def test_wrong_batches_are_refused_and_add_nothing(pairs: list[Pair], refused: Refused) -> None:
    metric = PanopticQualityCoco(CATEGORIES)
    prediction, truth = pairs[0]
    wrong: list[tuple[Any, Any, str]] = [
        (prediction, [truth], "preds: PanopticMap is not a batch"),
        ([prediction], (truth.segment_ids, truth.segments), "target: tuple is not a batch"),
        ([prediction, prediction], [truth], "2 preds and 1 target;"),
        (torch.zeros(2, 3, 2), [truth], "preds: Tensor is not a batch"),
        ([prediction, prediction], [truth, pairs[1][0].segment_ids], "truth: an array of shape"),
    ]
    for preds, target, message in wrong:
        assert refused(metric.update, preds, target).startswith(message)
    assert not metric.tallies.any()
