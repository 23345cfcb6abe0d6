"""Weights of detectron2, of the official BlendMask, which is built on it, and of caffe2's backbones."""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from panoptic_blend.checkpoints.renaming import EPSILON, State, Table, renamed, scaled_rgb, with_background_first

_RESNET: Table = [
    (r"backbone\.bottom_up\.stem\.conv1\.norm\.", "backbone.bn1."),
    (r"backbone\.bottom_up\.stem\.conv1\.", "backbone.conv1."),
    (r"backbone\.bottom_up\.res(?P<stage>[2-5])\.", lambda m: f"backbone.layer{int(m['stage']) - 1}."),
    (r"(backbone\.layer\d\.\d+)\.conv(\d)\.norm\.", r"\1.bn\2."),
    (r"(backbone\.layer\d\.\d+)\.conv2_offset\.", r"\1.conv2.offset."),
    (r"\.shortcut\.norm\.", ".downsample.1."),
    (r"\.shortcut\.", ".downsample.0."),
]
"""detectron2's ResNet."""

_SEMANTIC: Table = [
    (r"(?:panoptic_module|sem_seg_head)\.(p\d)\.(\d)\.norm\.", r"semantic.branches.\1.\2.1."),
    (r"(?:panoptic_module|sem_seg_head)\.(p\d)\.(\d)\.", r"semantic.branches.\1.\2.0."),
    (r"(?:panoptic_module|sem_seg_head)\.predictor\.", "semantic.predictor."),
]
"""detectron2's semantic head, under the name that BlendMask gives it and under detectron2's own."""

_BLENDMASK: Table = [
    (r"backbone\.top_block\.p(?P<level>[67])\.", lambda m: f"fpn.pyramid.extra_blocks.convs.{int(m['level']) - 6}."),
    (r"proposal_generator\.fcos_head\.share_tower\.", "instances.fcos.shared_tower."),
    (r"proposal_generator\.fcos_head\.cls_tower\.", "instances.fcos.class_tower."),
    (r"proposal_generator\.fcos_head\.bbox_tower\.", "instances.fcos.box_tower."),
    (r"proposal_generator\.fcos_head\.cls_logits\.", "instances.fcos.class_logits."),
    (r"proposal_generator\.fcos_head\.bbox_pred\.", "instances.fcos.distances."),
    (r"proposal_generator\.fcos_head\.ctrness\.", "instances.fcos.centerness."),
    (r"top_layer\.", "instances.top_layer."),
    (r"basis_module\.seg_head\.", "instances.thing_semantic."),
    (r"basis_module\.", "instances.bottom."),
]
"""BlendMask of the official implementation (AdelaiDet on detectron2)."""

_RCNN: Table = [
    (r"proposal_generator\.rpn_head\.conv\.", "instances.rpn.head.conv.0.0."),
    (r"proposal_generator\.rpn_head\.objectness_logits\.", "instances.rpn.head.cls_logits."),
    (r"proposal_generator\.rpn_head\.anchor_deltas\.", "instances.rpn.head.bbox_pred."),
    (r"roi_heads\.box_head\.fc(?P<layer>[12])\.", lambda m: f"instances.roi_heads.box_head.fc{int(m['layer']) + 5}."),
    (r"roi_heads\.box_predictor\.", "instances.roi_heads.box_predictor."),
    (r"roi_heads\.mask_head\.mask_fcn(?P<n>\d)\.", lambda m: f"instances.roi_heads.mask_head.{int(m['n']) - 1}.0."),
    (r"roi_heads\.mask_head\.deconv\.", "instances.roi_heads.mask_predictor.conv5_mask."),
    (r"roi_heads\.mask_head\.predictor\.", "instances.roi_heads.mask_predictor.mask_fcn_logits."),
]
"""detectron2's Mask R-CNN, to the names of torchvision's parts."""

_CAFFE2: Table = [
    (r"conv1_w$", "backbone.conv1.weight"),
    (r"res_conv1_bn_", "backbone.bn1."),
    (r"res(?P<stage>[2-5])_(?P<block>\d+)_", lambda m: f"backbone.layer{int(m['stage']) - 1}.{m['block']}."),
    (r"(backbone\.layer\d\.\d+)\.branch1_w$", r"\1.downsample.0.weight"),
    (r"(backbone\.layer\d\.\d+)\.branch1_bn_", r"\1.downsample.1."),
    (r"(backbone\.layer\d\.\d+)\.branch2([abc])_w$", lambda m: f"{m[1]}.conv{'_abc'.index(m[2])}.weight"),
    (r"(backbone\.layer\d\.\d+)\.branch2([abc])_bn_", lambda m: f"{m[1]}.bn{'_abc'.index(m[2])}."),
    (r"\.(gamma|s)$", ".weight"),
    (r"\.(beta|b)$", ".bias"),
    (r"\.rm$", ".running_mean"),
    (r"\.riv$", ".running_var"),
]
"""ResNets of the caffe2 lineage, as in detectron2's MSRA pickles."""

_CAFFE2_UNUSED = r".*_momentum|conv1_b|res\d_\d+_branch\d[abc]?_b|(fc\d*|pred)_[wb]"
"""Momenta, biases before normalization (which are 0), and the classifier."""


def _pyramid(finest: int) -> Table:
    """detectron2's FPN, which reads the backbone from stage ``finest`` on; our levels are counted from there."""
    return [
        (r"backbone\.fpn_lateral(?P<n>[2-5])\.", lambda m: f"fpn.pyramid.inner_blocks.{int(m['n']) - finest}.0."),
        (r"backbone\.fpn_output(?P<n>[2-5])\.", lambda m: f"fpn.pyramid.layer_blocks.{int(m['n']) - finest}.0."),
    ]


def rename(name: str, finest: int = 2) -> str:
    """Our name for a parameter of detectron2 or the official BlendMask whose pyramid starts at stage ``finest``."""
    return renamed(name, [*_RESNET, *_pyramid(finest), *_SEMANTIC, *_BLENDMASK, *_RCNN])


def from_detectron2(state: Mapping[str, Tensor], author: str = "") -> State:
    """Convert a whole model of detectron2 or the official BlendMask."""
    levels = [int(match[1]) for name in state if (match := re.match(r"backbone\.fpn_lateral([2-5])\.", name))]
    used = {name: value for name, value in state.items() if not re.match(r"pixel_|.*\.cell_anchors\.", name)}
    result = {rename(name, min(levels, default=2)): value for name, value in used.items()}
    return with_background_first(result) | _input(result, state, author)


def from_backbone(state: Mapping[str, Tensor], author: str = "") -> State:
    """Convert a classifier's backbone under detectron2's names, with or without the prefix of a detector."""
    prefix = "backbone.bottom_up."
    names = {name: prefix + name.removeprefix(prefix) for name in state if not name.startswith("pixel_")}
    unused = re.compile(r"backbone\.bottom_up\.(stem\.)?(fc|linear)\.")
    result = {renamed(full, _RESNET): state[name] for name, full in names.items() if not unused.match(full)}
    return result | _input(result, state, author)


def from_caffe2(state: Mapping[str, Tensor], author: str = "") -> State:
    """Convert the backbone of a classifier of the caffe2 lineage.

    Norms that are folded already have no statistics and get identity statistics.
    """
    used = {name: value for name, value in state.items() if not re.fullmatch(_CAFFE2_UNUSED, name)}
    result = {renamed(name, _CAFFE2): value for name, value in used.items()}
    for name in [name for name in result if re.search(r"(\.bn\d|\.downsample\.1)\.weight$", name)]:
        weight, norm = result[name], name.removesuffix(".weight")
        result.setdefault(f"{norm}.running_mean", torch.zeros_like(weight))
        result.setdefault(f"{norm}.running_var", torch.ones_like(weight) - EPSILON)
    return result | _input(result, state, author)


def _input(result: Mapping[str, Tensor], state: Mapping[str, Tensor], author: str) -> State:
    """Stem and buffers for the kind of input that the backbone was trained on.

    The caffe lineage reads BGR in 0..255 with the mean subtracted, so the channels of the stem are reversed, and it
    has its strides in the 1x1 convolutions. torchvision reads scaled RGB and has its strides in the 3x3 convolutions.
    """
    found, is_bgr = scaled_rgb(), author != "torchvision"
    if is_bgr:
        found |= {"pixel_std": torch.ones(3), "backbone.stride_in_1x1": torch.tensor(True)}
    for name in state.keys() & {"pixel_mean", "pixel_std"}:
        found[name] = state[name].flatten().flip(0) if is_bgr else state[name].flatten()
    if is_bgr and (stem := result.get("backbone.conv1.weight")) is not None and stem.dim() == 4:
        found["backbone.conv1.weight"] = stem.flip(1)
    return found
