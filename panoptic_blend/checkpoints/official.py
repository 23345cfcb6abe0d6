"""Foreign names to ours, one rename table per source."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import torch
from torch import Tensor

_BLENDMASK: list[tuple[str, str | Callable[[re.Match[str]], str]]] = [
    (r"backbone\.bottom_up\.stem\.conv1\.norm\.", "backbone.bn1."),
    (r"backbone\.bottom_up\.stem\.conv1\.", "backbone.conv1."),
    (r"backbone\.bottom_up\.res(?P<stage>[2-5])\.", lambda m: f"backbone.layer{int(m['stage']) - 1}."),
    (r"(backbone\.layer\d\.\d+)\.conv(\d)\.norm\.", r"\1.bn\2."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
    (r"backbone\.fpn_lateral(?P<level>[2-5])\.", lambda m: f"fpn.pyramid.inner_blocks.{int(m['level']) - 2}.0."),
    (r"backbone\.fpn_output(?P<level>[2-5])\.", lambda m: f"fpn.pyramid.layer_blocks.{int(m['level']) - 2}.0."),
    (r"backbone\.top_block\.p(?P<level>[67])\.", lambda m: f"fpn.pyramid.extra_blocks.convs.{int(m['level']) - 6}."),
    (r"proposal_generator\.fcos_head\.cls_tower\.", "fcos.class_tower."),
    (r"proposal_generator\.fcos_head\.bbox_tower\.", "fcos.box_tower."),
    (r"proposal_generator\.fcos_head\.cls_logits\.", "fcos.class_logits."),
    (r"proposal_generator\.fcos_head\.bbox_pred\.", "fcos.distances."),
    (r"proposal_generator\.fcos_head\.ctrness\.", "fcos.centerness."),
    (r"basis_module\.seg_head\.", "thing_semantic."),
    (r"basis_module\.", "bottom."),
    (r"panoptic_module\.(p\d)\.(\d)\.norm\.", r"semantic.branches.\1.\2.1."),
    (r"panoptic_module\.(p\d)\.(\d)\.", r"semantic.branches.\1.\2.0."),
    (r"panoptic_module\.predictor\.", "semantic.predictor."),
]
"""Panoptic BlendMask of the official implementation (AdelaiDet on detectron2), by regular expression."""


def adapt(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict of any known kind, recognised by its keys; one of unknown kind is left as it is."""
    if any(name.startswith("basis_module.") for name in state):
        return from_official_blendmask(state)
    if "conv1.weight" in state and "layer1.0.conv1.weight" in state:
        return from_torchvision_resnet(state)
    return dict(state)


def rename(name: str) -> str:
    """Our name of a parameter of the official BlendMask."""
    for pattern, replacement in _BLENDMASK:
        name = re.sub(f"^{pattern}" if pattern[0].isalpha() else pattern, replacement, name)
    return name


def from_official_blendmask(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Our state dict of an official BlendMask.

    It reads BGR in 0..255 with the mean taken off, and has its strides in 1x1 convolutions: the stem's
    channels are turned round, and the buffers set that say the rest.
    """
    result = {rename(name): value for name, value in state.items() if not name.startswith("pixel_")}
    if "backbone.conv1.weight" in result:
        result["backbone.conv1.weight"] = result["backbone.conv1.weight"].flip(1)
    result["backbone.stride_in_1x1"] = torch.tensor(True)
    result["pixel_mean"] = torch.tensor([123.675, 116.28, 103.53])
    result["pixel_std"] = torch.ones(3)
    return result


def from_torchvision_resnet(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The backbone of a torchvision ResNet; its pixel statistics are our defaults."""
    backbone = {f"backbone.{name}": value for name, value in state.items() if not name.startswith("fc.")}
    return backbone | {"backbone.stride_in_1x1": torch.tensor(False)}
