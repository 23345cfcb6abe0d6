"""Measure the time of inference or of a training step, and compare it with the least time its operations need.

    python -m evaluation.speed panoptic/blendmask_r50_3x instance/blendmask_rt_r50_4x --precision bf16-mixed
    python -m evaluation.speed --train --precision bf16-mixed

The floor is the time that the counted operations would take at the rate of one large matrix product, which is measured
first, with the same precision, threads and device. Weights are random, and chosen so that 100 instances are found in a
picture of 640 x 480, which is resized to the config's test size. A training step has two pictures of 640 x 512. The
parts are timed in turn, and the shortest time of each counts. Exits with 1 if a target is missed; targets are those of
a processor.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import Any

import torch
from rich.console import Console
from torch import nn

from evaluation.step_speed import measure_step, train_two_steps
from evaluation.timing import (
    Measurement,
    Stage,
    best_of,
    measured_rate,
    measurement_table,
    peak_memory_of,
    stage_table,
    stages,
)
from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.config.precisions import Precision
from panoptic_blend.deploy.resizing import size_for
from panoptic_blend.models.batching import at_least_float32
from panoptic_blend.models.blendmask import BlendMask
from panoptic_blend.models.build import build_model
from panoptic_blend.models.folding import fold_norms, round_weights
from panoptic_blend.models.panoptic_blend import PanopticBlend, semantic_classes
from panoptic_blend.runtime.precision import autocast, half_dtype, present_device
from panoptic_blend.structures import Size

CPU = torch.device("cpu")
PICTURE = (480, 640)
STEP_IMAGES, STEP_SIZE = 2, (512, 640)

OFFICIAL_RATE = 220e9
"""Float32 operations per second of the two-core machine on which the official implementation was timed."""
OFFICIAL_SECONDS, OFFICIAL_STEP_SECONDS = 4.15, 8.15
"""Its float32 time for a picture with 100 instances (3.9 to 4.4 s), and for a training step (7.8 to 8.5 s)."""
OFFICIAL_STEP_BYTES = 3.4e9
"""Its peak memory in a training step."""


def main() -> None:
    """Parse the options, measure, print, and exit non-zero if a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="*", default=["panoptic/blendmask_r50_3x"])
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--train", action="store_true", help="measure a training step instead")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    options = parser.parse_args()
    device = present_device(options.device, "--device")
    rates = {dtype: measured_rate(dtype, device=device) for dtype in (torch.float32, torch.bfloat16)}
    rate = rates[half_dtype(options.precision, device) or torch.float32]
    shown = ", ".join(f"{value / 1e9:.0f} GFLOP/s in {str(dtype)[6:]}" for dtype, value in rates.items())
    print(f"matrix product: {shown}, on {device}, {torch.get_num_threads()} threads")
    slowdown = OFFICIAL_RATE / rates[torch.float32]
    report = training_report if options.train else inference_report
    results = [report(name, options.precision, options.repeats, rate, slowdown, device) for name in options.config]
    for name, (measured, measurements) in zip(options.config, results, strict=True):
        Console().print(stage_table(f"{name}, {options.precision}", measured, rate))
        Console().print(measurement_table(name, measurements))
    sys.exit(any(measurement.is_missed for _, measurements in results for measurement in measurements))


def inference_report(
    name: str, precision: Precision, repeats: int, rate: float, slowdown: float, device: torch.device = CPU
) -> tuple[list[Stage], list[Measurement]]:
    """Stages and measurements of inference; ``slowdown`` is relative to the machine of the official times."""
    with torch.inference_mode(), autocast(precision, device):
        model = model_with_detections(name, precision, device=device)
        measured, detections, alone = measure(model, input_size(name), PICTURE, repeats)
    found = {stage.name: stage for stage in measured}
    whole, none = found["picture to map"], found["the same, no instances"]
    extra = (
        found["instances"].seconds
        + found["paste and fuse"].seconds
        - found["instances, paste and fuse of none"].seconds
    )
    half_units = precision != "32-true"
    measurements = [
        Measurement(f"ms for each of {detections} instances", 1000 * extra / max(detections, 1)),
        Measurement("ms to paste and fuse, on one core", 1000 * alone, 40),
    ]
    if device.type != "cpu":  # the targets are those of a processor
        return measured, [Measurement("times the floor", whole.ratio(rate) or 0), *measurements]
    measurements = [
        Measurement("times the floor", whole.ratio(rate) or 0, 2.5 if half_units else 1.2),
        Measurement("time with instances over time without", (none.seconds + extra) / none.seconds, 1.05),
        *measurements,
        Measurement(
            "peak of a picture, MB above the libraries", peak_memory_of(predict_once, name, precision) / 1e6, 1000
        ),
    ]
    if name == "panoptic/blendmask_r50_3x" and not half_units:
        official = OFFICIAL_SECONDS * slowdown
        measurements.append(
            Measurement(f"of the official time, here about {official:.1f} s", whole.seconds / official, 0.6)
        )
    return measured, measurements


def training_report(
    name: str, precision: Precision, repeats: int, rate: float, slowdown: float, device: torch.device = CPU
) -> tuple[list[Stage], list[Measurement]]:
    """Stages and measurements of a training step; ``slowdown`` is relative to the machine of the official times."""
    measured = measure_step(name, precision, STEP_IMAGES, STEP_SIZE, repeats, device.type)
    if device.type != "cpu":
        return measured, [Measurement("times the floor", measured[-1].ratio(rate) or 0)]
    official, target = OFFICIAL_STEP_SECONDS * slowdown, 0.8 if precision == "32-true" else 0.3
    peak = peak_memory_of(train_two_steps, name, precision, STEP_IMAGES, STEP_SIZE)
    return measured, [
        Measurement("times the floor", measured[-1].ratio(rate) or 0),
        Measurement(f"of the official time, here about {official:.1f} s", measured[-1].seconds / official, target),
        Measurement("peak, MB above the libraries", peak / 1e6, 0.6 * OFFICIAL_STEP_BYTES / 1e6),
    ]


def input_size(name: str) -> Size:
    """Height and width of the network's input for the picture, by the config's test size."""
    test = load_config(name).test
    return size_for(PICTURE, test.short_side, test.long_side)


def measure(model: PanopticBlend, size: Size, output_size: Size, repeats: int) -> tuple[list[Stage], int, float]:
    """The stages of a BlendMask model, its number of detections, and the seconds to paste and fuse them on one core."""
    device = model.pixel_mean.device
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, device=device)
    batch = model.batch([image])
    backbone = model.backbone(batch)
    pyramid, features = model.fpn(backbone), model.features(batch)
    branch = model.instances
    assert isinstance(branch, BlendMask)
    raw = branch.raw(features)
    [found] = branch.select(raw, [size])
    [output] = model([image], output_sizes=[output_size])
    parts: dict[str, Callable[[], Any]] = {
        "backbone": lambda: model.backbone(batch),
        "pyramid": lambda: model.fpn(backbone),
        "detector": lambda: branch.detect(features),
        "bases": lambda: branch.bottom(features),
        "instances": lambda: branch.select(raw, [size]),
        "paste and fuse": lambda: model.compose(found, size, output_size, output.semantic),
    }
    if (semantic := model.semantic) is not None:
        logits = at_least_float32(semantic(pyramid))[0]
        parts["semantic head"] = lambda: semantic(pyramid)
        parts["semantic classes"] = lambda: semantic_classes(logits, semantic.stride, size, output_size)

    decode, nothing = branch.decode, torch.zeros(0, dtype=torch.int64, device=device)

    def without(run: Callable[[], Any]) -> None:
        branch.decode = lambda levels, number: decode(levels, number)[nothing]
        run()
        branch.decode = decode

    def select_and_compose() -> None:
        [none] = branch.select(raw, [size])
        model.compose(none, size, output_size, output.semantic)

    parts["picture to map"] = lambda: model([image], output_sizes=[output_size])
    parts["the same, no instances"] = lambda: without(parts["picture to map"])
    parts["instances, paste and fuse of none"] = lambda: without(select_and_compose)
    measured = stages(repeats, parts)
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    alone = best_of(repeats, parts["paste and fuse"])
    torch.set_num_threads(threads)
    return measured, len(output.scores), alone


def model_with_detections(
    name: str, precision: Precision = "32-true", overrides: Sequence[str] = (), device: torch.device = CPU
) -> PanopticBlend:
    """A model for inference whose random weights give the maximal number of detections."""
    model = model_to_detect(load_config(name, overrides))
    fold_norms(model)
    if dtype := half_dtype(precision, device):
        round_weights(model, dtype)
    return model.to(device).to(memory_format=torch.channels_last)


def model_to_detect(config: Config) -> PanopticBlend:
    """A model in evaluation mode with random weights, whose classes and boxes vary, and which finds many of them."""
    torch.manual_seed(0)
    model = build_model(config).eval()
    assert isinstance(model.instances, BlendMask)
    head = model.instances.fcos
    nn.init.normal_(head.class_logits.weight, std=0.05)
    for conv, bias in ((head.class_logits, -2.5), (head.distances, 4.0), (head.centerness, 2.0)):
        assert conv is not None and conv.bias is not None
        nn.init.constant_(conv.bias, bias)
    return model


def predict_once(name: str, precision: Precision) -> None:
    """Build a model and predict one picture, to measure the memory."""
    with torch.inference_mode(), autocast(precision, CPU):
        picture = torch.zeros(3, *input_size(name), dtype=torch.uint8)
        model_with_detections(name, precision)([picture], output_sizes=[PICTURE])


if __name__ == "__main__":
    main()
