"""Tools of the speed experiments: times, counted operations, the processor's rate, peak memory, targets."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

import torch
from rich.table import Table
from torch.nn import functional
from torch.utils.flop_counter import FlopCounterMode

from evaluation.memory import peak_bytes
from panoptic_blend.terminal import right_aligned


@dataclass(frozen=True)
class Stage:
    """The shortest time of a part, and its floating-point operations (two for a multiply-add)."""

    name: str
    seconds: float
    operations: float

    def ratio(self, rate: float) -> float | None:
        """The time divided by the time of the operations at ``rate``; None without operations."""
        return self.seconds * rate / self.operations if self.operations else None


@dataclass(frozen=True)
class Measurement:
    """A measured value, in the unit stated in its name, and the target: the largest value allowed."""

    name: str
    value: float
    target: float | None = None

    @property
    def is_missed(self) -> bool:
        """Whether there is a target and the value exceeds it."""
        return self.target is not None and self.value > self.target


def best_of(repeats: int, run: Callable[[], Any]) -> float:
    """The shortest time of several runs, in seconds, after a run that is not counted."""
    [shortest] = best_of_each(repeats, [run])
    return shortest


def best_of_each(repeats: int, runs: Sequence[Callable[[], Any]]) -> list[float]:
    """The shortest time of each of several functions; they run in turn, so that a busy moment affects all alike."""
    shortest = [float("inf")] * len(runs)
    for number in range(repeats + 1):
        for i, run in enumerate(runs):
            wait_for_device()
            start = time.perf_counter()
            run()
            wait_for_device()
            if number:
                shortest[i] = min(shortest[i], time.perf_counter() - start)
    return shortest


def wait_for_device() -> None:
    """Wait for what a GPU or other accelerator still has to do."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def stages(repeats: int, parts: Mapping[str, Callable[[], Any]]) -> list[Stage]:
    """Count the operations of every part, and time the parts in turn."""
    operations = []
    for run in parts.values():
        with FlopCounterMode(display=False) as counter:
            run()
        operations.append(counter.get_total_flops())
    seconds = best_of_each(repeats, list(parts.values()))
    return [Stage(*part) for part in zip(parts, seconds, operations, strict=True)]


def measured_rate(dtype: torch.dtype, side: int = 4096, device: torch.device | None = None) -> float:
    """The operations per second of one large matrix product."""
    a = torch.randn(side, side, dtype=dtype, device=device)
    return 2 * side**3 / best_of(10, lambda: a @ a)


def stage_table(title: str, measured: Sequence[Stage], rate: float) -> Table:
    """A table of times, operations, and the ratio of the two at ``rate``."""
    result = right_aligned("", "ms", "GFLOP", "times the floor", title=title)
    for stage in measured:
        ratio, operations = stage.ratio(rate), stage.operations
        result.add_row(
            stage.name,
            f"{1000 * stage.seconds:.0f}" if stage.seconds >= 0.1 else f"{1000 * stage.seconds:.1f}",
            f"{operations / 1e9:.0f}" if operations else "",
            "" if ratio is None else f"{ratio:.2f}",
        )
    return result


def measurement_table(title: str, measurements: Sequence[Measurement]) -> Table:
    """A table of every measurement and its target."""
    result = right_aligned("", "measured", "at most", "", title=title)
    for measurement in measurements:
        target = "" if measurement.target is None else f"{measurement.target:.4g}"
        result.add_row(measurement.name, f"{measurement.value:.4g}", target, "missed" if measurement.is_missed else "")
    return result


def peak_memory_of(run: Callable[..., Any], *arguments: Any) -> int:
    """The bytes by which ``run`` raises the peak memory of a fresh process above its imports."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
        return process.submit(_peak_increase, run, *arguments).result()


def _peak_increase(run: Callable[..., Any], *arguments: Any) -> int:
    # Load what torch loads on first use, so that it is not counted.
    functional.conv2d(torch.zeros(1, 8, 8, 8), torch.zeros(8, 8, 3, 3))
    before = peak_bytes()
    run(*arguments)
    return peak_bytes() - before
