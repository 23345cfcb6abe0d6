from __future__ import annotations

import json
from functools import cache

import pytest
import torch
from golden_weights import GOLDEN
from torch import Tensor
from torchvision.models import resnet18, resnet50

from panoptic_blend.checkpoints.official import adapt, from_official_blendmask, from_torchvision_resnet, rename
from panoptic_blend.config import Config
from panoptic_blend.models.backbone import ResNet
from panoptic_blend.models.build import build_model


@cache
def official_shapes() -> dict[str, tuple[int, ...]]:
    """Names and shapes in a state dict of the official panoptic R-50 model."""
    manifest = json.loads((GOLDEN / "manifest_panoptic_R_50.json").read_text())
    return {entry["name"]: tuple(entry["shape"]) for entry in manifest["entries"]}


def official_state() -> dict[str, Tensor]:
    return {name: torch.zeros(shape) for name, shape in official_shapes().items() if "bottom_up.res" not in name}


def test_every_official_tensor_has_one_place() -> None:
    with torch.device("meta"):
        own = {name: tuple(value.shape) for name, value in build_model(Config()).state_dict().items()}
    for buffer in ("pixel_mean", "pixel_std", "backbone.stride_in_1x1"):
        own.pop(buffer)
    assert {rename(name): shape for name, shape in official_shapes().items()} == own
    assert len({rename(name) for name in official_shapes()}) == len(official_shapes())


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("backbone.bottom_up.stem.conv1.weight", "backbone.conv1.weight"),
        ("backbone.bottom_up.stem.conv1.norm.running_var", "backbone.bn1.running_var"),
        ("backbone.bottom_up.res2.0.shortcut.weight", "backbone.layer1.0.downsample.0.weight"),
        ("backbone.bottom_up.res5.2.conv3.norm.bias", "backbone.layer4.2.bn3.bias"),
        ("backbone.fpn_lateral2.bias", "fpn.pyramid.inner_blocks.0.0.bias"),
        ("backbone.fpn_output5.weight", "fpn.pyramid.layer_blocks.3.0.weight"),
        ("backbone.top_block.p7.weight", "fpn.pyramid.extra_blocks.convs.1.weight"),
        ("proposal_generator.fcos_head.bbox_tower.9.weight", "fcos.box_tower.9.weight"),
        ("proposal_generator.fcos_head.ctrness.bias", "fcos.centerness.bias"),
        ("basis_module.refine.2.1.running_mean", "bottom.refine.2.1.running_mean"),
        ("basis_module.seg_head.6.weight", "thing_semantic.6.weight"),
        ("panoptic_module.p5.4.norm.weight", "semantic.branches.p5.4.1.weight"),
        ("panoptic_module.p5.4.weight", "semantic.branches.p5.4.0.weight"),
        ("top_layer.weight", "top_layer.weight"),
    ],
)
def test_rename(theirs: str, ours: str) -> None:
    assert rename(theirs) == ours


def test_blue_green_red_becomes_red_green_blue() -> None:
    state = official_state()
    stem = torch.randn(64, 3, 7, 7)
    state["backbone.bottom_up.stem.conv1.weight"] = stem
    found = from_official_blendmask(state)
    blue, green, red = found["backbone.conv1.weight"].flip(1).unbind(1)
    assert torch.equal(torch.stack([blue, green, red], dim=1), stem)
    assert torch.equal(found["backbone.conv1.weight"][:, 0], stem[:, 2])
    assert found["pixel_mean"].tolist() == torch.tensor([123.675, 116.28, 103.53]).tolist()
    assert found["pixel_std"].tolist() == [1.0, 1.0, 1.0]
    assert found["backbone.stride_in_1x1"].item() is True


def test_a_normalised_picture_is_the_same_to_both() -> None:
    """The stem sees what the official one sees: BGR, mean off, in 0..255."""
    torch.manual_seed(0)
    stem, image = torch.randn(64, 3, 7, 7), torch.randint(0, 256, (3, 9, 9)).float()
    found = from_official_blendmask(official_state() | {"backbone.bottom_up.stem.conv1.weight": stem})
    theirs = torch.conv2d((image.flip(0) - torch.tensor([103.53, 116.28, 123.675])[:, None, None])[None], stem)
    normalised = (image - found["pixel_mean"][:, None, None]) / found["pixel_std"][:, None, None]
    ours = torch.conv2d(normalised[None], found["backbone.conv1.weight"])
    torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-2)


def test_pixel_statistics_in_the_file_are_not_taken_for_ours() -> None:
    state = official_state() | {"pixel_mean": torch.zeros(3, 1, 1), "pixel_std": torch.zeros(3, 1, 1)}
    assert from_official_blendmask(state)["pixel_mean"].shape == (3,)


def test_what_has_no_place_is_kept_so_that_loading_can_object() -> None:
    state = official_state() | {"proposal_generator.fcos_head.scales.0.scale": torch.ones(1)}
    assert "proposal_generator.fcos_head.scales.0.scale" in from_official_blendmask(state)
    del state["backbone.bottom_up.stem.conv1.weight"]
    assert "backbone.conv1.weight" not in from_official_blendmask(state)


def test_torchvision_backbone() -> None:
    with torch.device("meta"):
        theirs, own = resnet50().state_dict(), ResNet(50, "bn").state_dict()
    found = from_torchvision_resnet(theirs)
    assert found.keys() == {f"backbone.{name}" for name in own}
    assert found["backbone.stride_in_1x1"].item() is False


def test_kinds_are_recognised_by_their_keys() -> None:
    assert adapt(official_state()).keys() == from_official_blendmask(official_state()).keys()
    with torch.device("meta"):
        theirs = resnet18().state_dict()
    assert adapt(theirs).keys() == from_torchvision_resnet(theirs).keys()
    ours = {"backbone.conv1.weight": torch.zeros(1), "anything": torch.zeros(2)}
    assert adapt(ours) == ours
    assert adapt(ours) is not ours
