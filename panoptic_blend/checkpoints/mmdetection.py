"""Weights of mmdetection's Panoptic-FPN; its backbone has our names, because both have torchvision's."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from panoptic_blend.checkpoints.renaming import State, Table, renamed, scaled_rgb, with_background_first

_NAMES: Table = [
    (r"neck\.lateral_convs\.(\d)\.conv\.", r"fpn.pyramid.inner_blocks.\1.0."),
    (r"neck\.fpn_convs\.(\d)\.conv\.", r"fpn.pyramid.layer_blocks.\1.0."),
    (r"rpn_head\.rpn_conv\.", "instances.rpn.head.conv.0.0."),
    (r"rpn_head\.rpn_cls\.", "instances.rpn.head.cls_logits."),
    (r"rpn_head\.rpn_reg\.", "instances.rpn.head.bbox_pred."),
    (r"roi_head\.bbox_head\.shared_fcs\.0\.", "instances.roi_heads.box_head.fc6."),
    (r"roi_head\.bbox_head\.shared_fcs\.1\.", "instances.roi_heads.box_head.fc7."),
    (r"roi_head\.bbox_head\.fc_cls\.", "instances.roi_heads.box_predictor.cls_score."),
    (r"roi_head\.bbox_head\.fc_reg\.", "instances.roi_heads.box_predictor.bbox_pred."),
    (r"roi_head\.mask_head\.convs\.(\d)\.conv\.", r"instances.roi_heads.mask_head.\1.0."),
    (r"roi_head\.mask_head\.upsample\.", "instances.roi_heads.mask_predictor.conv5_mask."),
    (r"roi_head\.mask_head\.conv_logits\.", "instances.roi_heads.mask_predictor.mask_fcn_logits."),
    (
        r"semantic_head\.conv_upsample_layers\.(?P<level>\d)\.conv\.(?P<stage>\d)\.(?P<part>conv|gn)\.",
        lambda m: f"semantic.branches.p{int(m['level']) + 2}.{2 * int(m['stage'])}.{int(m['part'] == 'gn')}.",
    ),
    (r"semantic_head\.conv_logits\.", "semantic.predictor."),
]


def from_mmdetection(state: Mapping[str, Tensor], author: str = "") -> State:
    """Convert a Panoptic-FPN of mmdetection, from 2.16 on.

    It counts the background of its box head last, as detectron2 does, and "some thing" after all stuff classes.
    """
    result = {renamed(name, _NAMES): value for name, value in state.items() if not name.endswith("num_batches_tracked")}
    for name in result.keys() & {"semantic.predictor.weight", "semantic.predictor.bias"}:
        result[name] = torch.cat([result[name][-1:], result[name][:-1]])
    return with_background_first(result) | scaled_rgb()
