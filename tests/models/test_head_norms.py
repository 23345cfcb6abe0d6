from __future__ import annotations

import pytest
import torch
from torch import nn

from panoptic_blend.models.head_norms import head_norm, on_levels


def test_a_batch_norm_has_the_statistics_of_all_levels_together() -> None:
    """Four cells of 1 and four of 5: mean 3, variance 4; alone, each level would become 0."""
    norm = head_norm("bn", 2)
    assert isinstance(norm, nn.BatchNorm2d)
    levels = [torch.ones(1, 2, 2, 2), 5 * torch.ones(1, 2, 1, 4)]
    fine, coarse = on_levels(nn.Sequential(norm), levels)
    assert (fine.shape, coarse.shape) == ((1, 2, 2, 2), (1, 2, 1, 4))
    assert fine.tolist() == [[[[pytest.approx(-1, abs=1e-4)] * 2] * 2] * 2]
    assert coarse.tolist() == [[[[pytest.approx(1, abs=1e-4)] * 4]] * 2]
    assert norm.running_mean is not None
    assert norm.running_mean.tolist() == pytest.approx([0.3, 0.3])
    [alone] = on_levels(nn.Sequential(norm.eval()), levels[:1])
    assert torch.equal(alone, norm(levels[0]))


def test_a_level_of_one_cell_has_a_variance() -> None:
    for kind in ("gn", "bn"):
        found = on_levels(nn.Sequential(head_norm(kind, 32)), [torch.randn(1, 32, 2, 2), torch.randn(1, 32, 1, 1)])
        assert found[1].abs().max() > 0
