"""The learning rate, by hand, and the parameters with weight decay."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
import torch
from torch import nn

from panoptic_blend.config.experiment import load_config
from panoptic_blend.config.options import Train
from panoptic_blend.config.yaml_files import config_names
from panoptic_blend.training.optimizer import build_optimizer, learning_rate, require_full_rate, set_learning_rate

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


@pytest.mark.parametrize(
    ("iteration", "rate"),
    [(0, 0.04), (10, 0.22), (20, 0.4), (70, 0.2 + 0.1 * 2**0.5), (120, 0.2), (170, 0.2 - 0.1 * 2**0.5), (220, 0.0)],
)
def test_half_a_cosine_follows_the_warmup(iteration: int, rate: float) -> None:
    options = Train(schedule="cosine", lr=0.4, warmup_iterations=20, warmup_factor=0.1, iterations=220)
    assert learning_rate(iteration, options) == pytest.approx(rate, abs=1e-12)


def test_without_warmup_the_first_rate_is_the_full_one() -> None:
    assert learning_rate(0, Train(warmup_iterations=0, steps=(5,), lr=0.5)) == 0.5


@pytest.mark.parametrize(
    ("warmup", "steps", "iterations", "end", "remedy"),
    [
        (100, (70, 90), 100, "the first of train.steps, iteration 70", 7),
        (70, (90, 70), 100, "the first of train.steps, iteration 70", 7),
        (100, (), 100, "the end of training, iteration 100", 10),
        (2, (5,), 1, "the end of training, iteration 1", 0),
    ],
)
def test_a_warmup_that_never_ends(
    warmup: int, steps: tuple[int, ...], iterations: int, end: str, remedy: int, refused: Callable[..., str]
) -> None:
    options = Train(warmup_iterations=warmup, steps=steps, iterations=iterations)
    assert refused(require_full_rate, options) == (
        f"train.warmup_iterations={warmup} reaches {end}, so the learning rate never arrives at train.lr; "
        f"lower it, for example train.warmup_iterations={remedy}"
    )
    require_full_rate(options.model_copy(update={"warmup_iterations": remedy}))


@pytest.mark.parametrize(("warmup", "steps", "iterations"), [(69, (70,), 100), (0, (0,), 1), (5, (), 6), (5, (), 0)])
def test_a_warmup_that_ends_in_time(warmup: int, steps: tuple[int, ...], iterations: int) -> None:
    require_full_rate(Train(warmup_iterations=warmup, steps=steps, iterations=iterations))


@pytest.mark.parametrize("name", config_names())
def test_the_warmup_of_every_config_ends_in_time(name: str) -> None:
    require_full_rate(load_config(name).train)


def test_normalization_is_not_decayed_and_frozen_parameters_are_left_out() -> None:
    model = nn.Sequential(nn.Conv2d(3, 32, 1), nn.GroupNorm(4, 32), nn.BatchNorm2d(32), nn.Conv2d(32, 1, 1))
    model[3].requires_grad_(False)
    decayed, free = build_optimizer(model, OFFICIAL).param_groups
    assert [id(p) for p in decayed["params"]] == [id(p) for p in model[0].parameters()]
    assert len(free["params"]) == 4
    assert (decayed["weight_decay"], free["weight_decay"]) == (1e-4, 0.0)
    assert decayed["momentum"] == 0.9


class NormalizedConv(nn.Conv2d):
    """Not a norm, in spite of its name: its weight has more than one axis."""


class GlobalResponseNorm(nn.Module):
    """A norm of another library."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))


class BlockWithNorm(nn.Module):
    """A block named for the norm in it."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.conv = nn.LayerNorm([2, 4, 4]), nn.Conv2d(2, 2, 1)


def test_norms_are_known_by_their_kind_or_name() -> None:
    model = nn.Sequential(NormalizedConv(3, 2, 1), BlockWithNorm(), GlobalResponseNorm(2), nn.RMSNorm(4))
    decayed, free = build_optimizer(model, OFFICIAL).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert [names[id(p)] for p in decayed["params"]] == ["0.weight", "0.bias", "1.conv.weight", "1.conv.bias"]
    assert [names[id(p)] for p in free["params"]] == ["1.norm.weight", "1.norm.bias", "2.weight", "3.weight"]


@pytest.mark.parametrize("name", ["test_convnext", "test_efficientnet", "test_vit"])
def test_norms_of_timm_are_not_decayed(name: str) -> None:
    timm = pytest.importorskip("timm")
    model = timm.create_model(name)
    decayed, free = build_optimizer(model, OFFICIAL).param_groups
    names = {id(parameter): key for key, parameter in model.named_parameters()}
    is_norm = re.compile(r"(^|\.)(norm\w*|bn\w*|downsample\.0|stem\.1)\.(weight|bias)$")
    assert all(is_norm.search(names[id(p)]) for p in free["params"])
    assert not any(is_norm.search(names[id(p)]) for p in decayed["params"])
    assert len(free["params"]) > 10


class WithBackbone(nn.Module):
    """A backbone with a norm, and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Sequential(nn.Conv2d(3, 32, 1, bias=False), nn.GroupNorm(4, 32))
        self.head = nn.Conv2d(32, 1, 1)


def test_the_backbone_has_its_share_of_every_rate() -> None:
    model = WithBackbone()
    optimizer = build_optimizer(model, Train(backbone_lr=0.125))
    set_learning_rate(optimizer, 0.5)
    rates = {id(p): (group["lr"], group["weight_decay"]) for group in optimizer.param_groups for p in group["params"]}
    found = {name: rates[id(p)] for name, p in model.named_parameters()}
    assert found == {
        "backbone.0.weight": (0.0625, 1e-4),
        "backbone.1.weight": (0.0625, 0.0),
        "backbone.1.bias": (0.0625, 0.0),
        "head.weight": (0.5, 1e-4),
        "head.bias": (0.5, 1e-4),
    }


def test_a_rate_for_a_frozen_backbone_is_refused(refused: Callable[..., str]) -> None:
    model = WithBackbone()
    model.backbone.requires_grad_(False)
    assert refused(build_optimizer, model, Train(backbone_lr=0.1)).startswith("train.backbone_lr=0.1 has no effect")
    build_optimizer(model, Train())


def test_set_learning_rate_reaches_every_group() -> None:
    optimizer = build_optimizer(nn.Sequential(nn.Conv2d(3, 32, 1), nn.GroupNorm(4, 32)), Train(optimizer="adamw"))
    set_learning_rate(optimizer, 0.125)
    assert [group["lr"] for group in optimizer.param_groups] == [0.125, 0.125]
