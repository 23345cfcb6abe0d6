"""Convert foreign state dicts to our names: one rename table per source."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from panoptic_blend.failures import first_line
from panoptic_blend.models.backbones.protocol import IMAGENET_PIXELS
from panoptic_blend.models.backbones.resnet import without_classifier
from panoptic_blend.structures import PanopticBlendError

State = dict[str, Tensor]
Table = list[tuple[str, str | Callable[[re.Match[str]], str]]]
"""Regular expressions with their replacements, applied in order, each at the start of a name or at a dot."""

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
    return _renamed(name, [*_RESNET, *_pyramid(finest), *_SEMANTIC, *_BLENDMASK, *_RCNN])


def _renamed(name: str, table: Table) -> str:
    for pattern, replacement in table:
        name = re.sub(pattern if pattern.startswith(r"\.") else f"^{pattern}", replacement, name)
    return name


# --- recognition -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Source:
    """A kind of foreign weights: how to recognize its keys, and how to convert it."""

    name: str
    is_in: Callable[[Mapping[str, Tensor]], bool]
    convert: Callable[[Mapping[str, Tensor], str], State]


def source_of(state: Mapping[str, Tensor]) -> Source:
    """The kind of ``state``, by its keys; ours if no other matches."""
    return next(source for source in _sources() if source.is_in(state))


def adapt(state: Mapping[str, Tensor], author: str = "", name: str = "state dict") -> State:
    """Convert a state dict of any known kind, recognized by its keys; an unknown one is returned unchanged.

    Args:
        author: the author that the file names. ``torchvision`` changes the meaning of detectron2's names.
        name: what messages call the weights.

    Raises:
        PanopticBlendError: shapes contradict the names.
    """
    source = source_of(state)
    try:
        return source.convert(state, author)
    except (RuntimeError, IndexError) as error:
        detail = first_line(error)
        raise PanopticBlendError(
            f"{name}: has the names of a {source.name}, but not its shapes ({detail}); fetch the file again"
        ) from None


def _sources() -> list[Source]:
    return [
        Source("official BlendMask", lambda s: _any(s, r"basis_module\."), from_detectron2),
        Source(
            "detectron2 detector",
            lambda s: _any(s, r"roi_heads\.|proposal_generator\.|backbone\.fpn_"),
            from_detectron2,
        ),
        Source("detectron2 backbone", lambda s: _any(s, r"(backbone\.bottom_up\.)?stem\.conv1\."), from_backbone),
        Source("caffe2 backbone", lambda s: _any(s, r"res2_0_branch2a_w"), from_caffe2),
        Source(
            "torchvision backbone", lambda s: {"conv1.weight", "layer1.0.conv1.weight"} <= s.keys(), from_torchvision
        ),
        Source("panoptic-blend", lambda s: True, lambda s, author: dict(s)),
    ]


def _any(state: Mapping[str, Tensor], pattern: str) -> bool:
    return any(re.match(pattern, name) for name in state)


# --- conversion ------------------------------------------------------------------------------------------------------

_EPSILON = 1e-5
"""The epsilon of every batch norm."""


def from_detectron2(state: Mapping[str, Tensor], author: str = "") -> State:
    """Convert a whole model of detectron2 or the official BlendMask."""
    levels = [int(match[1]) for name in state if (match := re.match(r"backbone\.fpn_lateral([2-5])\.", name))]
    used = {name: value for name, value in state.items() if not re.match(r"pixel_|.*\.cell_anchors\.", name)}
    result = {rename(name, min(levels, default=2)): value for name, value in used.items()}
    return _with_background_first(result) | _input(result, state, author)


def from_backbone(state: Mapping[str, Tensor], author: str = "") -> State:
    """Convert a classifier's backbone under detectron2's names, with or without the prefix of a detector."""
    prefix = "backbone.bottom_up."
    names = {name: prefix + name.removeprefix(prefix) for name in state if not name.startswith("pixel_")}
    unused = re.compile(r"backbone\.bottom_up\.(stem\.)?(fc|linear)\.")
    result = {_renamed(full, _RESNET): state[name] for name, full in names.items() if not unused.match(full)}
    return result | _input(result, state, author)


def from_caffe2(state: Mapping[str, Tensor], author: str = "") -> State:
    """Convert the backbone of a classifier of the caffe2 lineage.

    Norms that are folded already have no statistics and get identity statistics.
    """
    used = {name: value for name, value in state.items() if not re.fullmatch(_CAFFE2_UNUSED, name)}
    result = {_renamed(name, _CAFFE2): value for name, value in used.items()}
    for name in [name for name in result if re.search(r"(\.bn\d|\.downsample\.1)\.weight$", name)]:
        weight, norm = result[name], name.removesuffix(".weight")
        result.setdefault(f"{norm}.running_mean", torch.zeros_like(weight))
        result.setdefault(f"{norm}.running_var", torch.ones_like(weight) - _EPSILON)
    return result | _input(result, state, author)


def from_torchvision(state: Mapping[str, Tensor], author: str = "") -> State:
    """Convert the backbone of a torchvision ResNet."""
    backbone = {f"backbone.{name}": value for name, value in without_classifier(state).items()}
    return backbone | _input(backbone, {}, "torchvision")


def _input(result: Mapping[str, Tensor], state: Mapping[str, Tensor], author: str) -> State:
    """Stem and buffers for the kind of input that the backbone was trained on.

    The caffe lineage reads BGR in 0..255 with the mean subtracted, so the channels of the stem are reversed, and it
    has its strides in the 1x1 convolutions. torchvision reads scaled RGB and has its strides in the 3x3 convolutions.
    """
    is_bgr = author != "torchvision"
    mean, std = torch.tensor(IMAGENET_PIXELS.mean), torch.ones(3) if is_bgr else torch.tensor(IMAGENET_PIXELS.std)
    found = {"pixel_mean": mean, "pixel_std": std, "backbone.stride_in_1x1": torch.tensor(is_bgr)}
    for name in state.keys() & {"pixel_mean", "pixel_std"}:
        found[name] = state[name].flatten().flip(0) if is_bgr else state[name].flatten()
    if is_bgr and (stem := result.get("backbone.conv1.weight")) is not None and stem.dim() == 4:
        found["backbone.conv1.weight"] = stem.flip(1)
    return found


def _with_background_first(state: State) -> State:
    """Reorder Mask R-CNN's class predictors: in torchvision background comes first, with its own boxes and mask."""
    result = dict(state)
    for name, value in state.items():
        predictor = name.removeprefix("instances.roi_heads.").rpartition(".")[0]
        if predictor == "box_predictor.cls_score":
            result[name] = torch.cat([value[-1:], value[:-1]])
        elif rows := {"box_predictor.bbox_pred": 4, "mask_predictor.mask_fcn_logits": 1}.get(predictor):
            result[name] = torch.cat([value.new_zeros(rows, *value.shape[1:]), value])
    return result
