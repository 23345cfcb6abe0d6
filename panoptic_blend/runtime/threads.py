"""The number of torch's threads on a processor that other programs use too.

The threads of an operation wait for one another: one that another program keeps from its core delays all of them, at
every operation. With a busy loop beside two threads on two cores, a training step takes three times as long and more;
with one thread it takes less than twice as long. A command therefore uses as many threads as there are free cores.
"""

from __future__ import annotations

import math
import os
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from panoptic_blend.machine import cores
from panoptic_blend.structures import Progress

START_SECONDS, SECONDS = 0.3, 2.0
"""The time for which the processor is observed before the first number of threads, and before each later one."""
FOR_LESS, FOR_MORE, AT_MOST = 2, 8, 64
"""In how many observations in a row a smaller or a larger number must be right before it is set.

The latter doubles, up to ``AT_MOST``, each time a thread had to be given up, so that the number does not swing.
"""
_LOST, _FREE = 0.35, 0.75
"""A thread is given up when others take this much of a core from all threads, and added when this much is free."""
_USER_SETTINGS = "OMP_NUM_THREADS", "MKL_NUM_THREADS"


@dataclass(frozen=True)
class Usage:
    """How other programs used the cores of this process in an interval; all values are numbers of cores.

    ``others`` is the use by all of them, and ``equals`` by those of the same or a higher priority. ``waited`` counts
    the threads of this process that were ready and had no core; None if the system does not tell.
    """

    others: float
    equals: float
    waited: float | None


def first_number(most: int, available: int, usage: Usage) -> int:
    """The number of threads, at most ``most``, for the free ones of ``available`` cores, before any thread has run."""
    return max(1, min(most, math.floor(available - usage.equals + 0.5)))


def next_number(number: int, most: int, available: int, usage: Usage) -> int:
    """The number of threads, at most ``most``, that is right after ``number`` of them ran beside others' ``usage``.

    Programs of low priority use cores and take none away, and a process can wait for itself. Therefore both count: a
    thread is given up only for cores that others used while threads of this process waited.
    """
    taken = usage.equals if usage.waited is None else min(usage.others, usage.waited)
    if taken > _LOST:
        return max(1, number - math.ceil(taken - _LOST))
    free = available - usage.equals - number
    return max(number, min(most, number + math.floor(free + 1 - _FREE)))


class Threads:
    """Keeps the number of torch's threads in this process at the number of free cores.

    What the user set in the environment stands; so does torch's number where the network is not on the CPU.

    Args:
        is_shared: whether to follow the free cores; otherwise torch's number stays.
        number: the number to begin with, at most torch's own; by default as many as there are free cores.
        rest: the least time in seconds between two changes, for a caller to which each change is expensive.
    """

    def __init__(self, is_shared: bool, number: int | None = None, rest: float = 0.0) -> None:
        self._is_shared = is_shared and not any(os.environ.get(name) for name in _USER_SETTINGS)
        self._most, self._first = torch.get_num_threads(), number
        self._direction, self._row, self._patience = 0, 0, FOR_MORE
        self._rest, self._rests_until = rest, 0.0
        if self._is_shared:
            self._before = Times.now()

    @property
    def number(self) -> int:
        """The present number of threads."""
        return torch.get_num_threads()

    @property
    def in_words(self) -> str:
        """The number of threads and what it is adapted to."""
        return f"{self.number} of {self._most} threads, for the cores that other programs leave free"

    def start(self) -> list[str]:
        """Set the first number of threads, after a moment of observation; returns remarks for the user."""
        if self._is_shared and self._first is None:
            time.sleep(max(0, self._before.at + START_SECONDS - time.monotonic()))
            torch.set_num_threads(first_number(self._most, cores(), Times.now().since(self._before)))
            self._before = Times.now()
        elif self._is_shared and self._first is not None:
            torch.set_num_threads(min(self._first, self._most))
        if self._first not in {None, self.number}:
            return [f"the run had {self._first} threads and now has {self.number}: last digits may differ"]
        return [self.in_words] if self.number < self._most else []

    def follow(self) -> bool:
        """Change the number of threads if the free cores have changed; returns whether it did. Call it often."""
        if not self._is_shared or time.monotonic() < self._before.at + SECONDS:
            return False
        before, self._before = self._before, Times.now()
        number = next_number(self.number, self._most, cores(), self._before.since(before))
        direction = (number > self.number) - (number < self.number)
        self._row = self._row + 1 if direction == self._direction else 1
        self._direction = direction
        is_too_soon = self._row < (FOR_LESS if direction < 0 else self._patience) or self._before.at < self._rests_until
        if not direction or is_too_soon:
            return False
        torch.set_num_threads(number)
        self._row, self._rests_until = 0, self._before.at + self._rest
        if direction < 0:
            self._patience = min(2 * self._patience, AT_MOST)
        return True

    def following(self, progress: Progress) -> Progress:
        """``progress``, which also follows the free cores: for work that reports its progress after each picture."""

        def show(done: int, total: int) -> None:
            self.follow()
            progress(done, total)

        return show


@dataclass(frozen=True)
class Times:
    """Processor times in seconds since the start of the system, and ``at``, the time of the reading."""

    at: float
    normal: float
    low: float
    own: float
    waited: float | None

    @classmethod
    def now(cls) -> Times:
        """Read the times of the cores that this process may use, and of it and its child processes."""
        import psutil  # not needed where the network is on a GPU

        cpus = psutil.cpu_times(percpu=True)
        if hasattr(os, "sched_getaffinity"):
            cpus = [cpus[core] for core in os.sched_getaffinity(0) if core < len(cpus)]
        normal = sum(getattr(cpu, kind, 0.0) for cpu in cpus for kind in ("user", "system", "irq", "softirq"))
        low = sum(getattr(cpu, "nice", 0.0) for cpu in cpus)
        if hasattr(os, "getpriority") and os.getpriority(os.PRIO_PROCESS, 0) > 0:
            normal, low = normal + low, 0.0  # programs of low priority are equals of this one
        return cls(time.monotonic(), normal, low, _own_seconds(), _waited_seconds())

    def since(self, before: Times) -> Usage:
        """The usage by other programs between two readings."""
        seconds = max(self.at - before.at, 1e-3)
        equals = self.normal - before.normal - (self.own - before.own)
        others = equals + self.low - before.low
        waited = None
        if self.waited is not None and before.waited is not None:
            waited = max(0.0, self.waited - before.waited) / seconds
        return Usage(max(0.0, others) / seconds, max(0.0, equals) / seconds, waited)


def _own_seconds() -> float:
    """Processor time of this process and of its children, those that have ended included."""
    import psutil

    process, total = psutil.Process(), 0.0
    for member in (process, *process.children(recursive=True)):
        try:
            times = member.cpu_times()
        except psutil.Error:  # it has just ended
            continue
        total += times.user + times.system + getattr(times, "children_user", 0.0)
        total += getattr(times, "children_system", 0.0)
    return total


def _waited_seconds() -> float | None:
    """How long the threads of this process were ready and had no core; None where Linux's schedstat is missing."""
    total = 0
    for path in Path("/proc/self/task").glob("*/schedstat"):
        try:
            total += int(path.read_text().split()[1])
        except (OSError, IndexError, ValueError):
            continue
    return total / 1e9 if total else None
