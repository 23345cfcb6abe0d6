from __future__ import annotations

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import box_iou

from panoptic_blend.models.fcos import LevelPredictions
from panoptic_blend.models.postprocess import Candidates, decode, paste, rescale, suppress


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


# --- pasting ---------------------------------------------------------------------------------------------------------


def pasted(probabilities: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """The masks (D, H, W) that are cut out."""
    masks = torch.zeros(len(boxes), *size, dtype=torch.bool)
    for mask, cutout in zip(masks, paste(probabilities, boxes, size), strict=True):
        mask[cutout.window] = torch.from_numpy(cutout.mask)
    return masks


def test_paste_by_hand() -> None:
    """A 2 x 2 mask over 4 x 4 pixels: each of its cells covers 2 x 2 of them."""
    probabilities = torch.tensor([[[1.0, 0.0], [0.0, 1.0]]])
    found = pasted(probabilities, torch.tensor([[1.0, 2.0, 5.0, 6.0]]), (7, 6))
    assert found.shape == (1, 7, 6)
    assert found.dtype == torch.bool
    # between the cells the diagonal mixes: one quarter in, 10/16 of one and 6/16 of the other
    inside = [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 1, 1]]
    expected = torch.zeros(7, 6, dtype=torch.int64)
    expected[2:6, 1:5] = torch.tensor(inside)
    assert found[0].int().tolist() == expected.tolist()


def test_half_is_inside() -> None:
    assert pasted(torch.full((1, 4, 4), 0.5), torch.tensor([[0.0, 0.0, 4.0, 4.0]]), (4, 4))[0, 1, 1]
    assert not pasted(torch.full((1, 4, 4), 0.499), torch.tensor([[0.0, 0.0, 4.0, 4.0]]), (4, 4)).any()


def test_a_certain_mask_fills_its_box() -> None:
    found = pasted(torch.ones(1, 56, 56), torch.tensor([[3.0, 1.0, 9.0, 8.0]]), (10, 10))
    assert found.sum() == 6 * 7
    assert found[0, 1:8, 3:9].all()


def test_paste_nothing() -> None:
    assert paste(torch.zeros(0, 56, 56), torch.zeros(0, 4), (5, 6)) == []


def paste_slowly(probabilities: Tensor, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Values (D, H, W) of every pixel of the frame, read bilinearly from the mask with zeros around it."""
    height, width = size
    values = []
    for probability, (x0, y0, x1, y1) in zip(probabilities, boxes, strict=True):
        x = (torch.arange(width) + 0.5 - x0) / (x1 - x0) * 2 - 1
        y = (torch.arange(height) + 0.5 - y0) / (y1 - y0) * 2 - 1
        grid = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=-1)
        values.append(F.grid_sample(probability[None, None], grid[None], padding_mode="zeros", align_corners=False))
    return torch.cat(values).squeeze(1)


length = st.integers(2, 24)
fraction = st.integers(0, 64).map(lambda n: n / 64)


@settings(deadline=None, max_examples=200)
@given(
    length, length, st.lists(fraction, min_size=4, max_size=4), st.sampled_from([1, 2, 7, 56]), st.integers(0, 2**16)
)
def test_paste_agrees_with_the_whole_frame(height: int, width: int, corners: list[float], size: int, seed: int) -> None:
    """Only the box is computed; beyond it, and beyond the frame, nothing would have been set."""
    x, y = sorted({corners[0], corners[1]}), sorted({corners[2], corners[3]})
    if len(x) < 2 or len(y) < 2:
        return
    boxes = torch.tensor([[x[0] * width, y[0] * height, x[1] * width, y[1] * height]])
    generator = torch.Generator().manual_seed(seed)
    probabilities = torch.rand(1, size, size, generator=generator).pow(0.3)
    values = paste_slowly(probabilities, boxes, (height, width))
    found = pasted(probabilities, boxes, (height, width))
    assert torch.equal(found[(values - 0.5).abs() > 1e-5], values[(values - 0.5).abs() > 1e-5] >= 0.5)


@pytest.mark.parametrize("shift", [0.0, 0.25, 0.5, 0.75])
def test_certain_masks_at_borders_between_pixels(shift: float) -> None:
    """A pixel whose center is on the side of a box reads half the mask there, which counts; at corners a quarter."""
    boxes = torch.tensor([[2 + shift, 3 + shift, 6 + shift, 6.0]])
    values = paste_slowly(torch.ones(1, 8, 8), boxes, (10, 10))
    found = pasted(torch.ones(1, 8, 8), boxes, (10, 10))
    assert torch.equal(found, values >= 0.5)
    columns = found.any(dim=1)[0].nonzero().squeeze(1).tolist()
    assert columns == [c for c in range(10) if 2 + shift <= c + 0.5 <= 6 + shift]


def test_masks_are_pasted_apart() -> None:
    boxes = torch.tensor([list(map(float, (x, 0, x + 2, 2))) for x in (0, 2, 4)])
    found = pasted(torch.ones(3, 4, 4), boxes, (2, 6))
    assert [found[i].any(dim=0).tolist() for i in range(3)] == [
        [x in (2 * i, 2 * i + 1) for x in range(6)] for i in range(3)
    ]
    assert not any((found[i] & found[j]).any() for i, j in itertools.combinations(range(3), 2))
