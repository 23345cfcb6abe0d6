"""Every option there is but the seed, with its type, meaning and default; nothing is configured anywhere else."""

from __future__ import annotations

from itertools import pairwise
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, strict=True)]
PixelSide = Annotated[int, Field(ge=32, le=2**14)]
Width = Annotated[int, Field(ge=32, multiple_of=32)]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


class Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Backbone(Options):
    kind: Literal["resnet", "timm"] = "resnet"
    """A ResNet of torchvision's, or a network of timm's (the extra ``timm``)."""
    norm: Literal["frozen_bn", "bn", "gn"] = "frozen_bn"
    """Normalization: batch norm with fixed statistics, with trained ones, or group norm (kind resnet only).
    In a network of timm's it says which batch norms are trained; other norms always are."""
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = 2
    """How many of stem, c2, c3, c4, c5 are not trained."""
    depth: Literal[18, 34, 50, 101] = 50
    """Kind resnet: layers of the ResNet."""
    deformable_every: Annotated[int, Field(ge=0)] = 0
    """Kind resnet: modulated deformable 3x3 convolutions in blocks 0, n, 2n, ... of c3-c5; 0 for none.
    Depth 50 or 101."""
    name: str | None = None
    """Kind timm: the name of a network of timm's, such as ``convnext_tiny``, with or without a tag of weights."""
    pretrained: bool | str = True
    """Kind timm: the weights that ``train.weights=imagenet`` stands for: timm's own, which it downloads (true), a file
    under timm's names, or none (false)."""
    drop_path: Annotated[float, Field(ge=0, lt=1)] = 0.0
    """Kind timm: probability of skipping the last block in training; it rises linearly from 0 at the first block."""

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
                raise ValueError(
                    f"{name}={value} has no effect with kind {self.kind}; leave it out"
                    f", or set {name}={'null' if default is None else default} where a base sets it"
                )
        if self.kind == "timm" and self.norm == "gn":
            raise ValueError("norm=gn needs kind resnet; a network of timm's keeps its norms, norm=bn trains them")
        if self.kind == "timm" and not self.name:
            raise ValueError("kind timm needs the name of a network; give one, such as name=convnext_tiny")
        return self

    @model_validator(mode="after")
    def _has_bottlenecks(self) -> Self:
        if self.deformable_every and self.depth < 50:
            raise ValueError("deformable_every needs the bottlenecks of depth 50 or 101")
        return self


class FPN(Options):
    channels: Width = 256
    """Channels of every pyramid level and of FCOS' towers."""


class FCOS(Options):
    shared_convs: Annotated[int, Field(ge=0)] = 0
    """Convolutions of a tower that classes and boxes share, before their own."""
    num_convs: Annotated[int, Field(ge=0)] = 4
    """Convolutions in each of the two towers."""
    size_limits: Annotated[tuple[float, ...], Field(min_length=2)] = (64, 128, 256, 512)
    """Largest distance, in pixels, that P3, P4, ... answer for; one more level, without limit, follows."""
    center_radius: Annotated[float, Field(gt=0)] = 1.5
    """Centre sampling: how many strides around a box centre are positive."""
    score_threshold: Fraction = 0.05
    """Least product of class probability and centre-ness of a candidate."""
    candidates_per_level: Count = 1000
    """Best candidates per level that enter suppression."""
    nms: Fraction = 0.6
    """IoU above which a worse box of the same class is suppressed."""
    detections_per_image: Count = 100
    """Instances kept per image."""

    @model_validator(mode="after")
    def _sizes_rise(self) -> Self:
        if any(low >= high for low, high in pairwise((0, *self.size_limits))):
            raise ValueError(f"size_limits must rise from level to level, not {list(self.size_limits)}")
        return self


class Bottom(Options):
    kind: Literal["proto", "deeplab", "shared"] = "proto"
    """ProtoNet, the decoder of DeepLabV3+, or a second predictor on the semantic head's trunk."""
    features: Annotated[tuple[Literal["c3", "c4", "c5", "p2", "p3", "p4", "p5"], ...], Field(min_length=1)] = (
        "p3",
        "p4",
        "p5",
    )
    """What proto (any number) and deeplab (a fine and a coarse one) read, finest first."""
    num_bases: Count = 4
    """K."""
    channels: Count = 128
    """Width of the bottom module and of the auxiliary head."""
    num_convs: Annotated[int, Field(ge=0)] = 3
    """Convolutions of proto before its upsampling."""
    loss_weight: Annotated[float, Field(ge=0)] = 0.3
    """Weight of the auxiliary thing-semantic loss; 0 does without its head."""

    @model_validator(mode="after")
    def _has_what_it_reads(self) -> Self:
        if any(fine[1] >= coarse[1] for fine, coarse in pairwise(self.features)):
            raise ValueError(f"features must be finest first, not {', '.join(self.features)}")
        if self.kind == "deeplab" and len(self.features) != 2:
            raise ValueError("kind deeplab reads two features, a fine and a coarse one: features=[p3, p5]")
        return self


class Blender(Options):
    merge: Literal["blend", "assemble"] = "blend"
    """Blend bases by predicted attentions, or assemble K = M * M bases without any, as FCIS does."""
    roi_size: Count = 56
    """R, side of the pooled bases."""
    attention_size: Count = 14
    """M, side of an attention map; 1 makes it the weighted sum of YOLACT."""
    interpolation: Literal["bilinear", "nearest"] = "bilinear"
    """How attentions are resized to R."""
    pooling: Literal["align", "pool"] = "align"
    """How bases are cropped: RoIAlign, or RoIPool's quantised bins."""


class MaskRCNN(Options):
    head_channels: Count = 1024
    """Width of the two fully connected layers for boxes."""
    mask_channels: Count = 256
    """Width of the convolutions for masks."""
    score_threshold: Fraction = 0.05
    """Least class probability of a detection."""
    nms: Fraction = 0.5
    """IoU above which a worse box of the same class is suppressed."""
    detections_per_image: Count = 100
    """Instances kept per image."""


class Semantic(Options):
    enabled: bool = True
    """Without it the model finds instances only."""
    channels: Width = 128
    """Width of the semantic head."""
    loss_weight: Annotated[float, Field(ge=0)] = 0.5
    """Weight of the semantic loss."""


class Fusion(Options):
    confidence: Fraction = 0.2
    """Least score of an instance in the panoptic map."""
    overlap: Fraction = 0.4
    """Largest share of an instance that better ones may cover."""
    stuff_area: Annotated[int, Field(ge=0)] = 4096
    """Least number of pixels of a stuff segment."""


class Model(Options):
    num_things: Annotated[int, Field(ge=1, le=254)] = 80
    """C; training takes it from the data set."""
    num_stuff: Annotated[int, Field(ge=0, le=254)] = 53
    """S; training takes it from the data set."""
    instances: Literal["blendmask", "mask_rcnn"] = "blendmask"
    """Instance branch: BlendMask (fcos, bottom, blender), or Mask R-CNN as in Panoptic-FPN (mask_rcnn)."""
    backbone: Backbone = Backbone()
    fpn: FPN = FPN()
    fcos: FCOS = FCOS()
    bottom: Bottom = Bottom()
    blender: Blender = Blender()
    mask_rcnn: MaskRCNN = MaskRCNN()
    semantic: Semantic = Semantic()
    fusion: Fusion = Fusion()

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.bottom.kind == "shared" and not self.semantic.enabled:
            raise ValueError("bottom.kind=shared reads the semantic head; set semantic.enabled=true")
        if self.blender.merge == "assemble" and self.bottom.num_bases != self.blender.attention_size**2:
            raise ValueError("blender.merge=assemble needs bottom.num_bases = blender.attention_size squared")
        return self


class Data(Options):
    root: str | None = None
    """Folder of the data set; else PANOPTIC_BLEND_DATA, DETECTRON2_DATASETS/coco, or ./datasets/coco."""
    train: str = "train2017"
    """Split to train on: pictures in <root>/<split>, annotations in panoptic_<split>."""
    val: str = "val2017"
    """Split to evaluate on."""
    things: Literal["panoptic"] = "panoptic"
    """Where instances come from: the panoptic annotation."""
    short_sides: Annotated[tuple[PixelSide, ...], Field(min_length=1)] = (640, 672, 704, 736, 768, 800)
    """Short sides, in pixels, one of which is drawn for each training image."""
    side_sampling: Literal["choice", "range"] = "choice"
    """Draw one of `short_sides`, or any whole number from the first to the last."""
    long_side: PixelSide = 1333
    """Longest side of a training image; the short one gives way."""
    flip: Fraction = 0.5
    """Probability of a horizontal flip."""
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Least share of each side that a random crop keeps; 1 crops nothing."""
    workers: Annotated[int, Field(ge=0)] = 4
    """Processes that load images, for each device."""
    on_error: Literal["error", "skip"] = "error"
    """A training image that cannot be read ends the run, or another takes its place and the log counts it."""


class Train(Options):
    iterations: Annotated[int, Field(ge=0)] = 270000
    """Optimiser steps."""
    batch_size: Count = 16
    """Images per optimiser step, over all devices. Changing it changes the schedule, see `rescale`."""
    images_per_step: Count | None = None
    """Images a device takes at a time; what is left of its share follows, gradients adding up. None: all at once."""
    rescale: bool = True
    """A changed batch_size changes lr, iterations, warm-up, steps and intervals by the linear rule, unless given."""
    optimizer: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0)] = 0.01
    """Learning rate after the warm-up."""
    momentum: Fraction = 0.9
    """Momentum of SGD."""
    weight_decay: Annotated[float, Field(ge=0)] = 1e-4
    """On every parameter but those of normalisation layers."""
    warmup_iterations: Annotated[int, Field(ge=0)] = 1000
    """Iterations over which the rate rises linearly from ``warmup_factor``."""
    warmup_factor: Fraction = 0.001
    steps: tuple[int, ...] = (210000, 250000)
    """Iterations at which the rate is multiplied by ``gamma``."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    clip_norm: Annotated[float, Field(gt=0)] | None = None
    """Largest gradient norm; none clips nothing."""
    precision: Precision = "auto"
    """Arithmetic; auto is bf16-mixed where the processor or GPU has units for it, else 32-true."""
    devices: Count = 1
    """Devices of each node; torchrun says it itself."""
    nodes: Count = 1
    """Machines."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """Every device holds the model, or a part of it."""
    sync_norm: bool = True
    """Batch norms that learn their statistics take them over all devices."""
    weights: str | None = None
    """Weights to start from: a file, or ``imagenet`` for a classifier's: torchvision's, or those of kind timm."""
    partial: bool = False
    """Start from what fits of `weights`; heads of other classes, or that it lacks, from their initial values."""
    log_every: Count = 20
    """Iterations between records in the log."""
    checkpoint_every: Count = 5000
    """Iterations between checkpoints."""
    evaluate_every: Annotated[int, Field(ge=0)] = 30000
    """Iterations between evaluations; 0 evaluates only at the end."""

    @model_validator(mode="after")
    def _has_weights_to_load(self) -> Self:
        if self.partial and not self.weights:
            raise ValueError("partial=true needs weights to load in part")
        return self


class Test(Options):
    __test__ = False
    short_side: PixelSide = 800
    """Short side, in pixels, of the network's input."""
    long_side: PixelSide = 1333
    """Longest side; the short one gives way."""
