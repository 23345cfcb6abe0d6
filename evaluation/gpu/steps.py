"""A training step alone, beside torchvision's Mask R-CNN; and what a step and a prediction wait for."""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.profiler import DeviceType, ProfilerActivity, profile

from evaluation.gpu.bench import Bench, Finding
from evaluation.gpu.workload import R50, finding_model, peer, pictures, placed, predicted
from evaluation.operator_counts import KINDS, counting
from evaluation.step_speed import INSTANCES, Step, generated_target
from evaluation.timing import wait_for_device
from panoptic_blend.config.precisions import Precision
from panoptic_blend.runtime.precision import autocast
from panoptic_blend.structures import Size

_STEP_FLOP = 1852e9
"""Floating-point operations of a step for one picture of 800 x 1344 pixels, two for a multiply-add."""
_TARGET_MS = 130.0
_OF_PEER = 0.8
_SHOWN = 10


def step_at_16(bench: Bench) -> Finding:
    """A step with 16 pictures of 800 x 1344 in bf16 and in float32 with TF32, beside the peer's."""
    number, size = bench.times(16, 2), bench.size((800, 1344))
    flop = _STEP_FLOP * number * size[0] * size[1] / (800 * 1344)
    found: dict[str, Any] = {}
    precisions: list[Precision] = ["bf16-mixed", "32-true"]
    for precision in precisions:
        bench.forget()
        step = Step(R50, precision, number, size, bench.device.type)
        seconds = bench.median(step.whole, 6)
        found[precision] = {
            "ms": round(1000 * seconds, 1),
            "images_s": round(number / seconds, 1),
            "tflops": round(flop / seconds / 1e12, 1),
            **bench.peak(),
            "ms_without_update": bench.milliseconds(step.gradients, 2),
        }
        del step
        bench.forget()
        found[f"torchvision {precision}"] = _peer_step(bench, precision, number, size)
    ms, other = (found[name]["ms"] for name in ("bf16-mixed", "torchvision bf16-mixed"))
    found["of the time of torchvision's"] = round(ms / other, 2)
    is_met = not bench.has_targets or (ms <= _TARGET_MS and ms <= _OF_PEER * other)
    return Finding(found, is_met, f"{_TARGET_MS:.0f} ms in bf16, and {_OF_PEER} of torchvision's time")


def _peer_step(bench: Bench, precision: Precision, number: int, size: Size) -> dict[str, Any]:
    model = peer(bench.device, size, bench.is_tiny).train()
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.SGD(trained, 1e-4, 0.9, fused=True)
    images = [image.float().div(255).to(bench.device) for image in pictures(number, size)]
    targets = [_peer_target(size, seed, bench.device) for seed in range(number)]

    def run() -> None:
        with autocast(precision, bench.device):
            losses = model(images, targets)
        optimizer.zero_grad()
        torch.stack(list(losses.values())).sum().backward()
        optimizer.step()

    seconds = bench.median(run, 4)
    return {"ms": round(1000 * seconds, 1), "images_s": round(number / seconds, 1), **bench.peak()}


def _peer_target(size: Size, seed: int, device: torch.device) -> dict[str, Tensor]:
    target = generated_target(size, 80, 53, seed)
    numbers = torch.arange(1, INSTANCES + 1, dtype=torch.uint8)[:, None, None]
    masks = (target["instance_map"] == numbers).to(torch.uint8)
    found = {"boxes": target["boxes"], "labels": target["labels"] + 1, "masks": masks}
    return {key: value.to(device) for key, value in found.items()}


def waits(bench: Bench) -> Finding:
    """Where the host waits for a GPU in a step and in a prediction, and the kernels that it runs."""
    size = bench.size((512, 640))
    step = Step(R50, "bf16-mixed", 2, size, bench.device.type)
    model = placed(finding_model(R50), bench.device, "bf16-mixed")
    images = pictures(1, size)
    runs: dict[str, Callable[[], Any]] = {
        "step": step.whole,
        "prediction": lambda: predicted(model, "bf16-mixed", images, size),
    }
    found: dict[str, Any] = {}
    for name, run in runs.items():
        for _ in range(bench.times(2, 0)):
            run()
        with counting() as counts:
            run()
        found[name] = {kind: counts.of(kind) for kind in KINDS}
        if bench.is_cuda:
            found[name] |= _places(bench, run) | _kernels(bench, run)
    return Finding(found)


def _places(bench: Bench, run: Callable[[], Any]) -> dict[str, Any]:
    """The lines that wait, as torch tells them."""
    wait_for_device()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        torch.cuda.set_sync_debug_mode("warn")
        try:
            run()
        finally:
            torch.cuda.set_sync_debug_mode("default")
    places = [f"{Path(w.filename).name}:{w.lineno}" for w in caught if "synchroniz" in str(w.message)]
    return {"synchronizations": len(places), "places": dict(Counter(places).most_common(_SHOWN))}


def _kernels(bench: Bench, run: Callable[[], Any]) -> dict[str, Any]:
    """The number of kernels, the time of the device, and the kernels that take most of it."""
    with profile(activities=[ProfilerActivity.CUDA, ProfilerActivity.CPU]) as profiler:
        run()
        wait_for_device()
    kernels = [event for event in profiler.events() or [] if event.device_type == DeviceType.CUDA]
    times: Counter[str] = Counter()
    for event in kernels:
        times[event.name[:60]] += event.device_time / 1000
    return {
        "kernels": len(kernels),
        "gpu_busy_ms": round(sum(times.values()), 2),
        "wall_ms": bench.milliseconds(run, 3),
        "top_kernels_ms": {name: round(value, 2) for name, value in times.most_common(_SHOWN)},
    }
