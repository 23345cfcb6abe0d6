from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from panoptic_blend.models.fpn import FPN


def features(height: int, width: int) -> dict[str, torch.Tensor]:
    """Random stages of strides 4..32 of an image of ``height`` x ``width``."""
    channels = {"c2": 2, "c3": 3, "c4": 5, "c5": 7}
    return {
        name: torch.randn(2, c, -(-height // 2 ** int(name[1])), -(-width // 2 ** int(name[1])))
        for name, c in channels.items()
    }


def test_shapes() -> None:
    fpn = FPN({"c2": 2, "c3": 3, "c4": 5, "c5": 7}, channels=8)
    assert fpn.levels == ("p2", "p3", "p4", "p5", "p6", "p7")
    pyramid = fpn(features(64, 160))
    assert {name: tuple(x.shape) for name, x in pyramid.items()} == {
        "p2": (2, 8, 16, 40),
        "p3": (2, 8, 8, 20),
        "p4": (2, 8, 4, 10),
        "p5": (2, 8, 2, 5),
        "p6": (2, 8, 1, 3),
        "p7": (2, 8, 1, 2),
    }


@pytest.mark.parametrize(("extra_levels", "levels"), [(0, ("p3", "p4", "p5")), (1, ("p3", "p4", "p5", "p6"))])
def test_reads_the_stages_it_was_given(extra_levels: int, levels: tuple[str, ...]) -> None:
    fpn = FPN({"c3": 3, "c4": 5, "c5": 7}, channels=8, extra_levels=extra_levels)
    assert fpn.levels == levels
    pyramid = fpn(features(64, 64))
    assert tuple(pyramid) == levels
    assert pyramid["p3"].shape == (2, 8, 8, 8)


def test_every_level_by_formula() -> None:
    """Laterals, top-down sums by nearest neighbours, outputs; p6 from the output p5, p7 from ReLU of p6."""
    torch.manual_seed(0)
    fpn = FPN({"c3": 3, "c4": 5, "c5": 7}, channels=8)
    for parameter in fpn.parameters():
        nn.init.normal_(parameter)
    given = features(64, 64)
    found = fpn(given)
    state = fpn.pyramid.state_dict()

    def conv(x: torch.Tensor, name: str, **options: int) -> torch.Tensor:
        return F.conv2d(x, state[f"{name}.weight"], state[f"{name}.bias"], **options)

    inner5 = conv(given["c5"], "inner_blocks.2.0")
    inner4 = conv(given["c4"], "inner_blocks.1.0") + inner5.repeat_interleave(2, 2).repeat_interleave(2, 3)
    inner3 = conv(given["c3"], "inner_blocks.0.0") + inner4.repeat_interleave(2, 2).repeat_interleave(2, 3)
    expected = {
        "p3": conv(inner3, "layer_blocks.0.0", padding=1),
        "p4": conv(inner4, "layer_blocks.1.0", padding=1),
        "p5": conv(inner5, "layer_blocks.2.0", padding=1),
    }
    expected["p6"] = conv(expected["p5"], "extra_blocks.convs.0", stride=2, padding=1)
    expected["p7"] = conv(expected["p6"].relu(), "extra_blocks.convs.1", stride=2, padding=1)
    assert found.keys() == expected.keys()
    for name, x in expected.items():
        torch.testing.assert_close(found[name], x, rtol=1e-4, atol=1e-4)


def test_initial_values() -> None:
    """Kaiming uniform with a = 1: bound sqrt(3 / fan in); biases 0."""
    torch.manual_seed(0)
    fpn = FPN({"c3": 128, "c5": 512}, channels=64)
    convs = [module for module in fpn.modules() if isinstance(module, nn.Conv2d)]
    assert len(convs) == 6
    for conv in convs:
        bound = (3 / (conv.in_channels * conv.kernel_size[0] * conv.kernel_size[1])) ** 0.5
        assert 0.99 * bound < conv.weight.abs().max().item() <= bound
        assert conv.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
        assert conv.bias is not None
        assert not conv.bias.any()


def test_pooled_level() -> None:
    """Mask R-CNN's P6: every other value of P5, and no parameters of its own."""
    fpn = FPN({"c2": 2, "c3": 3, "c4": 5, "c5": 7}, channels=8, pooled_level=True)
    assert fpn.levels == ("p2", "p3", "p4", "p5", "p6")
    pyramid = fpn(features(96, 160))
    assert torch.equal(pyramid["p6"], pyramid["p5"][:, :, ::2, ::2])
    assert sum(isinstance(module, nn.Conv2d) for module in fpn.modules()) == 8
