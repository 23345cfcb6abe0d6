from __future__ import annotations

import pytest
import torch

from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.build import build_model
from panoptic_blend.models.shapes_only import shapes_only


@pytest.mark.parametrize("name", ["demo/shapes_r18", "demo/kernelblend_r18", "instance/mask_rcnn_r50_3x"])
def test_a_network_without_values_has_the_shapes_of_one_with_them(name: str) -> None:
    config, number = load_config(name), torch.get_rng_state()
    with shapes_only():
        found = build_model(config).state_dict()
    assert torch.equal(torch.get_rng_state(), number)
    assert {value.device.type for value in found.values()} == {"meta"}
    expected = build_model(config).state_dict()
    assert [(key, x.shape, x.dtype) for key, x in found.items()] == [(k, x.shape, x.dtype) for k, x in expected.items()]
    assert torch.empty(2).normal_().device.type == "cpu"
