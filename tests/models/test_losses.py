from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torchvision.ops import generalized_box_iou, sigmoid_focal_loss

from panoptic_blend.models.losses import (
    box_loss,
    centerness_loss,
    class_loss,
    dice_loss,
    mask_loss,
    quality_focal_loss,
    semantic_loss,
    upsampled_semantic_loss,
)

ONE = torch.tensor(1.0)


def has_zero_gradient(loss: Tensor, *inputs: Tensor) -> bool:
    """Whether the loss is 0 and its gradient there, finite and 0."""
    loss.backward()
    return loss.item() == 0 and all(x.grad is not None and not x.grad.any() for x in inputs)


# --- classes ---------------------------------------------------------------------------------------------------------


def test_focal_loss_by_hand() -> None:
    """At probability 1/2 every class costs log 2 / 4, times 1/4 for the target and 3/4 for the others."""
    logits = torch.zeros(3, 2)
    labels = torch.tensor([0, 1, 2])  # 2 is background
    per_class = math.log(2) / 4
    expected = per_class * (2 * 0.25 + 4 * 0.75) / 2
    assert class_loss(logits, labels, torch.tensor(2.0)).item() == pytest.approx(expected)


def test_focal_loss_at_other_probabilities() -> None:
    """Probabilities 3/4 of the target and 1/4 of another class: both miss by a quarter."""
    logits = torch.tensor([[math.log(3), -math.log(3)]])
    expected = (0.25 + 0.75) * 0.25**2 * -math.log(0.75)
    assert class_loss(logits, torch.tensor([0]), ONE).item() == pytest.approx(expected)


def test_class_loss_without_positives_still_teaches_background() -> None:
    logits = torch.zeros(4, 3, requires_grad=True)
    loss = class_loss(logits, torch.full((4,), 3), ONE)
    loss.backward()
    assert loss.item() == pytest.approx(12 * 0.75 * math.log(2) / 4)
    assert logits.grad is not None
    assert (logits.grad > 0).all()


def test_quality_focal_loss_by_hand() -> None:
    """At 1/2 all cross entropies are log 2, whatever is learned; the quality 3/4 misses by 1/4, zeros by 1/2."""
    labels, qualities = torch.tensor([0, 2]), torch.tensor([0.75, 0.0])
    found = quality_focal_loss(torch.zeros(2, 2), labels, qualities, torch.tensor(2.0))
    assert found.item() == pytest.approx(math.log(2) * (1 / 16 + 3 / 4) / 2)


def test_quality_focal_loss_of_quality_one_is_focal_loss_without_alpha() -> None:
    logits = torch.tensor([[0.3, -1.2]], dtype=torch.float64)
    expected = sigmoid_focal_loss(logits, torch.tensor([[1.0, 0.0]]).double(), alpha=-1, gamma=2, reduction="sum")
    torch.testing.assert_close(quality_focal_loss(logits, torch.tensor([0]), torch.ones(1).double(), ONE), expected)


def test_quality_focal_loss_is_least_at_the_quality() -> None:
    logits = torch.tensor([[math.log(3), -30.0]], requires_grad=True)
    loss = quality_focal_loss(logits, torch.tensor([0]), torch.tensor([0.75]), ONE)
    assert has_zero_gradient(loss.round(decimals=9), logits)


def test_gradient_of_quality_focal_loss() -> None:
    torch.manual_seed(0)
    logits = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    labels, qualities = torch.tensor([0, 3, 1, 2]), torch.tensor([0.2, 0.0, 1.0, 0.0]).double()
    assert torch.autograd.gradcheck(lambda x: quality_focal_loss(x, labels, qualities, torch.tensor(3)), logits)


# --- boxes -----------------------------------------------------------------------------------------------------------


def test_perfect_boxes_cost_nothing() -> None:
    boxes = torch.tensor([[1.0, 2.0, 3.0, 4.0], [0.5, 0.5, 0.5, 0.5]])
    assert box_loss(boxes, boxes, torch.tensor([0.3, 0.7]), ONE).item() == pytest.approx(0, abs=1e-6)


def test_box_loss_by_hand() -> None:
    """2 x 2 in 4 x 4: I = 4, U = E = 16, so GIoU = 5 / 17. 2 x 4 across 4 x 2: I = 4, U = 12, E = 16."""
    predicted = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 1.0, 2.0]])
    truth = torch.tensor([[2.0, 2.0, 2.0, 2.0], [2.0, 1.0, 2.0, 1.0]])
    first, second = 1 - 5 / 17, 1 - (5 / 13 - 4 / 16)
    weights = torch.tensor([0.5, 0.25])
    expected = (0.5 * first + 0.25 * second) / 0.75
    assert box_loss(predicted, truth, weights, torch.tensor(0.75)).item() == pytest.approx(expected)


def test_sides_are_left_top_right_bottom() -> None:
    """Left is told from right: boxes on either side of a location share nothing."""
    loss = box_loss(torch.tensor([[2.0, 1.0, 0.0, 1.0]]), torch.tensor([[0.0, 1.0, 2.0, 1.0]]), torch.ones(1), ONE)
    assert loss.item() == pytest.approx(1 - 1 / 9)  # I = 0, U = E = 8


distance = st.integers(1, 400).map(float)


@settings(deadline=None)
@given(st.lists(distance, min_size=4, max_size=4), st.lists(distance, min_size=4, max_size=4))
def test_large_boxes_lose_what_giou_says(predicted: list[float], truth: list[float]) -> None:
    """In pixels by the hundred the smoothing hardly counts."""
    sides = torch.tensor([predicted, truth], dtype=torch.float64) * 100
    boxes = torch.cat([-sides[:, :2], sides[:, 2:]], dim=1)
    giou = generalized_box_iou(boxes[:1], boxes[1:]).item()
    loss = box_loss(sides[:1], sides[1:], torch.ones(1, dtype=torch.float64), torch.ones(1, dtype=torch.float64))
    assert loss.item() == pytest.approx(1 - giou, abs=1e-4)


def test_box_loss_without_positives() -> None:
    predicted = torch.zeros(0, 4, requires_grad=True)
    assert has_zero_gradient(box_loss(predicted, torch.zeros(0, 4), torch.zeros(0), torch.tensor(1e-6)), predicted)


def test_gradient_of_boxes_without_area_is_finite() -> None:
    predicted = torch.tensor([[0.0, 0.0, 0.0, 0.0], [1.0, 0.0, 1.0, 0.0]], requires_grad=True)
    box_loss(predicted, torch.ones(2, 4), torch.ones(2), ONE).backward()
    assert predicted.grad is not None
    assert predicted.grad.isfinite().all()
    assert predicted.grad.any()


# --- center-ness and masks -------------------------------------------------------------------------------------------


def test_centerness_loss_by_hand() -> None:
    logits, truth = torch.tensor([0.0, math.log(3)]), torch.tensor([0.4, 1.0])
    expected = (math.log(2) - math.log(0.75)) / 4
    assert centerness_loss(logits, truth, torch.tensor(4.0)).item() == pytest.approx(expected)


def test_centerness_loss_without_positives() -> None:
    logits = torch.zeros(0, requires_grad=True)
    assert has_zero_gradient(centerness_loss(logits, torch.zeros(0), ONE), logits)


def test_mask_loss_by_hand() -> None:
    """A mask of logits 0 costs log 2; one of probability 3/4 everywhere, half of it right, the mean of two logs."""
    logits = torch.stack([torch.zeros(2, 2), torch.full((2, 2), math.log(3))])
    truth = torch.tensor([[[0.0, 1.0], [1.0, 0.0]], [[1.0, 1.0], [0.0, 0.0]]])
    first, second = math.log(2), -(math.log(0.75) + math.log(0.25)) / 2
    loss = mask_loss(logits, truth, torch.tensor([0.2, 0.6]), torch.tensor(0.8))
    assert loss.item() == pytest.approx((0.2 * first + 0.6 * second) / 0.8)


def test_dice_loss_by_hand() -> None:
    """Probability 3/4 on four pixels of which two are true: 1 - (2 * 3/2 + 1) / (4 * 9/16 + 2 + 1)."""
    logits = torch.full((1, 2, 2), math.log(3))
    truth = torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])
    assert dice_loss(logits, truth).tolist() == pytest.approx([1 - 4 / 5.25])


def test_dice_loss_of_a_perfect_an_opposite_and_an_empty_mask() -> None:
    half = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    logits = 100 * torch.stack([half, 1 - half, torch.zeros(2, 2)]) - 50
    found = dice_loss(logits, torch.stack([half, half, torch.zeros(2, 2)]))
    assert found.tolist() == pytest.approx([0, 1 - 1 / 5, 0])


def test_gradient_of_dice_loss() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 2, 3, dtype=torch.float64, requires_grad=True)
    truth = torch.stack([torch.eye(2, 3), torch.zeros(2, 3), torch.ones(2, 3)]).double()
    assert torch.autograd.gradcheck(lambda x: dice_loss(x, truth), logits)


def test_dice_is_added_to_the_mask_loss_with_its_weight() -> None:
    logits, truth = torch.zeros(1, 1, 1), torch.ones(1, 1, 1)
    dice = 1 - (2 * 0.5 + 1) / (0.25 + 1 + 1)
    found = mask_loss(logits, truth, torch.tensor([0.5]), torch.tensor(0.25), dice_weight=3)
    assert found.item() == pytest.approx(2 * (math.log(2) + 3 * dice))


def test_mask_loss_without_positives() -> None:
    logits = torch.zeros(0, 4, 4, requires_grad=True)
    assert has_zero_gradient(mask_loss(logits, torch.zeros(0, 4, 4), torch.zeros(0), torch.tensor(1e-6)), logits)


# --- semantics -------------------------------------------------------------------------------------------------------


def test_semantic_loss_by_hand() -> None:
    """Two pixels count: one of probability 3/4, one of 1/2."""
    logits = torch.zeros(1, 2, 1, 3)
    logits[0, 1, 0, 0] = math.log(3)
    truth = torch.tensor([[[1, 0, 255]]])
    assert semantic_loss(logits, truth, torch.tensor(2)).item() == pytest.approx(-(math.log(0.75) + math.log(0.5)) / 2)


def test_semantic_loss_is_a_mean_over_as_many_pixels_as_it_is_told() -> None:
    logits = torch.zeros(2, 2, 1, 3)
    logits[0, 0] = 50
    truth = torch.tensor([[[0, 255, 255]], [[1, 1, 1]]])
    assert semantic_loss(logits, truth, torch.tensor(4)).item() == pytest.approx(3 / 4 * math.log(2))
    assert semantic_loss(logits, truth, torch.tensor(12)).item() == pytest.approx(3 / 12 * math.log(2))


def test_semantic_loss_where_all_is_ignored() -> None:
    logits = torch.randn(2, 4, 3, 3, requires_grad=True)
    assert has_zero_gradient(semantic_loss(logits, torch.full((2, 3, 3), 255), torch.tensor(1)), logits)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_loss_of_upsampled_logits_is_that_of_all_of_them_at_once(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 5, 4, 6, dtype=torch.float64).to(memory_format=layout).requires_grad_()
    truth = torch.randint(0, 5, (3, 16, 24))
    truth[0], truth[1, :, 7:] = 255, 255
    full = F.interpolate(logits, scale_factor=4.0, mode="bilinear", align_corners=False)
    plain, found = (
        semantic_loss(full, truth, torch.tensor(100)),
        upsampled_semantic_loss(logits, 4, truth, torch.tensor(100)),
    )
    torch.testing.assert_close(found, plain)
    expected, gradient = (torch.autograd.grad(3 * loss, logits)[0] for loss in (plain, found))
    torch.testing.assert_close(gradient, expected)
    assert gradient[1:].any()
    assert not gradient[0].any()


def test_loss_of_upsampled_logits_without_gradients() -> None:
    with torch.no_grad():
        found = upsampled_semantic_loss(torch.zeros(1, 2, 1, 1), 4, torch.zeros(1, 4, 4).long(), torch.tensor(16))
    assert found.item() == pytest.approx(math.log(2))
