from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_iou

from panoptic_blend.models.fcos import LevelPredictions
from panoptic_blend.models.postprocess import Candidates, Instances, decode, rescale, rescore, suppress


def level(products: Tensor, stride: int = 8, side: float = 1.0) -> LevelPredictions:
    """Predictions of class probabilities (N, C, h, w) under a center-ness of 1, boxes of ``side`` strides each way."""
    n, _, h, w = products.shape
    return LevelPredictions(
        stride=stride,
        logits=products.double().logit(),
        distances=torch.full((n, 4, h, w), side, dtype=torch.float64),
        centerness=torch.full((n, 1, h, w), math.inf, dtype=torch.float64),
        features=torch.empty(0),
    )


# --- decoding --------------------------------------------------------------------------------------------------------


def test_decode_by_hand() -> None:
    """One location of the second image: probability 1/2 times center-ness 3/4, at column 2, row 1 of stride 16."""
    logits, centerness = torch.full((2, 3, 2, 4), -9.0), torch.full((2, 1, 2, 4), math.log(3))
    distances = torch.arange(1.0, 5.0).view(1, 4, 1, 1).expand(2, 4, 2, 4)
    logits[1, 2, 1, 2] = 0
    found = decode([LevelPredictions(16, logits, distances, centerness, torch.empty(0))], image=1)
    torch.testing.assert_close(found.scores, torch.tensor([0.375]).sqrt())
    assert found.labels.tolist() == [2]
    assert found.places.tolist() == [[0, 1, 1, 2]]
    assert found.boxes.tolist() == [[40.0 - 16, 24.0 - 32, 40.0 + 48, 24.0 + 64]]  # beyond the image, if need be


def test_without_center_ness_a_class_probability_is_the_score() -> None:
    plain = replace(level(torch.tensor([[[[0.04, 0.06, 0.5]]]])), centerness=None)
    assert decode([plain], 0).scores.tolist() == pytest.approx([0.06, 0.5])


def test_threshold_is_strict() -> None:
    products = torch.tensor([[[[0.25, 0.25 + 1e-9, 0.25 - 1e-9]]]], dtype=torch.float64)
    found = decode([level(products)], 0, score_threshold=0.25)
    assert found.places[:, 3].tolist() == [1]


def test_threshold_counts_before_the_square_root() -> None:
    """A product of 0.04 has the score 0.2, and is dropped at 0.05 all the same."""
    assert len(decode([level(torch.tensor([[[[0.04]]]]))], 0).scores) == 0
    assert decode([level(torch.tensor([[[[0.0625]]]]))], 0).scores.tolist() == pytest.approx([0.25])


def test_a_location_may_answer_for_several_classes() -> None:
    found = decode([level(torch.tensor([0.5, 0.01, 0.9]).view(1, 3, 1, 1))], 0)
    assert sorted(zip(found.labels.tolist(), found.scores.tolist(), strict=True)) == [
        (0, pytest.approx(0.5**0.5)),
        (2, pytest.approx(0.9**0.5)),
    ]


def test_limit_is_per_level() -> None:
    fine = torch.tensor([0.6, 0.9, 0.7, 0.8]).view(1, 2, 1, 2)
    coarse = torch.tensor([0.1, 0.3, 0.2]).view(1, 1, 1, 3)
    found = decode([level(fine), level(coarse, 16)], 0, limit=2)
    by_level = {i: sorted((found.scores[found.places[:, 0] == i] ** 2).tolist()) for i in (0, 1)}
    assert by_level == {0: pytest.approx([0.8, 0.9]), 1: pytest.approx([0.2, 0.3])}


def test_of_equal_pairs_at_the_limit_the_first_stays() -> None:
    same = torch.full((1, 2, 1, 3), 0.5)
    found = decode([level(same), level(same, 16)], 0, limit=4)
    kept = [(found.places[i, 0].item(), found.labels[i].item(), found.places[i, 3].item()) for i in range(8)]
    assert kept == [(n, *pair) for n in (0, 1) for pair in ((0, 0), (0, 1), (0, 2), (1, 0))]


@pytest.mark.parametrize("limit", [1, 7, 1000])
def test_all_levels_together_are_what_each_is_alone(limit: int) -> None:
    generator = torch.Generator().manual_seed(limit)
    levels = []
    for stride, size in ((8, (6, 5)), (16, (3, 3)), (32, (2, 1)), (64, (1, 1))):
        logits, centerness = (torch.randn(2, n, *size, generator=generator) for n in (3, 1))
        distances = 4 * torch.rand(2, 4, *size, generator=generator)
        levels.append(LevelPredictions(stride, logits, distances, centerness, torch.empty(0)))
    found = decode(levels, 1, 0.2, limit)
    expected = []
    for number, x in enumerate(levels):
        assert x.centerness is not None
        products = x.logits[1].sigmoid() * x.centerness[1].sigmoid()
        rows = []
        for label, row, column in (products > 0.2).nonzero().tolist():
            left, top, right, bottom = (x.distances[1, :, row, column] * x.stride).unbind()
            at_x, at_y = column * x.stride + x.stride // 2, row * x.stride + x.stride // 2
            box = [value.item() for value in (at_x - left, at_y - top, at_x + right, at_y + bottom)]
            score = products[label, row, column].sqrt().item()
            rows.append((box, score, label, [number, 1, row, column]))
        expected += sorted(rows, key=lambda x: -x[1])[:limit]
    shown = zip(*(getattr(found, name).tolist() for name in ("boxes", "scores", "labels", "places")), strict=True)
    key = repr
    assert sorted(shown, key=key) == sorted(expected, key=key)  # to the last bit


def test_decode_nothing() -> None:
    found = decode([level(torch.full((1, 2, 3, 3), 0.01))] * 2, 0)
    assert found.boxes.shape == (0, 4)
    assert found.scores.shape == found.labels.shape == (0,)
    assert found.places.shape == (0, 4)
    assert found.labels.dtype == found.places.dtype == torch.int64


# --- suppression -----------------------------------------------------------------------------------------------------


def candidates(boxes: list[list[float]], scores: list[float], labels: list[int]) -> Candidates:
    return Candidates(
        boxes=torch.tensor(boxes).reshape(-1, 4),
        scores=torch.tensor(scores),
        labels=torch.tensor(labels, dtype=torch.int64),
        places=torch.arange(len(boxes))[:, None].expand(-1, 4),
    )


def kept(found: Candidates) -> list[int]:
    return found.places[:, 0].tolist()


def test_suppression_by_hand() -> None:
    """Of 10 x 10 pixels, a shift by 2 leaves an IoU of 2/3, by 3 one of 7/13."""
    boxes = [[0.0, 0.0, 10.0, 10.0], [2.0, 0.0, 12.0, 10.0], [3.0, 0.0, 13.0, 10.0]]
    assert kept(suppress(candidates(boxes, [0.7, 0.9, 0.8], [0, 0, 0]))) == [1]
    assert kept(suppress(candidates(boxes, [0.9, 0.7, 0.8], [0, 0, 0]))) == [0, 2]
    assert kept(suppress(candidates(boxes, [0.7, 0.9, 0.8], [0, 1, 0]))) == [1, 2, 0]


def test_equal_overlap_stays() -> None:
    """1/2 exactly is not above 1/2."""
    boxes = [[0.0, 0.0, 8.0, 8.0], [0.0, 0.0, 8.0, 4.0]]
    assert kept(suppress(candidates(boxes, [0.9, 0.8], [0, 0]), nms=0.5)) == [0, 1]
    assert kept(suppress(candidates(boxes, [0.9, 0.8], [0, 0]), nms=0.49)) == [0]


def test_limit_keeps_the_best_and_ties_with_the_last() -> None:
    boxes = [[20.0 * i, 0.0, 20.0 * i + 10, 10.0] for i in range(6)]
    found = suppress(candidates(boxes, [0.5, 0.9, 0.5, 0.7, 0.5, 0.25], [0] * 6), limit=3)
    assert kept(found)[:2] == [1, 3]
    assert sorted(kept(found)[2:]) == [0, 2, 4]
    assert sorted(kept(suppress(candidates(boxes, [0.5] * 6, [0] * 6), limit=1))) == list(range(6))


def test_suppress_nothing() -> None:
    assert kept(suppress(candidates([], [], []))) == []


side = st.integers(100, 120)
boxes = st.tuples(st.sampled_from([-1000, -100, 0]), side, side).map(
    lambda b: [float(b[0] + x) for x in (0, 0, *b[1:])]
)


@settings(deadline=None)
@given(st.lists(st.tuples(boxes, st.integers(0, 2)), max_size=8))
def test_suppression_is_by_class_wherever_boxes_lie(rows: list[tuple[list[float], int]]) -> None:
    """Against the rule in a loop; boxes are not clipped, so they may lie far out of the image."""
    scores = [0.9 - 0.05 * i for i in range(len(rows))]
    given_ = candidates([box for box, _ in rows], scores, [label for _, label in rows])
    overlaps = box_iou(given_.boxes, given_.boxes)
    expected: list[int] = []
    for i in range(len(rows)):
        if not any(rows[i][1] == rows[j][1] and overlaps[i, j] > 0.6 for j in expected):
            expected.append(i)
    assert kept(suppress(given_)) == expected


# --- boxes in another frame ------------------------------------------------------------------------------------------


def test_rescale() -> None:
    boxes = torch.tensor([[10.0, 20.0, 30.0, 40.0], [-5.0, -5.0, 500.0, 500.0], [60.0, 0.0, 70.0, 10.0]])
    found = rescale(boxes, (50, 60), (100, 30))
    assert found.tolist() == [[5.0, 40.0, 15.0, 80.0], [0.0, 0.0, 30.0, 100.0], [30.0, 0.0, 30.0, 20.0]]
    assert rescale(torch.zeros(0, 4), (5, 6), (7, 8)).shape == (0, 4)


# --- scores that are multiplied --------------------------------------------------------------------------------------


def test_rescored_instances_are_sorted_anew_as_a_whole() -> None:
    """Scores 0.8 * 0.6 and 0.7 * 0.9: the second comes first; of two equal ones the first stays first."""
    numbers = torch.arange(3)
    given_ = Instances(
        boxes=numbers[:, None] + torch.tensor([0.0, 0.0, 9.0, 9.0]),
        scores=torch.tensor([0.8, 0.7, 0.7]),
        labels=numbers,
        probabilities=numbers.view(3, 1, 1) / 4,
        bases=torch.ones(2, 4, 4),
        attentions=numbers.view(3, 1, 1, 1).float(),
        places=numbers[:, None].expand(3, 4),
    )
    found = rescore(given_, torch.tensor([0.6, 0.9, 0.9]))
    torch.testing.assert_close(found.scores, torch.tensor([0.63, 0.63, 0.48]))
    assert found.labels.tolist() == [1, 2, 0] and found.boxes[:, 0].tolist() == [1.0, 2.0, 0.0]
    assert found.probabilities.flatten().tolist() == [0.25, 0.5, 0.0]
    assert found.attentions is not None and found.attentions.flatten().tolist() == [1.0, 2.0, 0.0]
    assert found.places is not None and found.places[:, 0].tolist() == [1, 2, 0]
    assert found.factors is not None and found.factors.tolist() == pytest.approx([0.9, 0.9, 0.6])
    assert found.bases is not None and found.bases.shape == (2, 4, 4)
