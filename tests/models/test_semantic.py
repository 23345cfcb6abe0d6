from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from panoptic_blend.models.batching import Doubling
from panoptic_blend.models.semantic import SemanticHead


def pyramid(channels: int, height: int, width: int) -> dict[str, Tensor]:
    """Random levels p2..p5 for an image of ``height`` x ``width``, multiples of 32."""
    return {f"p{i}": torch.randn(2, channels, height // 2**i, width // 2**i) for i in (2, 3, 4, 5)}


def test_logits_are_at_a_quarter_of_the_image() -> None:
    head = SemanticHead(in_channels=6, num_classes=5, channels=64)
    assert head(pyramid(6, 64, 96)).shape == (2, 5, 16, 24)
    assert head.stride == 4


def test_stages_per_level() -> None:
    """Panoptic-FPN, figure 3: three, two, one upsamplings, and none at stride 4, but always one convolution."""
    head = SemanticHead(in_channels=6, num_classes=5, channels=64)
    counts = {
        name: tuple(sum(isinstance(m, kind) for m in branch.modules()) for kind in (nn.Conv2d, Doubling))
        for name, branch in head.branches.items()
    }
    assert counts == {"p2": (1, 0), "p3": (1, 1), "p4": (2, 2), "p5": (3, 3)}
    assert all(m.num_groups == 32 for m in head.modules() if isinstance(m, nn.GroupNorm))


def test_sum_of_the_branches_by_formula() -> None:
    torch.manual_seed(0)
    head = SemanticHead(in_channels=6, num_classes=5, channels=64)
    for parameter in head.parameters():
        nn.init.normal_(parameter, mean=0.1, std=0.2)
    state, given = head.state_dict(), pyramid(6, 64, 64)

    def stage(x: Tensor, name: str) -> Tensor:
        x = F.conv2d(x, state[f"branches.{name}.0.weight"], padding=1)
        return F.relu(F.group_norm(x, 32, state[f"branches.{name}.1.weight"], state[f"branches.{name}.1.bias"]))

    def doubled(x: Tensor) -> Tensor:
        return F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)

    total = stage(given["p2"], "p2.0") + doubled(stage(given["p3"], "p3.0"))
    total = total + doubled(stage(doubled(stage(given["p4"], "p4.0")), "p4.2"))
    total = total + doubled(stage(doubled(stage(doubled(stage(given["p5"], "p5.0")), "p5.2")), "p5.4"))
    expected = F.conv2d(total, state["predictor.weight"], state["predictor.bias"])
    torch.testing.assert_close(head(given), expected)


def test_reads_the_levels_it_was_given() -> None:
    head = SemanticHead(in_channels=6, num_classes=5, channels=64, levels=("p2", "p3"))
    given = pyramid(6, 64, 64)
    assert head({"p2": given["p2"], "p3": given["p3"]}).shape == (2, 5, 16, 16)


def test_initial_values() -> None:
    """Kaiming normal, fan out; bias 0."""
    torch.manual_seed(0)
    head = SemanticHead(in_channels=64, num_classes=54, channels=64)
    convs = [module for module in head.modules() if isinstance(module, nn.Conv2d)]
    assert len(convs) == 8
    for conv in convs:
        fan_out = conv.out_channels * conv.kernel_size[0] * conv.kernel_size[1]
        assert conv.weight.std().item() == pytest.approx((2 / fan_out) ** 0.5, rel=0.05)
    assert head.predictor.bias is not None
    assert not head.predictor.bias.any()


def test_one_cell_and_the_narrowest_head() -> None:
    """An image of 32 x 32 pixels has one cell on p5."""
    head = SemanticHead(in_channels=6, num_classes=5, channels=32)
    given = {name: x[:1] for name, x in pyramid(6, 32, 32).items()}
    assert head(given).isfinite().all()
