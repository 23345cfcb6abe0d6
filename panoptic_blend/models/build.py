"""The only code that turns a config into modules."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path

from torch import Tensor

from panoptic_blend.config.experiment import Config
from panoptic_blend.config.model_options import Model
from panoptic_blend.models import atss
from panoptic_blend.models.backbones.protocol import Backbone, require_backbone
from panoptic_blend.models.backbones.resnet import ResNet
from panoptic_blend.models.backbones.timm import TimmBackbone
from panoptic_blend.models.blender import TopLayer, assemble, blend, crop
from panoptic_blend.models.blendmask import BlendMask
from panoptic_blend.models.bottom import BottomModule, DeepLabDecoder, ProtoNet, SharedBottom, ThingSemanticHead
from panoptic_blend.models.calibration import calibrate
from panoptic_blend.models.fcos import FCOSHead
from panoptic_blend.models.fcos_targets import assign
from panoptic_blend.models.fpn import FPN
from panoptic_blend.models.kernels import KernelMerge
from panoptic_blend.models.mask_rcnn import MaskRCNN
from panoptic_blend.models.mask_scoring import MaskScorer, maskness
from panoptic_blend.models.mmdetection import MMDetectionMaskRCNN, scale_to_output
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.models.postprocess import decode, suppress, to_output
from panoptic_blend.models.semantic import SemanticHead
from panoptic_blend.models.task_aligned import align
from panoptic_blend.postprocessing.fusion import paint
from panoptic_blend.structures import PanopticBlendError

BACKBONES: dict[str, Callable[..., Backbone]] = {"resnet": ResNet, "timm": TimmBackbone}
"""What ``model.backbone.kind`` names; called with the options of its kind."""


def build_model(config: Config, backbone: Backbone | None = None, labels_from: int = 0) -> PanopticBlend:
    """The model of ``config``, randomly initialized, in training mode.

    Args:
        backbone: used instead of the backbone of ``config``, whose options for it are ignored.
        labels_from: the label of the first thing in targets and outputs: 0, or 1 as in torchvision's detection models.

    Raises:
        PanopticBlendError: ``config`` is not a `Config`, ``backbone`` not a `Backbone`, or ``labels_from`` neither 0
            nor 1.
    """
    if not isinstance(config, Config):
        remedy = f"give load_config({str(config)!r})" if isinstance(config, str | Path) else "give one of load_config"
        raise PanopticBlendError(f"a {type(config).__name__} is not a Config; {remedy}")
    options, semantic = config.model, config.model.semantic
    if backbone is None:
        backbone = BACKBONES[options.backbone.kind](**options.backbone.arguments())
    else:
        require_backbone(backbone)
    fpn = _fpn(options, backbone)
    head = None
    if semantic.enabled:
        widths = options.fpn.channels, options.num_stuff + 1, semantic.channels
        head = SemanticHead(*widths, semantic.norm, semantic.kernel_rounds)
    branch = _mask_rcnn(options) if options.instances == "mask_rcnn" else _blendmask(options, backbone, fpn)
    return PanopticBlend(
        backbone,
        fpn,
        branch,
        head,
        calibrate=partial(calibrate, **options.calibration.model_dump()),
        paint=partial(paint, **options.fusion.model_dump()),
        to_output=scale_to_output if isinstance(branch, MMDetectionMaskRCNN) else to_output,
        semantic_weight=semantic.loss_weight,
        lovasz_weight=semantic.lovasz_weight,
        labels_from=labels_from,
    )


def _fpn(options: Model, backbone: Backbone) -> FPN:
    """A pyramid from C2 where something reads P2, else from C3; as far up as the detector looks."""
    is_mask_rcnn = options.instances == "mask_rcnn"
    reads_p2 = options.semantic.enabled or is_mask_rcnn or "p2" in options.bottom.features
    stages = {name: channels for name, channels in backbone.channels.items() if reads_p2 or name != "c2"}
    extra_levels = len(options.fcos.size_limits) - 2  # P3-P5 are three levels with two limits between them
    return FPN(stages, options.fpn.channels, extra_levels, pooled_level=is_mask_rcnn)


def _blendmask(options: Model, backbone: Backbone, fpn: FPN) -> BlendMask:
    fcos, blender, channels = options.fcos, options.blender, options.fpn.channels
    bottom = _bottom(options, backbone)
    detector = FCOSHead(
        *(channels, options.num_things, fcos.num_convs, fcos.shared_convs, fcos.norm),
        has_quality=fcos.quality != "joint",
    )
    top_layer, merge = _merge(options)  # the order decides which random numbers a layer gets, and must not change
    return BlendMask(
        detector,
        top_layer,
        bottom,
        ThingSemanticHead(channels, options.bottom.channels, options.num_things)
        if options.bottom.loss_weight
        else None,
        levels=[name for name in fpn.levels if name != "p2"],
        roi_size=blender.roi_size,
        crop=partial(crop, size=blender.roi_size, stride=bottom.stride, pooling=blender.pooling),
        merge=merge,
        assign=partial(assign, size_limits=fcos.size_limits, radius=fcos.center_radius)
        if fcos.assigner == "fcos"
        else atss.assign,
        decode=partial(decode, score_threshold=fcos.score_threshold, limit=fcos.candidates_per_level),
        suppress=partial(suppress, nms=fcos.nms, limit=fcos.detections_per_image),
        thing_semantic_weight=options.bottom.loss_weight,
        dice_weight=blender.dice_weight,
        quality=fcos.quality,
        scorer=_scorer(options),
        align=align if fcos.assigner == "task_aligned" else None,
    )


def _scorer(options: Model) -> Callable[[Tensor, Tensor], Tensor] | None:
    """What scores of detections are multiplied by; its random numbers are the last."""
    if options.blender.rescoring == "mask_iou":
        return MaskScorer(options.bottom.num_bases)
    return maskness if options.blender.rescoring == "maskness" else None


def _merge(options: Model) -> tuple[TopLayer | None, Callable[..., Tensor]]:
    """The merge of bases, and the layer that predicts what it weighs them by."""
    blender, channels, num_bases = options.blender, options.fpn.channels, options.bottom.num_bases
    if blender.merge == "assemble":
        return None, assemble
    if blender.merge in ("convolve", "refine"):
        side = blender.attention_size if blender.merge == "refine" else 0
        kernels = KernelMerge(
            num_bases, **options.kernels.model_dump(), attention_size=side, interpolation=blender.interpolation
        )
        return TopLayer(channels, kernels.size, attention_size=1), kernels
    return TopLayer(channels, num_bases, blender.attention_size), partial(blend, interpolation=blender.interpolation)


def _bottom(options: Model, backbone: Backbone) -> BottomModule:
    bottom = options.bottom
    if bottom.kind == "shared":
        return SharedBottom(options.semantic.channels, bottom.num_bases)
    read: dict[str, int] = {name: backbone.channels.get(name, options.fpn.channels) for name in bottom.features}
    if bottom.kind == "deeplab":
        return DeepLabDecoder(read, bottom.num_bases, bottom.channels)
    return ProtoNet(read, bottom.num_bases, bottom.channels, bottom.num_convs)


def _mask_rcnn(options: Model) -> MaskRCNN:
    kind = MMDetectionMaskRCNN if options.mask_rcnn.rules == "mmdetection" else MaskRCNN
    return kind(options.fpn.channels, options.num_things, **options.mask_rcnn.model_dump(exclude={"rules"}))
