"""Muon: orthogonal steps by hand and as properties, which weights it takes, and its state."""

from __future__ import annotations

from copy import deepcopy
from typing import Literal

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from panoptic_blend.config.experiment import load_config
from panoptic_blend.config.options import Train
from panoptic_blend.models.build import build_model
from panoptic_blend.training.muon import Muon, hidden_weights, orthogonalized
from panoptic_blend.training.optimizer import build_optimizer


@given(
    rows=st.integers(1, 40), columns=st.integers(1, 40), seed=st.integers(0, 99), scale=st.sampled_from([1e-6, 1, 1e6])
)
@settings(deadline=None, max_examples=30)
def test_singular_values_become_one_and_singular_vectors_stay(rows: int, columns: int, seed: int, scale: float) -> None:
    matrix = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    left, values, right = torch.linalg.svd(matrix, full_matrices=False)
    inside = left.T @ orthogonalized(matrix * scale) @ right.T
    large = values > 0.1 * values.max()  # five rounds raise smaller values only in part
    assert ((inside.diagonal()[large] > 0.65) & (inside.diagonal()[large] < 1.25)).all()
    assert torch.allclose(inside, inside.diagonal().diag(), atol=1e-9)


def test_a_matrix_of_zeros_has_no_direction() -> None:
    assert orthogonalized(torch.zeros(3, 5)).eq(0).all()


def test_a_step_by_hand() -> None:
    """A matrix of one row: the direction has the length f(f(f(f(f(1))))), where f(x) = a x + b x^3 + c x^5."""
    weight = nn.Parameter(torch.tensor([[2.0, 4.0]]))
    weight.grad = torch.tensor([[3.0, 4.0]])
    Muon([{"params": [weight], "weight_decay": 0.5, "is_hidden": True}], lr=0.1).step()
    length = 1.0
    for _ in range(5):
        length = 3.4445 * length - 4.775 * length**3 + 2.0315 * length**5
    step = torch.tensor([[0.6, 0.8]]) * length * 0.1 * 0.2 * 2**0.5
    assert torch.allclose(weight, torch.tensor([[2.0, 4.0]]) * 0.95 - step, atol=1e-6)
    assert weight.grad is None


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
def test_kernels_step_as_their_matrices_in_any_layout(layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    kernels = [torch.randn(64, 4, 3, 3), torch.randn(64, 4, 3, 3), torch.randn(8, 16, 1, 1)]
    gradients = [torch.randn_like(kernel) for kernel in kernels]
    matrices = [nn.Parameter(kernel.flatten(1).clone()) for kernel in kernels]
    weights = [nn.Parameter(kernel.clone(memory_format=layout)) for kernel in kernels]
    for _ in range(2):
        for group in (matrices, weights):
            for weight, gradient in zip(group, gradients, strict=True):
                weight.grad = gradient.clone().view_as(weight)
            Muon([{"params": group, "weight_decay": 0.1, "is_hidden": True}], lr=0.1).step()
    for kernel, weight, matrix in zip(kernels, weights, matrices, strict=True):
        assert torch.allclose(weight.flatten(1), matrix, atol=1e-5)
        assert not torch.allclose(weight, kernel, atol=0.01)


def test_momentum_outlives_a_saved_state() -> None:
    torch.manual_seed(0)
    first, second = (nn.Conv2d(8, 32, 3) for _ in range(2))
    second.load_state_dict(first.state_dict())
    images = torch.randn(2, 8, 6, 6)
    options = Train(optimizer="muon", lr=0.01)
    optimizers = [build_optimizer(first, options), build_optimizer(second, options)]
    for number in range(4):
        if number == 2:
            second.load_state_dict(first.state_dict())
            optimizers[1].load_state_dict(deepcopy(optimizers[0].state_dict()))
        for layer, optimizer in zip((first, second), optimizers, strict=True):
            if layer is first or number >= 2:
                layer(images).square().sum().backward()
                optimizer.step()
                optimizer.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))


def test_which_weights_of_the_demo_are_hidden() -> None:
    model = build_model(load_config("demo/shapes_r18", ["model.num_things=40"]))
    names = {name for name, p in model.named_parameters() if any(p is h for h in hidden_weights(model))}
    assert {"backbone.layer1.0.conv1.weight", "backbone.layer3.1.conv2.weight"} <= names
    assert (
        not {
            "backbone.conv1.weight",
            "backbone.layer4.1.conv2.weight",
            "backbone.bn1.weight",
            "semantic.predictor.weight",
        }
        & names
    )
    assert not any("class_logits" in name or "distances" in name or "bias" in name for name in names)


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_other_parameters_are_those_of_adamw(decay: float) -> None:
    torch.manual_seed(0)
    layers = [nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16)) for _ in range(2)]
    layers[1].load_state_dict(layers[0].state_dict())
    images = torch.randn(2, 3, 6, 6)
    kinds: list[Literal["muon", "adamw"]] = ["muon", "adamw"]
    for layer, kind in zip(layers, kinds, strict=True):
        optimizer = build_optimizer(layer, Train(optimizer=kind, lr=0.01, weight_decay=decay))
        for _ in range(2):
            layer(images).square().sum().backward()
            optimizer.step()
            optimizer.zero_grad()
    assert all(torch.equal(a, b) for a, b in zip(*(layer.parameters() for layer in layers), strict=True))
