"""What this machine can do: free cores and memory, and how long a step of training takes, measured."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import psutil
import torch

from panoptic_blend.config.experiment import Config
from panoptic_blend.data.loader import Batch
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.data.splits import evenly
from panoptic_blend.inference.evaluation import evaluate
from panoptic_blend.machine import cores
from panoptic_blend.runtime.precision import chosen_device
from panoptic_blend.runtime.threads import START_SECONDS, Times
from panoptic_blend.training.loop import update_weights
from panoptic_blend.training.run import Run
from panoptic_blend.training.step import add_gradients

_ENOUGH = 3.0
"""Seconds for which short steps are measured, as the time of a single one varies."""


@dataclass(frozen=True)
class Machine:
    """Free resources: ``cores`` of the processor, ``memory`` in bytes of the device, its type and its name."""

    cores: float
    memory: int
    device: str
    name: str


@dataclass(frozen=True)
class StepTime:
    """How long an optimizer step takes, and how long a picture to judge by.

    ``seconds`` is the median of a step without loading, ``load_seconds`` of loading its batch in one process, and
    ``spread`` the largest step in units of the smallest. ``judge_seconds`` is the time of predicting and scoring a
    picture, by weights that find nothing yet. ``peak_memory`` is in bytes.
    """

    seconds: float
    load_seconds: float
    judge_seconds: float
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
    return Machine(free, free_memory(), chosen.type, "")


def free_memory(groups: Path = Path("/sys/fs/cgroup")) -> int:
    """Bytes of memory that this process may still take, by the system and by the limit of its container.

    Args:
        groups: the folder of the control groups of Linux, of version 1 or 2. Files in its caches count as free.
    """
    free = psutil.virtual_memory().available
    for folder, limit, used in (
        (groups, "memory.max", "memory.current"),
        (groups / "memory", "memory.limit_in_bytes", "memory.usage_in_bytes"),
    ):
        try:
            taken = int((folder / used).read_text()) - _inactive_bytes((folder / "memory.stat").read_text())
            free = min(free, max(0, int((folder / limit).read_text()) - taken))
        except (OSError, ValueError):  # there is no such group, or its limit is "max"
            continue
    return free


def _inactive_bytes(statistics: str) -> int:
    """Bytes of files in memory that were not used lately."""
    return next((int(line.split()[1]) for line in statistics.splitlines() if line.startswith("inactive_file ")), 0)


def step_seconds(config: Config, dataset: PanopticDataset, precision: str, steps: int = 4) -> StepTime:
    """Measure the judging of pictures and then ``steps`` real steps or more with random weights, after one of each.

    The steps have the batches, the optimizer and the average of the ``config``, and both have as many threads as there
    are free cores.
    """
    options = [f"train.precision={precision}", "train.weights=null", "train.partial=false", "data.workers=0"]
    options.append("model.backbone.pretrained=true")  # only train.weights=imagenet loads it
    with tempfile.TemporaryDirectory() as folder:
        run = Run(config.changed(options), Path(folder), False, datasets=(dataset, dataset), share_cores=True)
        _judge(run, dataset, 1)
        judging = _judge(run, dataset, 2 * steps)  # first: a few steps raise scores enough for a lot of wrong things
        batches = run.batches()
        _step(run, batches)
        _forget_peak(run.fabric.device)
        times, start = list[tuple[float, float]](), time.perf_counter()
        while len(times) < steps or (len(times) < 4 * steps and time.perf_counter() - start < _ENOUGH):
            times.append(_step(run, batches))
        loading, stepping = zip(*times, strict=True)
        memory = _peak_memory(run.fabric.device)
    return StepTime(
        seconds=float(np.median(stepping)),
        load_seconds=float(np.median(loading)),
        judge_seconds=judging,
        peak_memory=memory,
        spread=max(stepping) / min(stepping),
    )


def _forget_peak(device: torch.device) -> None:
    """Let the peak of the memory begin anew; where the system cannot, it is that of the whole process."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    else:
        with suppress(OSError):
            Path("/proc/self/clear_refs").write_text("5")  # proc(5)


def _peak_memory(device: torch.device) -> int:
    """The most bytes that were reserved on a GPU, or resident in the memory of the processor."""
    if device.type == "cuda":
        return torch.cuda.max_memory_reserved(device)
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return 1024 * int(line.split()[1])
    return int(psutil.Process().memory_info().rss)


def _step(run: Run, batches: Iterator[Batch]) -> tuple[float, float]:
    """The seconds in which a batch was loaded, and in which a step with it was made."""
    start = time.perf_counter()
    batch = next(batches)
    loaded = time.perf_counter()
    run.forward.train()
    add_gradients(run.fabric, run.forward, run.model, batch.parts_of(run.config.train.images_per_step))
    update_weights(run)
    if run.fabric.device.type == "cuda":
        torch.cuda.synchronize()
    return loaded - start, time.perf_counter() - loaded


def _judge(run: Run, dataset: PanopticDataset, pictures: int) -> float:
    """The mean time in which some pictures of a data set are predicted and scored, in seconds."""
    some = evenly(dataset, min(pictures, len(dataset)))
    start = time.perf_counter()
    evaluate(run.model, some, run.config, precision=run.config.train.precision)
    return (time.perf_counter() - start) / len(some)
