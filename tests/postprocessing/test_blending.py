"""Masks from bases and attentions in numpy are those of torch and torchvision."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from panoptic_blend.models import blender
from panoptic_blend.postprocessing.blending import TopLayer, assemble, blend, crop


def noise(seed: int, *shape: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


side = st.floats(-20, 100, width=32)


@settings(deadline=None, max_examples=50)
@given(st.lists(side, min_size=4, max_size=4), st.sampled_from(["align", "pool"]), st.sampled_from([1, 5, 14]))
def test_crops_are_those_of_torchvision(sides: list[float], pooling: Literal["align", "pool"], size: int) -> None:
    bases, boxes = noise(0, 1, 3, 15, 21), torch.tensor([sides])
    expected = blender.crop(bases, [boxes], size, 4, pooling).numpy()
    found = crop(bases[0].numpy(), boxes.numpy(), size, 4, pooling)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("interpolation", ["bilinear", "nearest"])
@pytest.mark.parametrize(("num_bases", "side"), [(1, 4), (4, 1), (4, 7), (2, 14)])
def test_blended_masks_are_those_of_torch(
    num_bases: int, side: int, interpolation: Literal["bilinear", "nearest"]
) -> None:
    crops, attentions = noise(1, 3, num_bases, 14, 14), noise(2, 3, num_bases, side, side)
    expected = blender.blend(crops, attentions, interpolation).sigmoid().numpy()
    before = attentions.clone()
    found = blend(crops.numpy(), attentions.numpy(), interpolation)
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    assert torch.equal(attentions, before), "the attentions are part of the output"


def test_assembled_masks_are_those_of_torch() -> None:
    crops = noise(3, 2, 9, 7, 7)
    np.testing.assert_allclose(assemble(crops.numpy()), blender.assemble(crops).sigmoid().numpy(), rtol=1e-6)


def test_attentions_are_those_of_the_dense_layer() -> None:
    layer, features = blender.TopLayer(8, num_bases=2, attention_size=3), [noise(4, 8, 4, 5), noise(5, 8, 1, 1)]
    torch.nn.init.normal_(layer.weight)
    places = [(0, row, column) for row in (0, 1, 3) for column in (0, 2, 4)] + [(1, 0, 0)]
    ours = TopLayer(layer.weight.detach().numpy(), np.arange(18, dtype=np.float32), num_bases=2)
    layer.bias = torch.nn.Parameter(torch.arange(18.0))
    found = ours.at([feature.numpy() for feature in features], np.array(places))
    with torch.no_grad():
        dense = [layer(feature[None])[0] for feature in features]
    expected = torch.stack([dense[level][:, row, column] for level, row, column in places]).unflatten(1, (2, 3, 3))
    np.testing.assert_allclose(found, expected.numpy(), rtol=1e-4, atol=1e-4)
    assert ours.at([feature.numpy() for feature in features], np.zeros((0, 3), int)).shape == (0, 2, 3, 3)
