from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from branches import branch_of
from torch import nn
from torchvision.ops import FrozenBatchNorm2d

from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.build import build_model
from panoptic_blend.models.folding import fold_norms, round_weights

NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)
NARROW = ["model.fpn.channels=32", "model.bottom.channels=8", "model.semantic.channels=32"]


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.backbone.depth=18"],
        ["model.backbone.norm=bn", "model.backbone.depth=18"],
        ["model.backbone.deformable_every=3"],
        ["model.bottom.kind=deeplab", "model.bottom.features=[p3, p5]", "model.backbone.depth=18"],
    ],
)
@torch.no_grad()
def test_a_folded_model_says_the_same(overrides: list[str]) -> None:
    torch.manual_seed(0)
    model = build_model(load_config("panoptic/blendmask_r50_3x", [*NARROW, *overrides])).eval()
    norms: list[Any] = [module for module in model.modules() if isinstance(module, NORMS)]
    for norm in norms:
        for values, low in ((norm.weight, 0.5), (norm.running_var, 0.5), (norm.bias, -0.5)):
            values.copy_(torch.rand_like(values) + low)
        norm.running_mean.copy_(torch.randn_like(norm.running_mean))
    folded = copy.deepcopy(model)
    fold_norms(folded)
    assert not any(isinstance(module, NORMS) for module in folded.modules())
    batch = torch.randn(1, 3, 64, 96)
    found, expected = folded.features(batch), model.features(batch)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-4 * value.abs().max().item())
    bases = branch_of(model).bottom(expected)
    torch.testing.assert_close(branch_of(folded).bottom(found), bases, rtol=0, atol=1e-4 * bases.abs().max().item())


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "overrides",
    [
        ["model.backbone.depth=18"],
        ["model.backbone.deformable_every=3"],
        ["model.instances=mask_rcnn", "model.backbone.depth=18"],
    ],
)
@torch.no_grad()
def test_rounded_weights_say_what_autocast_says_of_others(overrides: list[str], dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    model = build_model(load_config("panoptic/blendmask_r50_3x", [*NARROW, *overrides, "model.fusion.confidence=0"]))
    fold_norms(model.eval())
    rounded = copy.deepcopy(model)
    round_weights(rounded, dtype)
    assert rounded.fpn.pyramid.inner_blocks[0][0].weight.dtype == dtype
    image = [torch.randint(0, 256, (3, 64, 96), dtype=torch.uint8)]
    with torch.autocast("cpu", dtype=dtype):
        [expected], [found] = model(image), rounded(image)
    for name in ("boxes", "scores", "labels", "semantic", "bases", "attentions"):
        left, right = getattr(found, name), getattr(expected, name)
        assert left is right is None or torch.equal(left, right), name
    assert (found.panoptic.segment_ids == expected.panoptic.segment_ids).all()
