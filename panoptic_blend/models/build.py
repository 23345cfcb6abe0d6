"""The only code that turns a config into modules."""

from __future__ import annotations

from functools import partial

from panoptic_blend.config import Config
from panoptic_blend.models.backbone import ResNet
from panoptic_blend.models.blender import TopLayer
from panoptic_blend.models.bottom import ProtoNet, ThingSemanticHead
from panoptic_blend.models.fcos import FCOSHead
from panoptic_blend.models.fcos_targets import assign
from panoptic_blend.models.fpn import FPN
from panoptic_blend.models.fusion import fuse
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.models.postprocess import decode, suppress
from panoptic_blend.models.semantic import SemanticHead


def build_model(config: Config) -> PanopticBlend:
    """The model of ``config``, randomly initialised, in training mode."""
    options = config.model
    fcos, bottom, channels = options.fcos, options.bottom, options.fpn.channels
    backbone = ResNet(options.backbone.depth, options.backbone.norm, options.backbone.frozen_stages)
    return PanopticBlend(
        backbone,
        FPN(backbone.channels, channels, extra_levels=len(fcos.size_limits) - 2),
        FCOSHead(channels, options.num_things, fcos.num_convs),
        TopLayer(channels, bottom.num_bases, options.blender.attention_size),
        ProtoNet(channels, bottom.num_bases, bottom.channels, bottom.num_convs),
        ThingSemanticHead(channels, bottom.channels, options.num_things),
        SemanticHead(channels, options.num_stuff + 1, options.semantic.channels),
        assign=partial(assign, size_limits=fcos.size_limits, radius=fcos.center_radius),
        decode=partial(decode, score_threshold=fcos.score_threshold, limit=fcos.candidates_per_level),
        suppress=partial(suppress, nms=fcos.nms, limit=fcos.detections_per_image),
        fuse=partial(fuse, **options.fusion.model_dump()),
        roi_size=options.blender.roi_size,
        semantic_weight=options.semantic.loss_weight,
        thing_semantic_weight=bottom.loss_weight,
    )
