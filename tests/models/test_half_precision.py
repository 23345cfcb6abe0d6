"""Under autocast, normalization takes its statistics in float32, and what is judged is float32."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from panoptic_blend.models.batching import at_least_float32


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("norm", [nn.GroupNorm(4, 16), nn.BatchNorm2d(16)], ids=["group", "batch"])
def test_statistics_of_a_norm_are_not_rounded(half: torch.dtype, norm: nn.Module) -> None:
    """Mean 40, deviation 1: statistics in half precision would be off by more than the deviation."""
    torch.manual_seed(0)
    x = (torch.randn(2, 16, 40, 40) + 40).to(half)
    with torch.autocast("cpu", dtype=half):
        found = norm.train()(x)
    expected = norm.double()(x.double())
    norm.float()
    assert (found.double() - expected).abs().max() < 4 * 2**-8  # the rounding of a result up to 4


def test_what_is_judged_is_at_least_float32() -> None:
    for given, found in (
        (torch.bfloat16, torch.float32),
        (torch.float16, torch.float32),
        (torch.float64, torch.float64),
    ):
        assert at_least_float32(torch.zeros(1, dtype=given)).dtype == found
