"""Every option there is, with its type, meaning and default; nothing is configured anywhere else.

A YAML file may name another as its ``base:`` (relative to itself) and states only what differs.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from panoptic_blend.config_files import config_names as config_names
from panoptic_blend.config_files import locate, overridden, read_options
from panoptic_blend.structures import PanopticBlendError

Fraction = Annotated[float, Field(ge=0, le=1)]
Count = Annotated[int, Field(ge=1, strict=True)]
Side = Annotated[int, Field(ge=32, le=2**14)]
Width = Annotated[int, Field(ge=32, multiple_of=32)]
Precision = Literal["auto", "32-true", "bf16-mixed", "16-mixed"]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class Backbone(_Options):
    depth: Literal[18, 34, 50, 101] = 50
    """Layers of the ResNet."""
    norm: Literal["frozen_bn", "bn", "gn"] = "frozen_bn"
    """Normalisation: batch norm with fixed statistics, with trained ones, or group norm."""
    frozen_stages: Annotated[int, Field(ge=0, le=5)] = 2
    """How many of stem, c2, c3, c4, c5 are not trained."""
    deformable_every: Annotated[int, Field(ge=0)] = 0
    """Modulated deformable 3x3 convolutions in blocks 0, n, 2n, ... of c3-c5; 0 for none. Depth 50 or 101."""

    @model_validator(mode="after")
    def _has_bottlenecks(self) -> Self:
        if self.deformable_every and self.depth < 50:
            raise ValueError("deformable_every needs the bottlenecks of depth 50 or 101")
        return self


class FPN(_Options):
    channels: Width = 256
    """Channels of every pyramid level and of FCOS' towers."""


class FCOS(_Options):
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


class Bottom(_Options):
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


class Blender(_Options):
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


class MaskRCNN(_Options):
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


class Semantic(_Options):
    enabled: bool = True
    """Without it the model finds instances only."""
    channels: Width = 128
    """Width of the semantic head."""
    loss_weight: Annotated[float, Field(ge=0)] = 0.5
    """Weight of the semantic loss."""


class Fusion(_Options):
    confidence: Fraction = 0.2
    """Least score of an instance in the panoptic map."""
    overlap: Fraction = 0.4
    """Largest share of an instance that better ones may cover."""
    stuff_area: Annotated[int, Field(ge=0)] = 4096
    """Least number of pixels of a stuff segment."""


class Model(_Options):
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


class Data(_Options):
    root: str | None = None
    """Folder of the data set; else PANOPTIC_BLEND_DATA, DETECTRON2_DATASETS/coco, or ./datasets/coco."""
    train: str = "train2017"
    """Split to train on: pictures in <root>/<split>, annotations in panoptic_<split>."""
    val: str = "val2017"
    """Split to evaluate on."""
    things: Literal["panoptic"] = "panoptic"
    """Where instances come from: the panoptic annotation."""
    short_sides: Annotated[tuple[Side, ...], Field(min_length=1)] = (640, 672, 704, 736, 768, 800)
    """Short sides, in pixels, one of which is drawn for each training image."""
    side_sampling: Literal["choice", "range"] = "choice"
    """Draw one of `short_sides`, or any whole number from the first to the last."""
    long_side: Side = 1333
    """Longest side of a training image; the short one gives way."""
    flip: Fraction = 0.5
    """Probability of a horizontal flip."""
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Least share of each side that a random crop keeps; 1 crops nothing."""
    workers: Annotated[int, Field(ge=0)] = 4
    """Processes that load images, for each device."""
    on_error: Literal["error", "skip"] = "error"
    """A training image that cannot be read ends the run, or another takes its place and the log counts it."""


class Train(_Options):
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
    """Iterations over which the rate rises linearly from `warmup_factor`."""
    warmup_factor: Fraction = 0.001
    steps: tuple[int, ...] = (210000, 250000)
    """Iterations at which the rate is multiplied by `gamma`."""
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
    """Weights to start from: a file, or `imagenet` for torchvision's."""
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


class Test(_Options):
    __test__ = False
    short_side: Side = 800
    """Short side, in pixels, of the network's input."""
    long_side: Side = 1333
    """Longest side; the short one gives way."""


class Config(_Options):
    """A whole experiment."""

    model: Model = Model()
    data: Data = Data()
    train: Train = Train()
    test: Test = Test()
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Everything random follows from it."""
    _notes: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("not a table of options")
        return value

    @property
    def notes(self) -> tuple[str, ...]:
        """What was changed without being asked for: a schedule that follows its batch size."""
        return self._notes

    def changed(self, overrides: Iterable[str]) -> Config:
        """A copy with ``key=value`` changes, such as ``test.short_side=512``."""
        items, notes = list(overrides), list(self._notes)
        return _noted(parse_config(overridden(self.model_dump(), items, _SCHEDULE, notes), " ".join(items)), notes)


_SCHEDULE = Train().model_dump()
"""What a config says of training that does not say otherwise."""


def load_config(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a config by name (``panoptic/blendmask_r50_3x``) or path, with ``key=value`` overrides.

    Raises:
        PanopticBlendError: no such config, an unknown option, or a value of the wrong kind.
    """
    notes: list[str] = []
    options = overridden(read_options(locate(str(name_or_path)), _SCHEDULE, notes), overrides, _SCHEDULE, notes)
    return _noted(parse_config(options, str(name_or_path)), notes)


def _noted(config: Config, notes: Iterable[str]) -> Config:
    config._notes = tuple(notes)
    return config


def parse_config(options: Mapping[str, Any], source: str) -> Config:
    """Check options that came from ``source`` (named in errors)."""
    try:
        return Config.model_validate(options)
    except ValidationError as error:
        raise PanopticBlendError(f"{source}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        section, _, name = key.rpartition(".")
        close = difflib.get_close_matches(name, _options_of(section), n=1, cutoff=0.5)
        known = f"did you mean `{close[0]}`?" if close else f"known are {', '.join(_options_of(section))}"
        return f"unknown option `{key}`; {known}"
    if first["type"] == "value_error":  # one of ours, which says what is wrong in its own words
        return f"`{key}`: {first['ctx']['error']}" if key else str(first["ctx"]["error"])
    return f"option `{key}` is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _options_of(section: str) -> list[str]:
    options: type[BaseModel] = Config
    for part in filter(None, section.split(".")):
        annotation = options.model_fields[part].annotation
        assert isinstance(annotation, type)
        options = annotation
    return list(options.model_fields)
