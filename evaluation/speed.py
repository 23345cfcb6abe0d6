"""How fast a picture becomes a panoptic map, stage by stage, against what its operations need at least.

    python -m evaluation.speed panoptic/blendmask_r50_3x --precision bf16-mixed

The floor is the time that the counted operations would take at the rate of one large matrix product, measured
first, in the same arithmetic and with the same threads. Weights are random, set so that 100 instances are found.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table
from torch import nn
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from panoptic_blend.config import Precision, load_config
from panoptic_blend.engine.precision import autocast, half
from panoptic_blend.models.build import build_model
from panoptic_blend.models.folding import fold_norms, round_weights
from panoptic_blend.models.panoptic_blend import PanopticBlend

CPU = torch.device("cpu")


@dataclass(frozen=True)
class Stage:
    """The best time of one part, and the multiply-adds in it, counted twice as usual."""

    name: str
    seconds: float
    operations: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="*", default=["panoptic/blendmask_r50_3x"])
    parser.add_argument("--precision", choices=["32-true", "bf16-mixed"], default="32-true")
    parser.add_argument("--size", type=int, nargs=2, default=(800, 1067), metavar=("H", "W"), help="network input")
    parser.add_argument("--output-size", type=int, nargs=2, default=(480, 640), metavar=("H", "W"))
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    rate = measured_rate(torch.bfloat16 if options.precision == "bf16-mixed" else torch.float32)
    print(f"matrix product: {rate / 1e9:.0f} GFLOP/s in {options.precision} on {torch.get_num_threads()} threads")
    for name in options.config:
        with torch.inference_mode(), autocast(options.precision, CPU):
            model = lively_model(name, options.precision)
            stages, detections = measure(model, tuple(options.size), tuple(options.output_size), options.repeats)
        Console().print(table(f"{name}, {detections} instances", stages, rate))
        peak = in_fresh_process(peak_memory, name, tuple(options.size), tuple(options.output_size), options.precision)
        print(f"peak memory of a picture, model included: {peak / 2**20:.0f} MiB above the imported libraries")


def measured_rate(dtype: torch.dtype, side: int = 4096) -> float:
    """Operations per second of one matrix product."""
    a = torch.randn(side, side, dtype=dtype)
    return 2 * side**3 / best_of(3, lambda: a @ a)


def best_of(repeats: int, run: Callable[[], Any]) -> float:
    """The shortest of some runs, in seconds, after one that does not count."""
    run()
    seconds = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def measure(
    model: PanopticBlend, size: tuple[int, int], output_size: tuple[int, int], repeats: int
) -> tuple[list[Stage], int]:
    """The stages of a BlendMask model, the whole with 100 instances, and the whole with none."""
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8)
    batch = model.batch([image])
    stages = model.backbone(batch)
    pyramid = model.fpn(stages)
    features = model.features(batch)
    branch, semantic = model.instances, model.semantic
    parts: dict[str, Callable[[], Any]] = {
        "backbone": lambda: model.backbone(batch),
        "pyramid": lambda: model.fpn(stages),
        "detector": lambda: branch.detect(features),
        "bases": lambda: branch.bottom(features),
    }
    if semantic is not None:
        parts["semantic head"] = lambda: semantic(pyramid)
    measured = [_stage(part, run, repeats) for part, run in parts.items()]
    whole = _stage("picture to map", lambda: model([image], output_sizes=[output_size]), repeats)
    rest = whole.seconds - sum(stage.seconds for stage in measured)
    [output] = model([image], output_sizes=[output_size])
    decode, none = branch.decode, torch.zeros(0, dtype=torch.int64)
    branch.decode = lambda levels, number: decode(levels, number)[none]
    without = _stage("the same, no instances", lambda: model([image], output_sizes=[output_size]), repeats)
    return [*measured, Stage("everything else", rest, 0), whole, without], len(output.scores)


def _stage(name: str, run: Callable[[], Any], repeats: int) -> Stage:
    with FlopCounterMode(display=False) as counter:
        run()
    return Stage(name, best_of(repeats, run), counter.get_total_flops())


def lively_model(name: str, precision: Precision = "32-true") -> PanopticBlend:
    """A model ready to predict whose random weights find as many instances as it may."""
    torch.manual_seed(0)
    model = build_model(load_config(name)).eval()
    head = model.instances.fcos
    nn.init.normal_(head.class_logits.weight, std=0.05)
    for conv, bias in ((head.class_logits, -2.5), (head.distances, 4.0), (head.centerness, 2.0)):
        nn.init.constant_(conv.bias, bias)
    fold_norms(model)
    if dtype := half(precision, CPU):
        round_weights(model, dtype)
    return model.to(memory_format=torch.channels_last)


def table(title: str, stages: list[Stage], rate: float) -> Table:
    """Times, operations, and the ratio of the two at ``rate``."""
    result = Table("", "ms", "GFLOP", "times the floor", title=title)
    for column in result.columns[1:]:
        column.justify = "right"
    for stage in stages:
        ratio = f"{stage.seconds * rate / stage.operations:.2f}" if stage.operations else ""
        result.add_row(stage.name, f"{1000 * stage.seconds:.0f}", f"{stage.operations / 1e9:.0f}", ratio)
    return result


def in_fresh_process(function: Callable[..., int], *arguments: Any) -> int:
    """What ``function`` returns in a process that did nothing before."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def peak_memory(name: str, size: tuple[int, int], output_size: tuple[int, int], precision: Precision) -> int:
    """Bytes by which making a model and running it on one picture raise the peak of this process."""
    functional.conv2d(torch.zeros(1, 8, 8, 8), torch.zeros(8, 8, 3, 3))  # what the library loads when it is first used
    before = _peak()
    with torch.inference_mode(), autocast(precision, CPU):
        lively_model(name, precision)([torch.zeros(3, *size, dtype=torch.uint8)], output_sizes=[output_size])
    return _peak() - before


def _peak() -> int:
    """Peak resident memory of this process, in bytes; Linux tells it (getrusage would add the parent's)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) * 1024


if __name__ == "__main__":
    main()
