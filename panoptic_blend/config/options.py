"""The options of data, training and test, with their types, meanings and defaults.

Those of the model are in `model_options`; except the seed, nothing is configured anywhere else.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from panoptic_blend.config.option_types import Count, Fraction, Options, PathText, Text, Weight
from panoptic_blend.config.precisions import Precision

PixelSide = Annotated[int, Field(ge=32, le=2**14)]
Iterations = Annotated[int, Field(ge=0, le=10**9)]
Interval = Annotated[int, Field(ge=1, le=10**9, strict=True)]
ScaleFactor = Annotated[float, Field(ge=0.01, le=100)]


class Data(Options):
    """The data set, and how training images are loaded."""

    root: PathText | None = None
    """Root folder of the data set; by default $PANOPTIC_BLEND_DATA, $DETECTRON2_DATASETS/coco, or ./datasets/coco."""
    train: Text = "train2017"
    """Training split: pictures in <root>/<split>, annotations in panoptic_<split>."""
    val: Text = "val2017"
    """Validation split."""
    things: Literal["panoptic", "instances"] = "panoptic"
    """Source of the instances: the panoptic annotation, or ``instances_<split>``, where they may overlap."""
    skip_empty: bool = False
    """Whether training images without instances are left out; crowds are none."""
    short_sides: Annotated[tuple[PixelSide, ...], Field(min_length=1, max_length=1000)] = (640, 672, 704, 736, 768, 800)
    """Short sides in pixels, from which one is drawn for each training image."""
    side_sampling: Literal["choice", "range"] = "choice"
    """Draw one of ``short_sides``, or any whole number from the first to the last."""
    long_side: PixelSide = 1333
    """Maximum long side of a training image in pixels; it takes precedence over the short side."""
    flip: Fraction = 0.5
    """Probability of a horizontal flip."""
    crop: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Minimum fraction of each side that a random crop keeps; 1 does not crop."""
    jitter: tuple[ScaleFactor, ScaleFactor] | None = None
    """Large scale jitter: lowest and highest factor of the size that the short and long side give. Images larger than
    that are cropped to it at random; null has the factor 1."""
    color: Fraction = 0.0
    """Strength of random changes of brightness, contrast, saturation and hue: 1 multiplies the first three by 0.5 to
    1.5 and turns the hue by up to 36 degrees."""
    degrade: Fraction = 0.0
    """Probability that a training image is blurred, or compressed as JPEG."""
    copy_paste: Fraction = 0.0
    """Probability that things of another training image are pasted over one, scaled by ``jitter`` (or 0.5 to 2) and
    flipped on their own; annotations follow."""
    repeat_threshold: Fraction = 0.0
    """Images with a class that fewer than this share of all images have come more often: ``sqrt(threshold / share)``
    times per epoch."""
    workers: Annotated[int, Field(ge=0, le=1000)] = 4
    """Number of processes per device that load images; 0 loads them in the training process."""
    on_error: Literal["error", "skip"] = "error"
    """Training image that cannot be read: end the run, or replace it with another and count it in the log."""

    @model_validator(mode="after")
    def _has_one_kind_of_crop(self) -> Self:
        if self.jitter and self.jitter[0] > self.jitter[1]:
            raise ValueError(f"jitter is [lowest, highest] factor, not {list(self.jitter)}; swap them")
        if self.jitter and self.crop < 1:
            raise ValueError("jitter crops too, to one size; set crop=1, or jitter=null")
        return self


class Train(Options):
    """The training schedule."""

    iterations: Iterations = 270000
    """Number of optimizer steps. A change without ``steps`` stretches warm-up, steps and intervals with it."""
    batch_size: Count = 16
    """Images per optimizer step, over all devices. A change rescales the schedule, see ``rescale``."""
    images_per_step: Count | None = None
    """Images per forward pass on each device; gradients accumulate over the rest of its share. None: all at once."""
    rescale: bool = True
    """Rescale lr, ema, iterations, warm-up, steps and intervals by the linear rule when batch_size changes, unless
    set."""
    optimizer: Literal["sgd", "adamw", "muon"] = "sgd"
    """SGD with momentum, AdamW, or Muon, which steps the matrices between pixels and predictions along orthogonal ones
    and takes AdamW for all other parameters, at the same rates. Muon needs ``strategy=ddp``."""
    lr: Annotated[float, Field(gt=0, le=10**6)] = 0.01
    """Learning rate after the warm-up."""
    backbone_lr: Annotated[float, Field(gt=0, le=10**6)] = 1.0
    """Factor of the learning rate for the backbone, at every iteration."""
    momentum: Fraction = 0.9
    """Momentum of SGD."""
    weight_decay: Weight = 1e-4
    """Weight decay of every parameter except those of normalization layers."""
    warmup_iterations: Iterations = 1000
    """Iterations over which the learning rate rises linearly from ``warmup_factor`` * ``lr``; fewer than to the first
    of ``steps``."""
    warmup_factor: Fraction = 0.001
    """Fraction of ``lr`` at the first iteration."""
    schedule: Literal["steps", "cosine"] = "steps"
    """After the warm-up: a factor ``gamma`` at each of ``steps``, or half a cosine from ``lr`` to 0 at the end."""
    steps: Annotated[tuple[Annotated[int, Field(le=10**9)], ...], Field(max_length=1000)] = (210000, 250000)
    """Iterations at which the learning rate is multiplied by ``gamma``; none with schedule ``cosine``."""
    gamma: Annotated[float, Field(gt=0, le=1)] = 0.1
    """Factor of the learning rate at each of ``steps``."""
    ema: Annotated[float, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights, which is evaluated and saved instead of them; null: none.
    It is at most (1 + n) / (10 + n) after n iterations."""
    clip_norm: Annotated[float, Field(gt=0, le=10**9)] | None = None
    """Maximum norm of the gradient; null does not clip."""
    precision: Precision = "auto"
    """Floating-point precision; auto is bf16-mixed on processors and GPUs with fast bfloat16 units, else 32-true."""
    tf32: bool = True
    """Whether an NVIDIA GPU may round the factors of float32 convolutions to TF32, which is faster and has 10 bits.
    Evaluation and prediction in float32 never do."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Kind of device to train on; auto is the best there is: CUDA, then MPS, then the CPU."""
    devices: Count = 1
    """Number of devices per node; torchrun and SLURM decide where this is 1, and must agree otherwise."""
    nodes: Count = 1
    """Number of nodes; torchrun and SLURM decide where this is 1, and must agree otherwise."""
    strategy: Literal["ddp", "fsdp"] = "ddp"
    """ddp keeps the whole model on every device, fsdp shards it over the devices."""
    sync_norm: bool = True
    """Whether trained batch norms compute their statistics over all devices."""
    weights: PathText | None = None
    """Initial weights: a file, a name of ``weights list``, or ``imagenet`` for an ImageNet classifier (torchvision's,
    or timm's with kind timm)."""
    partial: bool = False
    """Load only the ``weights`` that fit; missing heads, and classes of other names, keep their initial values."""
    log_every: Interval = 20
    """Iterations between entries in the log."""
    checkpoint_every: Interval = 5000
    """Iterations between checkpoints."""
    evaluate_every: Iterations = 30000
    """Iterations between evaluations; 0 evaluates only at the end."""
    patience: Count | None = None
    """End after so many evaluations in a row without gain: the paired 95 % interval of PQ minus that of the best
    evaluation does not reach above zero. Null: never."""

    @model_validator(mode="before")
    @classmethod
    def _cosine_has_no_steps(cls, values: Any) -> Any:
        is_cosine = isinstance(values, Mapping) and values.get("schedule") == "cosine"
        return {"steps": (), **values} if is_cosine else values

    @model_validator(mode="after")
    def _has_options_of_its_schedule(self) -> Self:
        gamma = type(self).model_fields["gamma"].default
        if self.schedule == "cosine" and (self.steps or self.gamma != gamma):
            name, value = ("steps", list(self.steps)) if self.steps else ("gamma", self.gamma)
            raise ValueError(f"{name}={value} has no effect with schedule=cosine; leave it out")
        return self

    @model_validator(mode="after")
    def _has_evaluations_to_wait_for(self) -> Self:
        if self.patience is not None and not self.evaluate_every:
            raise ValueError(f"patience={self.patience} needs evaluations during training; set evaluate_every")
        return self

    @model_validator(mode="after")
    def _has_weights_to_load(self) -> Self:
        if self.partial and not self.weights:
            raise ValueError("partial=true needs weights to load in part")
        return self


class Test(Options):
    """How pictures are resized in inference."""

    __test__ = False
    short_side: PixelSide = 800
    """Short side of the network's input in pixels."""
    long_side: PixelSide = 1333
    """Maximum long side in pixels; it takes precedence over the short side."""
    resize: Literal["antialiased", "opencv"] = "antialiased"
    """Bilinear with antialiasing, as detectron2 resizes, or OpenCV's bilinear without it, as mmdetection does."""
