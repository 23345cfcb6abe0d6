"""The options of the model, with their types, meanings and defaults."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Field, model_validator

from panoptic_blend.config.option_types import Count, Fraction, Options, PathText, Text, Weight

Layers = Annotated[int, Field(ge=0, le=64)]
Channels = Annotated[int, Field(ge=1, le=2**13, strict=True)]
Width = Annotated[int, Field(ge=32, le=2**13, multiple_of=32)]
RoISide = Annotated[int, Field(ge=1, le=512, strict=True)]


class Backbone(Options):
    kind: Literal["resnet", "timm"] = "resnet"
    """A torchvision ResNet, or a timm network (extra ``timm``)."""
    norm: Literal["frozen_bn", "bn", "gn"] = "frozen_bn"
    """Normalization: batch norm with fixed statistics, with trained ones, or group norm (kind resnet only).
    In a timm network it applies to batch norms; other norms are always trained."""
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = 2
    """How many of stem, c2, c3, c4, c5 are not trained."""
    depth: Literal[14, 18, 34, 50, 101] = 50
    """Kind resnet: layers of the ResNet. 14 is 18 without the second blocks of c4 and c5, for short trainings."""
    deformable_every: Layers = 0
    """Kind resnet: modulated deformable 3x3 convolutions in blocks 0, n, 2n, ... of c3-c5; 0 for none.
    Depth 50 or 101."""
    name: Text | None = None
    """Kind timm: the name of the network, such as ``convnext_tiny``, with or without a tag of weights."""
    pretrained: bool | PathText = True
    """Kind timm: the weights that ``train.weights=imagenet`` loads: true for timm's own, which it downloads, or the
    path of a file with timm's names; false if there are none. Nothing else loads them."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Kind timm: stochastic depth: the probability that a block is skipped in training, which rises linearly from 0 at
    the first block to this value at the last."""

    _OF_KIND: ClassVar = {"resnet": ("depth", "deformable_every"), "timm": ("name", "pretrained", "drop_path")}
    """The options that only one kind has; the others every kind has."""

    def arguments(self) -> dict[str, Any]:
        """The options that this kind has, without ``kind``."""
        return self.model_dump(exclude={"kind", *self._of_other_kinds()})

    def _of_other_kinds(self) -> list[str]:
        return [name for kind, names in self._OF_KIND.items() if kind != self.kind for name in names]

    @model_validator(mode="after")
    def _has_an_effect(self) -> Self:
        for name in self._of_other_kinds():
            if (value := getattr(self, name)) != (default := type(self).model_fields[name].default):
                reset = "null" if default is None else default
                raise ValueError(
                    f"{name}={value} has no effect with kind {self.kind}; leave it out, or reset what a base config "
                    f"says by model.backbone.{name}={reset}"
                )
        if self.kind == "timm" and self.norm == "gn":
            raise ValueError("norm=gn needs kind resnet; a timm network keeps its norms, and norm=bn trains them")
        if self.kind == "timm" and not self.name:
            raise ValueError("kind timm needs the name of a network; give one, such as name=convnext_tiny")
        return self

    @model_validator(mode="after")
    def _has_bottlenecks(self) -> Self:
        if self.deformable_every and self.depth < 50:
            raise ValueError("deformable_every needs the bottlenecks of depth 50 or 101")
        return self


class FPN(Options):
    """Feature pyramid network."""

    channels: Width = 256
    """Channels of every pyramid level and of the towers of FCOS."""


class FCOS(Options):
    """FCOS detector of BlendMask."""

    shared_convs: Layers = 0
    """Convolutions that precede both towers, shared by classification and box regression."""
    num_convs: Layers = 4
    """Convolutions in each of the two towers, for classification and for box regression."""
    norm: Literal["gn", "bn"] = "gn"
    """Normalization in the towers: group norm, or batch norm over all levels together, which is folded into the
    convolutions after training and then costs nothing."""
    size_limits: Annotated[tuple[Weight, ...], Field(min_length=2, max_length=8)] = (64, 128, 256, 512)
    """Ranges of P3, P4, ...: the largest distance in pixels from a location to a side of its box.
    One more level follows, without a limit."""
    center_radius: Annotated[float, Field(gt=0, le=1000)] = 1.5
    """Center sampling: locations within this many strides of the center of a box are positive."""
    assigner: Literal["fcos", "atss", "task_aligned"] = "fcos"
    """Which locations learn an instance: those near the center of its box, on the level of its size (size_limits,
    center_radius); on all levels, those near the center whose anchor box overlaps it most (ATSS); or those that predict
    it best (TOOD), which needs quality=joint."""
    quality: Literal["centerness", "iou", "joint"] = "centerness"
    """How good the box of a location is. A layer predicts its center-ness, or its IoU with the true box (Wu et al.,
    IoU-aware single-stage object detector, 2020); joint has no such layer: classes learn the IoU in the place of 1
    (quality focal loss, Li et al., NeurIPS 2020), and a score is a class probability."""
    score_threshold: Fraction = 0.05
    """Minimum class probability of a candidate, times its quality if a layer predicts that."""
    candidates_per_level: Count = 1000
    """Number of best candidates per level that enter non-maximum suppression."""
    nms: Fraction = 0.6
    """IoU above which non-maximum suppression removes the box with the lower score; within each class."""
    detections_per_image: Count = 100
    """Maximum number of instances per image."""

    @model_validator(mode="after")
    def _sizes_rise(self) -> Self:
        if any(low >= high for low, high in pairwise((0, *self.size_limits))):
            raise ValueError(f"size_limits must rise from level to level, not {list(self.size_limits)}")
        return self

    @model_validator(mode="after")
    def _has_a_quality_to_learn(self) -> Self:
        if self.assigner == "task_aligned" and self.quality != "joint":
            raise ValueError("assigner=task_aligned needs quality=joint, as classes learn how well a box is predicted")
        return self


class Bottom(Options):
    """Bottom module of BlendMask, which predicts the bases."""

    kind: Literal["proto", "deeplab", "shared"] = "proto"
    """Architecture: ProtoNet, the decoder of DeepLabV3+, or a second predictor on the trunk of the semantic head."""
    features: Annotated[
        tuple[Literal["c3", "c4", "c5", "p2", "p3", "p4", "p5"], ...], Field(min_length=1, max_length=7)
    ] = (
        "p3",
        "p4",
        "p5",
    )
    """Input features, finest first: any number for proto, a fine and a coarse one for deeplab."""
    num_bases: Channels = 4
    """K, the number of bases."""
    channels: Channels = 128
    """Channels of the bottom module and of the auxiliary head."""
    num_convs: Layers = 3
    """Kind proto: convolutions before upsampling."""
    loss_weight: Weight = 0.3
    """Weight of the auxiliary thing-semantic loss; 0 removes its head."""

    @model_validator(mode="after")
    def _has_what_it_reads(self) -> Self:
        if any(fine[1] >= coarse[1] for fine, coarse in pairwise(self.features)):
            raise ValueError(f"features must be finest first, not {', '.join(self.features)}")
        if self.kind == "deeplab" and len(self.features) != 2:
            raise ValueError("kind deeplab reads two features, a fine and a coarse one: features=[p3, p5]")
        return self


class Blender(Options):
    """Blender of BlendMask, which merges bases and attentions into masks."""

    merge: Literal["blend", "assemble", "convolve", "refine"] = "blend"
    """Blend bases with predicted attentions, assemble K = M * M bases without attentions as in FCIS, or convolve bases
    with predicted kernels (kernels), or refine: blend them, and add what kernels make of the same bases."""
    roi_size: RoISide = 56
    """R, the side of the pooled bases."""
    attention_size: RoISide = 14
    """M, the side of an attention map; 1 gives the weighted sum of YOLACT."""
    interpolation: Literal["bilinear", "nearest"] = "bilinear"
    """How attention maps are resized to R x R."""
    pooling: Literal["align", "pool"] = "align"
    """How bases are cropped: RoIAlign, or RoIPool with its quantized bins."""
    dice_weight: Weight = 0.0
    """Weight of the dice loss of masks (V-Net, section 3), which is added to their cross entropy."""
    rescoring: Literal["none", "maskness", "mask_iou"] = "none"
    """What the score of a detection is multiplied by, before calibration and fusion: nothing, the mean probability of
    the pixels of its mask (maskness, as in SOLO), or the IoU with the true mask, which a small network predicts (Mask
    Scoring R-CNN)."""


class Kernels(Options):
    """Kernels in the place of attentions: a network of 1x1 convolutions for each detection (CondInst).
    They need blender.merge=convolve or refine."""

    num_convs: Annotated[int, Field(ge=1, le=16)] = 3
    """Convolutions; with 1, masks are linear in the bases, as in SOLOv2 and Panoptic FCN."""
    channels: Annotated[int, Field(ge=1, le=256, strict=True)] = 8
    """Channels between the convolutions."""
    coordinates: bool = True
    """Whether the first convolution reads, beside the bases, the place in the box, as CondInst reads coordinates
    relative to the location."""
    scale: Annotated[float, Field(gt=0, le=100)] = 1.0
    """Multiplier of what a location predicts, which is added to weights that all locations share. AdamW, whose steps
    are large where many weights add up, needs about 0.1, or the network dies in the first iterations."""
    rounds: Annotated[int, Field(ge=0, le=16)] = 0
    """How often the kernels of a detection are updated by what their mask shows (K-Net, section 3.2)."""


class MaskRCNN(Options):
    """Mask R-CNN, the instance branch of Panoptic-FPN."""

    rules: Literal["detectron2", "mmdetection"] = "detectron2"
    """Whose rules choose proposals and detections where these two differ; those of the weights.
    mmdetection suppresses over all classes together instead of within each; see ``models/mmdetection.py``."""
    head_channels: Channels = 1024
    """Channels of the two fully connected layers of the box head."""
    mask_channels: Channels = 256
    """Channels of the convolutions of the mask head."""
    score_threshold: Fraction = 0.05
    """Minimum class probability of a detection."""
    nms: Fraction = 0.5
    """IoU above which non-maximum suppression removes the box with the lower score."""
    detections_per_image: Count = 100
    """Maximum number of instances per image."""


class Semantic(Options):
    """Semantic head of Panoptic-FPN."""

    enabled: bool = True
    """Whether there is a semantic head; without it the model predicts instances only."""
    channels: Width = 128
    """Channels of the semantic head."""
    norm: Literal["gn", "bn"] = "gn"
    """Normalization in the semantic head: group norm, or batch norm, which is folded after training."""
    kernel_rounds: Annotated[int, Field(ge=0, le=16)] = 0
    """How often the kernels of the classes, which are the rows of the last convolution, are updated by what their
    classes look like in the picture (K-Net, section 3.2)."""
    loss_weight: Weight = 0.5
    """Weight of the semantic loss."""
    lovasz_weight: Weight = 0.0
    """Weight of the Lovasz-softmax loss (Berman et al., CVPR 2018), which stands for the IoU of the classes of an image
    at every fourth pixel; added to the semantic loss."""


class Calibration(Options):
    """Calibration of the scores of instances, before fusion: ``sigmoid(logit(score) / temperature + bias)``."""

    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    """Above 1, scores move towards 0.5; below, away from it."""
    bias: Annotated[float, Field(ge=-100, le=100)] = 0.0
    """Above 0, scores rise; below, they fall."""


class Fusion(Options):
    """Fusion of instances and semantics into a panoptic map."""

    confidence: Fraction = 0.2
    """Minimum score of an instance in the panoptic map."""
    overlap: Fraction = 0.4
    """Maximum fraction of an instance that instances with higher scores may cover."""
    stuff_area: Annotated[int, Field(ge=0, le=2**40)] = 4096
    """Minimum area of a stuff segment in pixels."""


class Model(Options):
    """The network and the fusion of its predictions."""

    num_things: Annotated[int, Field(ge=1, le=254)] = 80
    """C, the number of thing classes; training takes it from the data set."""
    num_stuff: Annotated[int, Field(ge=0, le=254)] = 53
    """S, the number of stuff classes; training takes it from the data set."""
    instances: Literal["blendmask", "mask_rcnn"] = "blendmask"
    """Instance branch: BlendMask (fcos, bottom, blender), or Mask R-CNN as in Panoptic-FPN (mask_rcnn)."""
    backbone: Backbone = Field(default_factory=Backbone)
    """Backbone: a ResNet or a network of timm."""
    fpn: FPN = Field(default_factory=FPN)
    """Feature pyramid network, shared by all heads."""
    fcos: FCOS = Field(default_factory=FCOS)
    """BlendMask: FCOS detector."""
    bottom: Bottom = Field(default_factory=Bottom)
    """BlendMask: bottom module."""
    blender: Blender = Field(default_factory=Blender)
    """BlendMask: blender."""
    kernels: Kernels = Field(default_factory=Kernels)
    """BlendMask: kernels, if the blender convolves."""
    mask_rcnn: MaskRCNN = Field(default_factory=MaskRCNN)
    """Mask R-CNN: box and mask heads."""
    semantic: Semantic = Field(default_factory=Semantic)
    """Semantic head."""
    calibration: Calibration = Field(default_factory=Calibration)
    """Calibration of the scores of instances."""
    fusion: Fusion = Field(default_factory=Fusion)
    """Fusion of instances and semantics into a panoptic map."""

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.bottom.kind == "shared" and not self.semantic.enabled:
            raise ValueError("bottom.kind=shared reads the semantic head; set semantic.enabled=true")
        if self.blender.merge == "assemble" and self.bottom.num_bases != self.blender.attention_size**2:
            raise ValueError("blender.merge=assemble needs bottom.num_bases = blender.attention_size squared")
        return self
