"""EfficientNet-Lite's weights under timm's names."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from evaluation.efficientnet_lite import renamed, timm_weights

STAGES = [1, 2]


def test_layers_of_stem_blocks_and_head_get_their_names() -> None:
    state = {
        name: torch.zeros(1)
        for name in (
            "_conv_stem.weight",
            "_bn0.running_mean",
            "_blocks.0._depthwise_conv.weight",
            "_blocks.0._bn1.bias",
            "_blocks.0._project_conv.weight",
            "_blocks.0._bn2.bias",
            "_blocks.2._expand_conv.weight",
            "_blocks.2._bn0.bias",
            "_blocks.2._depthwise_conv.weight",
            "_blocks.2._bn1.bias",
            "_blocks.2._project_conv.weight",
            "_blocks.2._bn2.bias",
            "_conv_head.weight",
            "_bn1.bias",
            "_fc.bias",
        )
    }
    assert list(renamed(state, STAGES)) == [
        "conv_stem.weight",
        "bn1.running_mean",
        "blocks.0.0.conv_dw.weight",
        "blocks.0.0.bn1.bias",
        "blocks.0.0.conv_pw.weight",
        "blocks.0.0.bn2.bias",
        "blocks.1.1.conv_pw.weight",
        "blocks.1.1.bn1.bias",
        "blocks.1.1.conv_dw.weight",
        "blocks.1.1.bn2.bias",
        "blocks.1.1.conv_pwl.weight",
        "blocks.1.1.bn3.bias",
        "conv_head.weight",
        "bn2.bias",
        "classifier.bias",
    ]


@pytest.mark.parametrize("name", ["_blocks.3._bn0.bias", "_blocks.0._expand_conv.weight", "layer1.weight"])
def test_other_weights_are_refused(name: str, refused: Callable[..., str]) -> None:
    assert name in refused(renamed, {name: torch.zeros(1)}, STAGES)


def test_the_network_is_recognized_by_its_blocks_and_widths(refused: Callable[..., str]) -> None:
    timm: Any = pytest.importorskip("timm")
    net = timm.create_model("tf_efficientnet_lite0")
    given = _old_names(net.state_dict())
    network, found = timm_weights(given)
    assert network == "tf_efficientnet_lite0"
    assert all(torch.equal(found[name], value) for name, value in net.state_dict().items())
    assert "tf_efficientnet_lite2" in refused(timm_weights, {})


def _old_names(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of what is tested, written as a search: each new name is made from its only old one."""
    layers = ["conv_stem", "bn0", "conv_head", "bn1", "fc"]
    blocks = ["expand_conv", "bn0", "depthwise_conv", "bn1", "project_conv", "bn2"]
    parameters = {name.rpartition(".")[2] for name in state}
    olds = [f"_{layer}" for layer in layers]
    olds += [f"_blocks.{i}._{b}" for i in range(16) for b in blocks if i or b not in ("expand_conv", "bn0")]
    nothing = torch.zeros(0)
    by_new = {
        new: f"{old}.{parameter}"
        for old in olds
        for parameter in parameters
        for new in renamed({f"{old}.{parameter}": nothing}, [1, 2, 2, 3, 3, 4, 1])
    }
    return {by_new[name]: value for name, value in state.items()}
