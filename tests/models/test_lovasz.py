"""The Lovasz-softmax loss, by hand, at its corners, where it is 1 - IoU, and by its definition with sets."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.build import build_model
from panoptic_blend.models.lovasz import lovasz_softmax, present
from panoptic_blend.structures import IGNORE, Target

ONE = torch.tensor(1)


def logits_of(probabilities: list[list[float]]) -> Tensor:
    """Logits (1, C, 1, P) whose softmax is (C, P)."""
    return torch.tensor(probabilities, dtype=torch.float64).log()[None, :, None]


def test_present() -> None:
    truth = torch.tensor([[[0, 2, 2]], [[IGNORE, IGNORE, 1]], [[IGNORE] * 3]])
    assert present(truth, 3).int().tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_two_pixels_by_hand() -> None:
    """Class 0 on the first pixel with probability 1/4, class 1 on the second with 1/2.

    Errors of class 0 are 3/4 on its pixel and 1/2 on the other. 1 - IoU is 1 as soon as its pixel is wrong: 3/4. Those
    of class 1 are 3/4 where it is not, which alone makes 1 - IoU 1/2, then 1/2 where it is, for the rest: 5/8.
    """
    logits = logits_of([[0.25, 0.5], [0.75, 0.5]])
    found = lovasz_softmax(logits, torch.tensor([[[0, 1]]]), torch.tensor(2))
    assert found.item() == pytest.approx((3 / 4 + 5 / 8) / 2)


@settings(deadline=None, max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=7))
def test_of_certain_classes_it_is_one_minus_the_iou(pixels: list[tuple[int, int]]) -> None:
    truth = torch.tensor([[[true for true, _ in pixels]]])
    logits = 100.0 * torch.nn.functional.one_hot(torch.tensor([[[said for _, said in pixels]]]), 3).permute(0, 3, 1, 2)
    expected = 0.0
    for kind in {true for true, _ in pixels}:
        common = sum(true == said == kind for true, said in pixels)
        expected += 1 - common / sum(kind in pixel for pixel in pixels)
    assert lovasz_softmax(logits, truth, ONE).item() == pytest.approx(expected, abs=1e-5)


def by_sets(errors: list[float], is_class: list[bool]) -> float:
    """Eq. 5: the sum of each error times what 1 - IoU rises when its pixel joins the wrong ones before it."""

    def lost(wrong: set[int]) -> float:
        mine = {i for i, it in enumerate(is_class) if it}
        return len(wrong) / len(mine | wrong)

    order = sorted(range(len(errors)), key=lambda i: -errors[i])
    steps = [set(order[:n]) for n in range(len(order) + 1)]
    return sum(errors[i] * (lost(steps[n + 1]) - lost(steps[n])) for n, i in enumerate(order))


@settings(deadline=None, max_examples=40)
@given(st.integers(0, 10**6), st.integers(1, 8))
def test_it_is_its_definition_with_sets(seed: int, number: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(2, 3, 1, number, generator=generator, dtype=torch.float64)
    truth = torch.randint(0, 3, (2, 1, number), generator=generator)
    truth[1, 0, 0] = IGNORE
    expected = 0.0
    for probabilities, classes in zip(logits.softmax(dim=1)[:, :, 0], truth[:, 0], strict=True):
        known = classes != IGNORE
        for kind in classes[known].unique().tolist():
            is_class = classes[known] == kind
            errors = (is_class.double() - probabilities[kind][known]).abs()
            expected += by_sets(errors.tolist(), is_class.tolist())
    assert lovasz_softmax(logits, truth, ONE).item() == pytest.approx(expected)


def test_gradient() -> None:
    torch.manual_seed(0)
    logits = torch.randn(2, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    truth = torch.randint(0, 3, (2, 2, 3))
    truth[0, 0] = IGNORE
    assert torch.autograd.gradcheck(lambda x: lovasz_softmax(x, truth, torch.tensor(5)), logits)


def test_where_all_is_ignored() -> None:
    logits = torch.randn(1, 3, 2, 2, requires_grad=True)
    loss = lovasz_softmax(logits, torch.full((1, 2, 2), IGNORE), ONE)
    loss.backward()
    assert loss.item() == 0 and logits.grad is not None and not logits.grad.any()


SMALL = [
    *("num_things=2", "num_stuff=2", "fpn.channels=32", "semantic.channels=32", "fcos.num_convs=0"),
    *("backbone.depth=14", "bottom.kind=shared", "bottom.loss_weight=0", "blender.roi_size=14"),
]


def test_in_a_model_it_is_over_every_fourth_pixel_and_the_classes_of_all_images() -> None:
    """Of a picture of 3 x 7 pixels one row and two columns count: the pixels (2, 2) and (2, 6)."""
    options = [f"model.{option}" for option in (*SMALL, "semantic.lovasz_weight=3")]
    model = build_model(load_config("panoptic/blendmask_r50_3x", options))
    semantic = torch.zeros(3, 7, dtype=torch.uint8)
    semantic[2, 2], semantic[2, 6] = 1, IGNORE
    empty: Target = {
        "boxes": torch.zeros(0, 4),
        "labels": torch.zeros(0).long(),
        "masks": torch.zeros(0, 3, 7).bool(),
        "semantic": semantic,
    }
    batch = model.prepared([torch.rand(3, 3, 7)] * 2, [empty, {**empty, "semantic": torch.zeros(3, 7).long()}])
    assert batch.normalizers["classes"].item() == 2
    assert model.semantic is not None
    torch.nn.init.zeros_(model.semantic.predictor.weight)
    losses = model(batch)
    # all probabilities are 1/3; the first picture has one pixel, of class 1, the second two of class 0
    assert losses["loss_lovasz"].item() == pytest.approx(3 * 2 / 3, rel=1e-5)
    assert losses["loss_semantic"].item() == pytest.approx(0.5 * math.log(3), rel=1e-5)
