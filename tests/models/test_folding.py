from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from branches import branch_of
from torch import Tensor, nn
from torchvision.ops import FrozenBatchNorm2d

from panoptic_blend.config.experiment import load_config
from panoptic_blend.models.backbones.timm import TimmBackbone
from panoptic_blend.models.build import build_model
from panoptic_blend.models.folding import fold_norms, round_weights
from panoptic_blend.structures import PanopticBlendError

NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)
NARROW = ["model.fpn.channels=32", "model.bottom.channels=8", "model.semantic.channels=32"]


@torch.no_grad()
def randomize_norms(network: nn.Module) -> None:
    norms: list[Any] = [module for module in network.modules() if isinstance(module, NORMS)]
    for norm in norms:
        for values, low in ((norm.weight, 0.5), (norm.running_var, 0.5), (norm.bias, -0.5)):
            values.copy_(torch.rand_like(values) + low)
        norm.running_mean.copy_(torch.randn_like(norm.running_mean))


@pytest.mark.parametrize(
    "overrides",
    [
        ["model.backbone.depth=18"],
        ["model.backbone.norm=bn", "model.backbone.depth=18"],
        ["model.backbone.deformable_every=3"],
        ["model.bottom.kind=deeplab", "model.bottom.features=[p3, p5]", "model.backbone.depth=18"],
        ["model.fcos.norm=bn", "model.fcos.shared_convs=1", "model.semantic.norm=bn", "model.backbone.depth=18"],
    ],
)
@torch.no_grad()
def test_a_folded_model_says_the_same(overrides: list[str]) -> None:
    torch.manual_seed(0)
    model = build_model(load_config("panoptic/blendmask_r50_3x", [*NARROW, *overrides])).eval()
    randomize_norms(model)
    folded = copy.deepcopy(model)
    fold_norms(folded)
    assert not any(isinstance(module, NORMS) for module in folded.modules())
    batch = torch.randn(1, 3, 64, 96)
    found, expected = folded.features(batch), model.features(batch)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=1e-4 * value.abs().max().item())
    raw = branch_of(folded).raw(expected)
    for name, value in branch_of(model).raw(expected).items():
        torch.testing.assert_close(raw[name], value, rtol=0, atol=1e-4 * value.abs().max().item())


def test_a_folded_model_cannot_be_trained() -> None:
    """It would seem to learn, but no model could load the result."""
    model = build_model(load_config("demo/shapes_r18")).eval()
    model.train().eval()
    fold_norms(model)
    assert not model.eval().training
    for call in (model.train, nn.Sequential(copy.deepcopy(model)).train):
        with pytest.raises(
            PanopticBlendError, match="its norms are folded into convolutions; train a new one: model = "
        ):
            call()
    assert not model.training
    model.training = True
    with pytest.raises(PanopticBlendError, match="cannot be trained"):
        model([torch.rand(3, 64, 64)], [])


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize(
    "overrides",
    [
        ["model.backbone.depth=18"],
        ["model.backbone.deformable_every=3"],
        ["model.instances=mask_rcnn", "model.backbone.depth=18"],
        ["model.backbone={kind: timm, name: test_convnext}"],
        ["model.backbone={kind: timm, name: test_efficientnet}"],
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


# --- backbones of others ---------------------------------------------------------------------------------------------


def folded_copy(backbone: nn.Module) -> nn.Module:
    model = nn.Module()
    model.backbone = copy.deepcopy(backbone)
    fold_norms(model)
    return model.backbone


@torch.no_grad()
def require_same_features(backbone: nn.Module, folded: nn.Module) -> None:
    images = torch.randn(2, 3, 96, 64)
    expected, found = backbone(images), folded(images)
    for stage, value in expected.items():
        assert value.std() > 0
        torch.testing.assert_close(found[stage], value, rtol=0, atol=1e-4 * value.abs().max().item())


@pytest.mark.parametrize(
    ("name", "norms", "left"),
    [
        ("test_convnext", 0, 0),
        ("efficientnet_lite0", 48, 0),
        ("mobilenetv4_conv_small_035", 45, 0),
        ("regnetx_002", 44, 0),
        ("resnet18", 20, 0),
        ("resnetv2_18", 16, 8),  # the first norm of each of its eight blocks reads no convolution
        ("repvgg_a0", 61, 17),  # nor does one in the place of a shortcut
    ],
)
def test_a_folded_network_of_timm_says_the_same(name: str, norms: int, left: int) -> None:
    pytest.importorskip("timm")
    torch.manual_seed(0)
    backbone = TimmBackbone(name, "bn", 0).eval()
    randomize_norms(backbone)
    folded = folded_copy(backbone)
    counts = [sum(isinstance(module, NORMS) for module in network.modules()) for network in (backbone, folded)]
    assert counts == [norms, left]
    require_same_features(backbone, folded)


class Bent(nn.Module):
    """A backbone in which no norm reads the convolution before it alone, but for the last one."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, stride=4, padding=1), nn.BatchNorm2d(8)  # which is added to its input
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)  # which reads conv3
        self.conv3, self.norm3 = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8)  # which reads conv2, twice
        self.conv4, self.norm4 = nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)  # whose input is c4
        self.conv5, self.norm5 = nn.Conv2d(8, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8)

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        x = self.conv(images)
        c2 = x + self.norm(x)
        x = self.conv2(c2)
        c3 = self.norm2(self.conv3(self.norm3(x) + self.norm3(2 * x)))
        c4 = self.conv4(c3)
        return {"c2": c2, "c3": c3, "c4": c4, "c5": self.norm5(self.conv5(self.norm4(c4)))}


def test_order_proves_nothing_in_code_of_others() -> None:
    torch.manual_seed(0)
    backbone = Bent().eval()
    randomize_norms(backbone)
    folded = folded_copy(backbone)
    left = [name for name, module in folded.named_modules() if isinstance(module, NORMS)]
    assert left == ["norm", "norm3", "norm4"]  # norm2 reads conv3 wherever it stands
    require_same_features(backbone, folded)


class Standardized(nn.Conv2d):
    """A convolution whose weight cannot take a factor: it is divided by its own size."""

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight / self.weight.std(), self.bias, self.stride, self.padding)


class Curious(Bent):
    """Looks at a norm that folding would take away."""

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        features = super().forward(images)
        return features | {"c5": features["c5"] * self.norm5.eps**0}


@pytest.mark.parametrize("kind", [Standardized, Curious])
def test_what_differs_after_folding_is_left_unfolded(kind: type[nn.Module]) -> None:
    torch.manual_seed(0)
    backbone = Bent() if kind is Standardized else kind()
    if kind is Standardized:
        backbone.conv5 = Standardized(8, 8, 3, stride=2, padding=1)
    randomize_norms(backbone.eval())
    folded = folded_copy(backbone)
    assert any(module is folded.norm5 for module in folded.modules() if isinstance(module, NORMS))
    require_same_features(backbone, folded)


def test_folding_leaves_the_generators_alone() -> None:
    backbone = Bent().eval()
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    folded_copy(backbone)
    assert torch.equal(torch.rand(3), expected)
