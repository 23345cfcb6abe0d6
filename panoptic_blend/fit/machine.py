"""What this machine can do: free cores and memory, and how long a step of training takes, measured."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from panoptic_blend.config.experiment import Config
from panoptic_blend.data.loader import Batch
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.machine import cores
from panoptic_blend.runtime.precision import chosen_device
from panoptic_blend.runtime.threads import START_SECONDS, Times
from panoptic_blend.training.loop import add_gradients
from panoptic_blend.training.run import Run


@dataclass(frozen=True)
class Machine:
    """Free resources: ``cores`` of the processor, ``memory`` in bytes of the device, its type and its name."""

    cores: float
    memory: int
    device: str
    name: str


@dataclass(frozen=True)
class StepTime:
    """How long an optimizer step takes.

    ``seconds`` is the median of a step without loading, ``load_seconds`` of loading its batch in one process, and
    ``spread`` the largest step in units of the smallest. ``peak_memory`` is in bytes.
    """

    seconds: float
    load_seconds: float
    peak_memory: int
    spread: float


def measure_machine(device: str = "auto") -> Machine:
    """Observe what other programs leave free of the processor for a moment, and of the memory of the device."""
    before, chosen = Times.now(), chosen_device(device)
    time.sleep(START_SECONDS)
    free = max(1.0, cores() - Times.now().since(before).equals)
    if chosen.type == "cuda":
        memory, _ = torch.cuda.mem_get_info(chosen)
        return Machine(free, memory, chosen.type, torch.cuda.get_device_name(chosen))
    return Machine(free, psutil.virtual_memory().available, chosen.type, "")


def step_seconds(config: Config, dataset: PanopticDataset, precision: str, steps: int = 4) -> StepTime:
    """Measure ``steps`` real steps of a training with random weights, after one that is not measured."""
    options = [f"train.precision={precision}", "train.weights=null", "train.partial=false", "data.workers=0"]
    with tempfile.TemporaryDirectory() as folder:
        run = Run(config.changed(options), Path(folder), False, datasets=(dataset, dataset), share_cores=True)
        batches = run.batches()
        _step(run, batches)
        loading, stepping = zip(*(_step(run, batches) for _ in range(steps)), strict=True)
    memory = (
        torch.cuda.max_memory_reserved() if run.fabric.device.type == "cuda" else psutil.Process().memory_info().rss
    )
    return StepTime(float(np.median(stepping)), float(np.median(loading)), memory, max(stepping) / min(stepping))


def _step(run: Run, batches: Iterator[Batch]) -> tuple[float, float]:
    """The seconds in which a batch was loaded, and in which a step with it was made."""
    start = time.perf_counter()
    batch = next(batches)
    loaded = time.perf_counter()
    run.forward.train()
    number = -(-len(batch.images) // (run.config.train.images_per_step or len(batch.images)))
    add_gradients(run.fabric, run.forward, run.model, batch.parts(number))
    run.wrapped_optimizer.step()
    run.wrapped_optimizer.zero_grad()
    if run.fabric.device.type == "cuda":
        torch.cuda.synchronize()
    return loaded - start, time.perf_counter() - loaded
