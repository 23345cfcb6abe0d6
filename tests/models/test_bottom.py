from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.models.bottom import ProtoNet, ThingSemanticHead


def pyramid(channels: int, height: int, width: int) -> dict[str, Tensor]:
    """Random levels p2..p5 for an image of ``height`` x ``width``, multiples of 32."""
    return {f"p{i}": torch.randn(2, channels, height // 2**i, width // 2**i) for i in (2, 3, 4, 5)}


@pytest.mark.parametrize("num_bases", [1, 4])
@pytest.mark.parametrize("num_convs", [0, 3])
def test_bases_are_at_a_quarter_of_the_image(num_bases: int, num_convs: int) -> None:
    bottom = ProtoNet(in_channels=6, num_bases=num_bases, channels=4, num_convs=num_convs)
    bases = bottom(pyramid(6, 64, 96))
    assert bases.shape == (2, num_bases, 16, 24)
    assert bottom.stride == 4


def test_convolutions() -> None:
    """One per level, num_convs before the upsampling, one after it, then the 1x1 to the bases."""
    bottom = ProtoNet(in_channels=6, num_bases=4, channels=5, num_convs=3)
    convs = [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in bottom.modules() if isinstance(m, nn.Conv2d)]
    assert convs == [(6, 5, 3)] * 3 + [(5, 5, 3)] * 4 + [(5, 4, 1)]


def test_levels_are_resized_and_summed() -> None:
    torch.manual_seed(0)
    bottom = ProtoNet(in_channels=6, num_bases=4, channels=5, num_convs=1).eval()
    given = pyramid(6, 64, 96)
    fine, middle, coarse = (block(given[name]) for block, name in zip(bottom.refine, ("p3", "p4", "p5"), strict=True))

    def enlarged(x: Tensor) -> Tensor:
        return F.interpolate(x, size=(8, 12), mode="bilinear", align_corners=False)

    torch.testing.assert_close(bottom(given), bottom.tower(fine + enlarged(middle) + enlarged(coarse)))


def test_reads_the_levels_it_was_given() -> None:
    torch.manual_seed(0)
    bottom = ProtoNet(in_channels=6, num_bases=2, channels=4, num_convs=0, levels=("p4",)).eval()
    given = pyramid(6, 64, 96)
    assert bottom({"p4": given["p4"]}).shape == (2, 2, 8, 12)
    assert not torch.equal(bottom(given), bottom(given | {"p4": given["p4"] + 1}))


def test_initial_values() -> None:
    """Kaiming uniform with a = 1 in the blocks; the last 1x1 is left to PyTorch's default, biases and all."""
    torch.manual_seed(0)
    bottom = ProtoNet(in_channels=64, num_bases=16, channels=64)
    *blocks, last = (module for module in bottom.modules() if isinstance(module, nn.Conv2d))
    assert len(blocks) == 7
    for conv in blocks:
        bound = (3 / (64 * 9)) ** 0.5
        assert 0.99 * bound < conv.weight.abs().max().item() <= bound
        assert conv.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
        assert conv.bias is None
    assert 0.95 / 8 < last.weight.abs().max().item() <= 1 / 8
    assert last.bias is not None
    assert 0 < last.bias.abs().max().item() <= 1 / 8


def test_auxiliary_head() -> None:
    head = ThingSemanticHead(in_channels=6, channels=4, num_classes=3)
    assert head(torch.randn(2, 6, 8, 12)).shape == (2, 4, 8, 12)
    convs = [module for module in head if isinstance(module, nn.Conv2d)]
    assert [(conv.kernel_size[0], conv.bias is not None) for conv in convs] == [(3, False), (3, False), (1, True)]


def test_initial_values_of_the_auxiliary_head() -> None:
    """PyTorch's default: uniform within 1 / sqrt(fan in)."""
    torch.manual_seed(0)
    head = ThingSemanticHead(in_channels=64, channels=32, num_classes=80)
    for conv, fan_in in zip((m for m in head if isinstance(m, nn.Conv2d)), (64 * 9, 32 * 9, 32), strict=True):
        assert 0.97 / fan_in**0.5 < conv.weight.abs().max().item() <= 1 / fan_in**0.5
