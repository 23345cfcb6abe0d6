"""Learning rate by hand, and who is decayed."""

from __future__ import annotations

import pytest
from torch import nn

from panoptic_blend.config.options import Train
from panoptic_blend.training.optimizer import build_optimizer, learning_rate, set_learning_rate

OFFICIAL = Train()


@pytest.mark.parametrize(
    ("iteration", "rate"),
    [
        (0, 0.01 * 0.001),
        (500, 0.01 * (0.0005 + 0.5)),
        (999, 0.01 * (0.001 * 0.001 + 0.999)),
        (1000, 0.01),
        (209_999, 0.01),
        (210_000, 0.001),
        (249_999, 0.001),
        (250_000, 0.0001),
        (269_999, 0.0001),
    ],
)
def test_official_schedule(iteration: int, rate: float) -> None:
    assert learning_rate(iteration, OFFICIAL) == pytest.approx(rate, rel=1e-12)


def test_without_warmup_the_first_rate_is_the_full_one() -> None:
    assert learning_rate(0, Train(warmup_iterations=0, steps=(5,), lr=0.5)) == 0.5


def test_normalisation_is_not_decayed_and_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Conv2d(3, 32, 1), nn.GroupNorm(4, 32), nn.BatchNorm2d(32), nn.Conv2d(32, 1, 1))
    model[3].requires_grad_(False)
    decayed, free = build_optimizer(model, OFFICIAL).param_groups
    assert [id(p) for p in decayed["params"]] == [id(p) for p in model[0].parameters()]
    assert len(free["params"]) == 4
    assert (decayed["weight_decay"], free["weight_decay"]) == (1e-4, 0.0)
    assert decayed["momentum"] == 0.9


def test_set_learning_rate_reaches_every_group() -> None:
    optimizer = build_optimizer(nn.Sequential(nn.Conv2d(3, 32, 1), nn.GroupNorm(4, 32)), Train(optimizer="adamw"))
    set_learning_rate(optimizer, 0.125)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]
