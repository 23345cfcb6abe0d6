from __future__ import annotations

import torch

from panoptic_blend.models.batching import at_least_float32, pad


def test_pad() -> None:
    found = pad([torch.ones(2, 32), torch.ones(33, 1)], 7.0)
    assert found.shape == (2, 64, 32)
    assert found[0].tolist() == [[1] * 32] * 2 + [[7] * 32] * 62
    assert found[1].tolist() == [[1] + [7] * 31] * 33 + [[7] * 32] * 31
    assert pad([torch.zeros(5, 64, 3)], 0).shape == (1, 5, 64, 32)


def test_at_least_float32() -> None:
    assert at_least_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert at_least_float32(torch.zeros(1, dtype=torch.float16)).dtype == torch.float32
    assert at_least_float32(torch.zeros(1, dtype=torch.float32)).dtype == torch.float32
    assert at_least_float32(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
