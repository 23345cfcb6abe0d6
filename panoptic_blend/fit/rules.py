"""The rules of `fit`: how each option follows from the data, the machine and the time. Each rule is a function.

What comes first, the size of the network's input, the batch and the length of the training, is in `budget`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from panoptic_blend.config.model_options import Model
from panoptic_blend.fit.budget import stride_multiple
from panoptic_blend.fit.fingerprint import Fingerprint
from panoptic_blend.fit.machine import Machine


class Choice(NamedTuple):
    """An option, its value, and a sentence that says why."""

    option: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Facts:
    """What the rules look at.

    ``optimizer`` is that of the training; ``is_trained`` says whether the backbone has weights, and ``network`` is
    that of weights of a whole model. ``side`` is the short side of the network's input in pixels. ``images_per_step``
    pictures fit into memory at once, None for all. A step takes ``step_seconds``, with the slower precision
    ``slower_seconds``, loading its batch ``load_seconds``, and judging the model by a picture ``judge_seconds``.
    ``evaluations`` are those during the training.
    """

    data: Fingerprint
    machine: Machine
    has_panoptic: bool
    is_trained: bool
    network: Model | None
    devices: int
    side: int
    batch: int
    precision: str
    iterations: int
    optimizer: str = "muon"
    evaluations: int = 0
    images_per_step: int | None = None
    step_seconds: float = 0.0
    slower_seconds: float | None = None
    load_seconds: float = 0.0
    judge_seconds: float = 0.0

    @property
    def scale(self) -> float:
        """Pixels of the network's input per pixel of the median picture."""
        return self.side / self.data.short_side.p50

    @property
    def passes(self) -> float:
        """How often every picture is learned from."""
        return self.iterations * self.batch / self.data.images

    @property
    def is_on_cpu(self) -> bool:
        return self.machine.device == "cpu"


# --- the network


def pyramid(facts: Facts) -> Iterator[Choice]:
    """Levels and the sizes that they find: the coarsest level those that reach over half of the picture."""
    levels = 3 if facts.side < 300 else 4 if facts.side < 600 else 5
    limits = [facts.side // 2 ** (levels - level) for level in range(1, levels)]
    reason = f"P3 to P{levels + 2}, the last for things that reach over more than half of {facts.side} pixels"
    yield Choice("model.fcos.size_limits", limits, reason)


def frozen(facts: Facts) -> Iterator[Choice]:
    """What of the backbone is not trained."""
    if not facts.is_trained:
        yield Choice("model.backbone.norm", "bn", "without trained weights there are no statistics to keep")
        yield Choice("model.backbone.frozen_stages", 0, "without trained weights nothing is worth keeping")
        return
    few, known = facts.data.images < 5000, f"{facts.data.images} pictures"
    yield Choice(
        "model.backbone.norm",
        "frozen_bn" if few else "bn",
        f"{known} are too few to find better statistics than those of the weights" if few else f"{known} are enough",
    )
    if _is_frozen(facts):
        reason = f"{known} are few: with 340, PQ was 8.2 so, and 6.4 with two stages frozen, in 1.5 times the time"
        yield Choice("model.backbone.frozen_stages", 5, reason)
        return
    yield Choice(
        "model.backbone.frozen_stages", 2 if few else 1, f"edges and textures are known; {known} teach no more"
    )


def _is_frozen(facts: Facts) -> bool:
    """Whether the trained backbone stays as it is."""
    return facts.is_trained and not facts.network and facts.data.images < 1000


def widths(facts: Facts) -> Iterator[Choice]:
    """The widths of pyramid and heads."""
    width = 64 if facts.is_on_cpu else 128
    reason = f"{width} channels on a {'processor' if facts.is_on_cpu else 'GPU'}: wider costs more steps than it brings"
    for option in ("fpn.channels", "bottom.channels", "semantic.channels"):
        yield Choice(f"model.{option}", width, reason)
    convs = 2 if facts.is_on_cpu else 4
    yield Choice("model.fcos.num_convs", convs, f"towers of {convs} convolutions, in proportion to the width")
    yield Choice("model.bottom.num_convs", 2, "as many as the smallest network that was measured here")


def masks(facts: Facts) -> Iterator[Choice]:
    """The resolution of masks: bases have a cell for four pixels of the input."""
    longest = facts.data.thing_long_side.p95 if facts.data.thing_long_side else 0
    cells = longest * facts.scale / 4
    roi, attention = (28, 7) if cells <= 40 else (56, 14)
    reason = f"one thing in twenty is longer than {longest:.0f} pixels, {cells:.0f} cells of the bases"
    yield Choice("model.blender.roi_size", roi, reason)
    yield Choice("model.blender.attention_size", attention, f"a quarter of roi_size {roi}, as the paper has it")


def instances(facts: Facts) -> Iterator[Choice]:
    """Where a thing is learned, and what the score of a detection is."""
    reason = "632 steps on Shapes: AP 18.7 so, 16.3 with FCOS's locations and center-ness; 1,564 steps: 37.6, 36.2"
    yield Choice("model.fcos.assigner", "atss", reason)
    yield Choice("model.fcos.quality", "joint", reason)
    reason = "a mask that is sure of its pixels is more often right: on Shapes +0.6 AP, and +0.4 to +1.5 PQ"
    yield Choice("model.blender.rescoring", "maskness", reason)


def semantics(facts: Facts) -> Iterator[Choice]:
    if not facts.has_panoptic:
        yield Choice("model.semantic.enabled", False, "the data have instances only, so there is no stuff to learn")


def fusion(facts: Facts) -> Iterator[Choice]:
    """The least stuff segment, in pixels of the pictures; the tuning at the end refines it."""
    if facts.has_panoptic and facts.data.stuff_area:
        area = facts.data.stuff_area.p5
        reason = f"nineteen in twenty stuff segments have more than {area:.0f} pixels; tuned at the end"
        yield Choice("model.fusion.stuff_area", round(min(4096, area / 2)), reason)


def detections(facts: Facts) -> Iterator[Choice]:
    most = facts.data.things_per_image.max
    if most > 80:
        limit = math.ceil(1.2 * most / 10) * 10
        branch = "mask_rcnn" if facts.network and facts.network.instances == "mask_rcnn" else "fcos"
        yield Choice(
            f"model.{branch}.detections_per_image", limit, f"a picture has {most} things; a fifth more is room"
        )


# --- the pictures


def sizes(facts: Facts) -> Iterator[Choice]:
    aspect = max(facts.data.aspect.p95, 1 / facts.data.aspect.p5)
    long_side = stride_multiple(facts.side * min(aspect, 4) + 16)
    reason = f"long enough for pictures {aspect:.1f} times as long as high, as nineteen in twenty are at most"
    yield Choice("data.short_sides", [facts.side], "the size of the network's input")
    yield Choice("data.long_side", long_side, reason)
    yield Choice("test.short_side", facts.side, "as in training")
    yield Choice("test.long_side", long_side, "as in training")


def augmentation(facts: Facts) -> Iterator[Choice]:
    """More changes for pictures that are seen more often."""
    passes = f"{facts.passes:.0f} passes over {facts.data.images} pictures"
    sided = ", ".join(facts.data.sided_names[:3])
    yield Choice(
        "data.flip",
        0.5 if facts.data.flip_is_safe else 0.0,
        "no class forbids mirrored pictures" if facts.data.flip_is_safe else f"a mirrored {sided} is another class",
    )
    often, very_often = facts.passes > 10, facts.passes > 40
    if often:
        jitter = [0.5, 2.0] if very_often else [0.7, 1.4]
        yield Choice("data.jitter", jitter, f"{passes}: each should show other sizes and parts")
        yield Choice("data.color", 0.4 if very_often else 0.2, f"{passes}: each should show other light")
        yield Choice("data.copy_paste", 0.5 if very_often else 0.3, f"{passes}: things in other places")
    if very_often:
        yield Choice("data.degrade", 0.1, f"{passes}: some are blurred or compressed, as those to come may be")


def repeats(facts: Facts) -> Iterator[Choice]:
    """More of the pictures with rare classes, if there are five of one: fewer would only be learned by heart."""
    threshold, images = 0.05, facts.data.images
    counts = {known.name: known.images for known in facts.data.classes if 0 < known.images < threshold * images}
    names = sorted((name for name, count in counts.items() if count >= 5), key=counts.__getitem__)
    if names:
        rare = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
        most = math.sqrt(threshold * images / min(counts.values()))
        reason = f"few pictures have {rare}: what is in under {threshold:.0%} comes up to {most:.1f} times as often"
        yield Choice("data.repeat_threshold", threshold, reason)


def loading(facts: Facts) -> Iterator[Choice]:
    """Processes that load pictures beside the training."""
    if facts.is_on_cpu:
        workers = int(facts.machine.cores) // 4
        reason = f"{facts.machine.cores:.0f} free cores are better spent on the network"
    else:
        enough = math.ceil(1.5 * facts.load_seconds / max(facts.step_seconds, 1e-3)) + 1
        workers = max(1, min(enough, int(facts.machine.cores) - 1, 16))
        reason = f"a batch takes {facts.load_seconds:.2f} s to load and {facts.step_seconds:.2f} s to learn from"
    yield Choice("data.workers", workers, reason)


# --- the training


def length(facts: Facts) -> Iterator[Choice]:
    reason = f"{facts.passes:.1f} passes over {facts.data.images} pictures at {facts.step_seconds:.2f} s a step"
    yield Choice("train.iterations", facts.iterations, reason)
    small = "1,200 steps of 4 on Shapes took 1.3 times as long as 600 of 8, for PQ 57.3 instead of 50.6"
    why = small if facts.is_on_cpu else f"{facts.data.images} pictures, {facts.devices} x GPU"
    yield Choice("train.batch_size", facts.batch, why)
    if facts.images_per_step:
        yield Choice("train.images_per_step", facts.images_per_step, "more at once do not fit into the memory")


_RATES = {"muon": (0.002, 0.003), "adamw": (0.0005, 0.001), "sgd": (0.01, 0.01)}
"""Learning rates of each optimizer, for trained and for random weights, for 8 pictures a step."""


def optimizer(facts: Facts) -> Iterator[Choice]:
    rate = _RATES[facts.optimizer][0 if facts.is_trained else 1] * math.sqrt(max(1, facts.batch / 8))
    start = "trained" if facts.is_trained else "random"
    yield Choice("train.optimizer", facts.optimizer, "after 600 steps on Shapes PQ was 50.6 with Muon, 39.9 with AdamW")
    reason = f"{facts.optimizer}, {start} weights; above 8 pictures a step, with the root of their number"
    yield Choice("train.lr", float(f"{rate:.2g}"), reason)
    if facts.is_trained and not _is_frozen(facts):
        yield Choice("train.backbone_lr", 0.3, "the backbone is trained already, the heads are not")
    yield Choice("train.weight_decay", 0.01, "AdamW's own; small, because the training is short")
    yield Choice("train.clip_norm", 10.0, "a single odd batch cannot undo what was learned")


_FEW_STEPS = 1000
"""With fewer steps, a rate that stays high until the end brings more than one that falls all the time."""


def schedule(facts: Facts) -> Iterator[Choice]:
    warmup = min(200, facts.iterations // 15)
    if _falls_late(facts):
        yield Choice(
            "train.steps",
            late_steps(facts.iterations),
            "632 steps on Shapes: PQ 48.0 so, 44.5 with a cosine; 391 steps: 40.1, 39.3",
        )
    else:
        yield Choice("train.schedule", "cosine", "1,564 steps on Shapes: PQ 63.0 so, 62.5 where the rate falls late")
    yield Choice("train.warmup_iterations", warmup, f"a fifteenth of {facts.iterations} steps, at most 200")


def late_steps(iterations: int) -> list[int]:
    """The iterations at which the rate of a training falls, if it does so in two steps."""
    return [round(0.8 * iterations), round(0.93 * iterations)]


def _falls_late(facts: Facts) -> bool:
    return facts.iterations < _FEW_STEPS


def averaging(facts: Facts) -> Iterator[Choice]:
    """An average over the last twentieth of the run."""
    window = max(10, facts.iterations / 20)
    decay = min(0.9998, 1 - 1 / window)
    yield Choice("train.ema", round(decay, 5), f"the weights are averaged over about {window:.0f} steps, a twentieth")


def watching(facts: Facts) -> Iterator[Choice]:
    every = math.ceil(facts.iterations / (facts.evaluations + 1)) if facts.evaluations else 0
    reason = f"evaluations on the way ({facts.evaluations}) take a twentieth of the time, or less"
    yield Choice("train.evaluate_every", every, reason)
    if facts.evaluations >= 5 and not _falls_late(facts):  # most of the gain comes when the rate falls
        yield Choice("train.patience", 3, "three evaluations without a gain say that nothing more comes")
    minute = max(1, min(facts.iterations or 1, round(60 / max(facts.step_seconds, 1e-3))))
    yield Choice("train.checkpoint_every", minute, "about a minute of training is lost if the machine stops")


def arithmetic(facts: Facts) -> Iterator[Choice]:
    slower = facts.slower_seconds
    reason = f"what is fastest on a {'processor' if facts.is_on_cpu else 'GPU'} of this kind"
    if slower:
        reason = f"{facts.step_seconds:.2f} s a step, the other one {slower:.2f} s"
    yield Choice("train.precision", facts.precision, reason)
    if facts.devices > 1:
        yield Choice("train.devices", facts.devices, "as --devices asks")


_NETWORK = (pyramid, frozen, widths, masks, instances)
"""The rules of the network, which weights of a whole model have decided already."""
_ALWAYS: tuple[Callable[[Facts], Iterator[Choice]], ...] = (
    *(semantics, fusion, detections, sizes, augmentation, repeats, loading),
    *(length, optimizer, schedule, averaging, watching, arithmetic),
)


def choose(facts: Facts) -> list[Choice]:
    """The choices of all rules, in the order of the config."""
    rules = _ALWAYS if facts.network else (*_NETWORK, *_ALWAYS)
    return [choice for rule in rules for choice in rule(facts)]
