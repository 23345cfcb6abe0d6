"""Under autocast, normalization takes its statistics in float32, and what is judged is float32."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

import pytest
import torch
from torch import nn
from torch._subclasses import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.batching import at_least_float32
from panoptic_blend.models.build import build_model
from panoptic_blend.models.fcos import FCOSHead


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


def test_distances_are_not_rounded() -> None:
    torch.manual_seed(0)
    head = FCOSHead(32, num_classes=3, num_convs=1).eval()
    assert head.distances.bias is not None
    nn.init.constant_(head.distances.bias, 30.0)  # bfloat16 would have steps of 1/8
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        [level] = head([torch.randn(1, 32, 4, 4)], [8])
    assert (level.logits.dtype, level.distances.dtype) == (torch.bfloat16, torch.float32)
    with torch.no_grad():
        expected = nn.functional.relu(head.distances(level.features.float()))
    assert torch.equal(level.distances, expected)
    assert (level.distances * 8 % 1 != 0).any()


class _Types(TorchDispatchMode):
    """The types of numbers that norms and resizes return."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[str, set[torch.dtype]] = {}

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        if name.startswith(("native_group_norm", "upsample")):
            self.found.setdefault(name, set()).add((result[0] if isinstance(result, tuple) else result).dtype)
        return result


def test_norms_and_resizes_on_cuda_keep_half_precision() -> None:
    """Of tensors without values, which a GPU is not needed for; CUDA's autocast would make all of them float32."""
    at_hand = patch("torch.cuda.amp.common.amp_definitely_not_available", lambda: False)
    with FakeTensorMode(), at_hand, patch("torch.cuda.is_bf16_supported", lambda: True), torch.device("cuda"):
        model = build_model(load_config("demo/shapes_r18"))
        with torch.no_grad(), torch.autocast("cuda", dtype=torch.bfloat16), _Types() as types:
            raw = model.raw(torch.empty(1, 3, 64, 64))
    assert set(types.found) >= {"native_group_norm", "upsample_bilinear2d", "upsample_nearest2d"}
    assert set.union(*types.found.values()) == {torch.bfloat16}
    assert raw["p3_distances"].dtype == raw["semantic_logits"].dtype == torch.float32
