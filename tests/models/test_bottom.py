from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.models.bottom import DeepLabDecoder, ProtoNet, SharedBottom, ThingSemanticHead

PYRAMID = {"p3": 6, "p4": 6, "p5": 6}


def pyramid(channels: int, height: int, width: int) -> dict[str, Tensor]:
    """Random levels p2..p5 for an image of ``height`` x ``width``, multiples of 32."""
    return {f"p{i}": torch.randn(2, channels, height // 2**i, width // 2**i) for i in (2, 3, 4, 5)}


@pytest.mark.parametrize("num_bases", [1, 4])
@pytest.mark.parametrize("num_convs", [0, 3])
def test_bases_are_at_a_quarter_of_the_image(num_bases: int, num_convs: int) -> None:
    bottom = ProtoNet(PYRAMID, num_bases=num_bases, channels=4, num_convs=num_convs)
    bases = bottom(pyramid(6, 64, 96))
    assert bases.shape == (2, num_bases, 16, 24)
    assert bottom.stride == 4


def test_convolutions() -> None:
    """One per level, num_convs before the upsampling, one after it, then the 1x1 to the bases."""
    bottom = ProtoNet(PYRAMID, num_bases=4, channels=5, num_convs=3)
    convs = [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in bottom.modules() if isinstance(m, nn.Conv2d)]
    assert convs == [(6, 5, 3)] * 3 + [(5, 5, 3)] * 4 + [(5, 4, 1)]


def test_levels_are_resized_and_summed() -> None:
    torch.manual_seed(0)
    bottom = ProtoNet(PYRAMID, num_bases=4, channels=5, num_convs=1).eval()
    given = pyramid(6, 64, 96)
    fine, middle, coarse = (block(given[name]) for block, name in zip(bottom.refine, ("p3", "p4", "p5"), strict=True))

    def enlarged(x: Tensor) -> Tensor:
        return F.interpolate(x, size=(8, 12), mode="bilinear", align_corners=False)

    torch.testing.assert_close(bottom(given), bottom.tower(fine + enlarged(middle) + enlarged(coarse)))


def test_reads_the_levels_it_was_given() -> None:
    torch.manual_seed(0)
    bottom = ProtoNet({"p4": 6}, num_bases=2, channels=4, num_convs=0).eval()
    given = pyramid(6, 64, 96)
    assert bottom({"p4": given["p4"]}).shape == (2, 2, 8, 12)
    assert not torch.equal(bottom(given), bottom(given | {"p4": given["p4"] + 1}))


def test_initial_values() -> None:
    """Kaiming uniform with a = 1 in the blocks; the last 1x1 is left to PyTorch's default, biases and all."""
    torch.manual_seed(0)
    bottom = ProtoNet(dict.fromkeys(PYRAMID, 64), num_bases=16, channels=64)
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


# --- other bottom modules --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("read", "stride"), [({"p3": 6, "p5": 6}, 8), ({"p2": 6, "p5": 6}, 4), ({"c3": 7, "c5": 9}, 8)]
)
def test_decoder_is_as_fine_as_its_first_feature(read: dict[str, int], stride: int) -> None:
    decoder = DeepLabDecoder(read, num_bases=4, channels=5)
    features = {name: torch.randn(2, c, 64 // 2 ** int(name[1]), 96 // 2 ** int(name[1])) for name, c in read.items()}
    assert decoder(features).shape == (2, 4, 64 // stride, 96 // stride)
    assert decoder.stride == stride


def test_decoder_joins_fine_and_coarse() -> None:
    """48 channels of the fine feature beside the resized coarse one (DeepLabV3+, section 3.1)."""
    torch.manual_seed(0)
    decoder = DeepLabDecoder({"p3": 6, "p5": 6}, num_bases=2, channels=5).eval()
    given = pyramid(6, 64, 96)
    coarse = F.interpolate(decoder.coarse(given["p5"]), size=(8, 12), mode="bilinear", align_corners=False)
    joined = torch.cat([decoder.fine(given["p3"]), coarse], dim=1)
    assert joined.shape[1] == 48 + 5
    torch.testing.assert_close(decoder(given), decoder.tower(joined))
    convs = [(m.in_channels, m.out_channels, m.kernel_size[0]) for m in decoder.modules() if isinstance(m, nn.Conv2d)]
    assert convs == [(6, 48, 1), (6, 5, 1), (53, 5, 3), (5, 5, 3), (5, 2, 1)]


def test_shared_bottom_predicts_from_the_trunk() -> None:
    shared = SharedBottom(in_channels=6, num_bases=4)
    trunk = torch.randn(2, 6, 16, 24)
    torch.testing.assert_close(shared({"trunk": trunk}), shared.predictor(trunk))
    assert shared.stride == 4
    assert sum(p.numel() for p in shared.parameters()) == 6 * 4 + 4
