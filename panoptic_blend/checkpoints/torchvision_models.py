"""Weights of torchvision: ResNets, and two detectors from which training can start."""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor
from torch.nn.utils.fusion import fuse_conv_bn_weights

from panoptic_blend.checkpoints.renaming import EPSILON, State, Table, renamed, scaled_rgb
from panoptic_blend.formats.categories import coco_categories
from panoptic_blend.models.backbones.resnet import without_classifier

_DETECTORS: Table = [
    (r"backbone\.body\.", "backbone."),
    (r"backbone\.fpn\.extra_blocks\.p(?P<n>[67])\.", lambda m: f"fpn.pyramid.extra_blocks.convs.{int(m['n']) - 6}."),
    (r"backbone\.fpn\.", "fpn.pyramid."),
    (r"rpn\.head\.conv\.0\.0\.", "instances.rpn.head.conv.0.0."),
    (r"roi_heads\.mask_(head|predictor)\.", r"instances.roi_heads.mask_\1."),
    (r"head\.classification_head\.conv\.", "instances.fcos.class_tower."),
    (r"head\.classification_head\.cls_logits\.", "instances.fcos.class_logits."),
    (r"head\.regression_head\.conv\.", "instances.fcos.box_tower."),
    (r"head\.regression_head\.bbox_reg\.", "instances.fcos.distances."),
    (r"head\.regression_head\.bbox_ctrness\.", "instances.fcos.centerness."),
]
"""Layers whose input is the same here; the others keep their names, and so find no place."""

_FOLDED = r"((?:backbone\.fpn\.(?:inner|layer)_blocks|roi_heads\.mask_head)\.\d)\.1\.running_var"
"""Norms that our models do not have."""

_STATISTICS = ("running_mean", "running_var", "weight", "bias")

_CLASSES = ("instances.roi_heads.mask_predictor.mask_fcn_logits.", "instances.fcos.class_logits.")
"""Layers with a row for each class, those with the background first."""

_COCO_ROWS = 91
"""torchvision counts COCO's classes by their ids, of which eleven are not in use."""


def from_resnet(state: Mapping[str, Tensor], author: str = "") -> State:
    """Convert a ResNet that classifies ImageNet."""
    return {f"backbone.{name}": value for name, value in without_classifier(state).items()} | scaled_rgb()


def from_detector(state: Mapping[str, Tensor], author: str = "") -> State:
    """Convert what our models can use of ``maskrcnn_resnet50_fpn_v2`` or ``fcos_resnet50_fpn``.

    Norms after the convolutions of pyramid and mask head become part of these, with the same results. Of the classes,
    COCO's 80 stay. The box head of Mask R-CNN and the second convolution of its RPN have no counterpart here, so that
    the layers that read them are not converted either.
    """
    result = {name: value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    for layer in [match[1] for name in state if (match := re.fullmatch(_FOLDED, name))]:
        mean, variance, scale, shift = (result.pop(f"{layer}.1.{kind}") for kind in _STATISTICS)
        conv, bias = result[f"{layer}.0.weight"], result.get(f"{layer}.0.bias")
        folded = fuse_conv_bn_weights(conv, bias, mean, variance, EPSILON, scale, shift)
        result |= {f"{layer}.0.weight": folded[0].detach(), f"{layer}.0.bias": folded[1].detach()}
    result = {renamed(name, _DETECTORS): value for name, value in result.items()}
    for name, value in result.items():
        if name.startswith(_CLASSES):
            result[name] = _rows(value, has_background=name.startswith(_CLASSES[0]))
    return result | scaled_rgb()


def _rows(value: Tensor, has_background: bool) -> Tensor:
    """The rows of COCO's things, or of all classes of a model with others, after that of the background if it stays."""
    classes = coco_categories().thing_ids if len(value) == _COCO_ROWS else range(1, len(value))
    return value[[*([0] if has_background else []), *classes]]
