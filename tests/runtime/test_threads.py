"""The number of threads follows the cores that other programs leave free, unless the user has set it."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from panoptic_blend.runtime import threads
from panoptic_blend.runtime.threads import Threads, Times, Usage, first_number, next_number


@pytest.mark.parametrize(
    ("most", "available", "equals", "number"),
    [
        (2, 2, 0.1, 2),  # quiet
        (2, 2, 0.4, 2),  # a program that starts
        (2, 2, 1.0, 1),  # a busy loop
        (2, 2, 1.9, 1),  # never less than one
        (8, 16, 4.0, 8),  # one thread per physical core, and twelve logical ones free
        (16, 16, 4.0, 12),
        (1, 4, 0.0, 1),
    ],
)
def test_the_first_number_is_that_of_the_free_cores(most: int, available: int, equals: float, number: int) -> None:
    assert first_number(most, available, Usage(equals, equals, None)) == number


@pytest.mark.parametrize(
    ("now", "available", "usage", "number"),
    [
        (2, 2, Usage(0.1, 0.1, 0.1), 2),
        (2, 2, Usage(0.67, 0.67, 0.67), 1),  # a busy loop has its share of two cores
        (2, 2, Usage(0.67, 0.0, 0.67), 1),  # a program of low priority which takes a core nevertheless
        (2, 2, Usage(0.67, 0.67, 0.1), 2),  # others use cores while nothing here waits for one
        (2, 2, Usage(0.0, 0.0, 0.9), 2),  # this process waits for its own loading processes
        (2, 2, Usage(0.67, 0.67, None), 1),  # a system which does not tell the waiting time
        (8, 8, Usage(2.0, 2.0, 2.0), 6),
        (1, 2, Usage(1.5, 1.5, 0.5), 1),  # the last thread stays
        (1, 2, Usage(1.0, 1.0, 0.0), 1),
        (1, 8, Usage(0.2, 0.2, 0.0), 8),  # seven cores have become free
        (5, 8, Usage(1.0, 1.0, 0.0), 7),
        (7, 8, Usage(0.5, 0.5, 0.0), 7),
    ],
)
def test_the_next_number(now: int, available: int, usage: Usage, number: int) -> None:
    assert next_number(now, most=8, available=available, usage=usage) == number


def test_usage_between_two_readings() -> None:
    before = Times(at=10, normal=100, low=5, own=50, waited=1)
    after = Times(at=12, normal=103, low=6, own=52, waited=1.5)
    assert after.since(before) == Usage(others=1.0, equals=0.5, waited=0.25)
    assert Times(12, 100, 5, 60, None).since(before) == Usage(0, 0, None)  # own time is counted later than the cores'


def test_processor_times_include_those_of_child_processes() -> None:
    before = Times.now()
    spin = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", spin], check=True)
    start = time.process_time()
    while time.process_time() < start + 0.2:
        pass
    after = Times.now()
    assert after.own - before.own >= 0.45
    assert after.normal + after.low > before.normal + before.low
    assert after.at > before.at


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Iterator[Clock]:
    """A machine with two cores and a clock of its own, on which torch has two threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    clock = Clock()
    monkeypatch.setattr(threads, "time", SimpleNamespace(monotonic=lambda: clock.now, sleep=clock.let_pass))
    monkeypatch.setattr(threads, "cores", lambda: 2)
    monkeypatch.setattr(threads.Times, "now", lambda: Times(clock.now, clock.used, 0, 0, clock.used))
    yield clock
    torch.set_num_threads(before)


class Clock:
    """Others use ``load`` cores in the time that passes, and this process waits as long."""

    def __init__(self) -> None:
        self.now, self.used, self.load = 0.0, 0.0, 0.0

    def let_pass(self, seconds: float) -> None:
        self.now += seconds
        self.used += seconds * self.load

    def observe(self, shared: Threads, times: int) -> list[int]:
        """The number of threads after each of several observations."""
        numbers = []
        for _ in range(times):
            self.let_pass(threads.SECONDS)
            shared.follow()
            numbers.append(shared.number)
        return numbers


def test_threads_follow_the_load_and_do_not_swing(clock: Clock) -> None:
    shared = Threads(is_shared=True)
    assert shared.start() == []
    assert clock.observe(shared, 3) == [2, 2, 2]
    clock.load = 0.7
    assert clock.observe(shared, 1) == [2]  # one busy moment changes nothing
    clock.load = 0.0
    assert clock.observe(shared, 1) == [2]
    clock.load = 0.7
    assert clock.observe(shared, 3) == [2, 1, 1]
    clock.load = 0.0
    assert clock.observe(shared, 17) == 15 * [1] + 2 * [2]  # 8 in a row, doubled by the thread given up
    clock.load = 0.7
    assert clock.observe(shared, 2) == [2, 1]
    clock.load = 0.0
    assert clock.observe(shared, 32) == 31 * [1] + [2]


def test_a_change_waits_for_the_rest_after_the_one_before(clock: Clock) -> None:
    """At the end of the rest, the observations during it count: only a load that lasts changes the number."""
    shared = Threads(is_shared=True, rest=60)
    shared.start()
    clock.load = 0.7
    assert clock.observe(shared, 3) == [2, 1, 1]  # the first change does not wait
    clock.load = 0.0
    assert clock.observe(shared, 30) == 28 * [1] + 2 * [2]  # 60 seconds after the change, instead of 34
    clock.load = 0.7
    assert clock.observe(shared, 29) == 28 * [2] + [1]
    clock.load = 0.0
    assert clock.observe(shared, 32) == 31 * [1] + [2]  # a longer patience is not prolonged


def test_follow_observes_no_more_often_than_said(clock: Clock) -> None:
    shared = Threads(is_shared=True)
    shared.start()
    clock.load = 0.7
    for _ in range(100):
        clock.let_pass(0.9 * threads.SECONDS / 100)
        assert not shared.follow()
    assert shared.number == 2


def test_a_loop_at_the_start(clock: Clock) -> None:
    clock.load = 1.0
    shared = Threads(is_shared=True)
    assert shared.start() == ["1 of 2 threads, for the cores that other programs leave free"]
    assert clock.now == threads.START_SECONDS


def test_progress_follows_too(clock: Clock) -> None:
    shared, shown = Threads(is_shared=True), []
    shared.start()
    show = shared.following(lambda done, total: shown.append((done, total)))
    clock.load = 0.7
    for done in range(3):
        clock.let_pass(threads.SECONDS)
        show(done, 3)
    assert shown == [(0, 3), (1, 3), (2, 3)]
    assert torch.get_num_threads() == 1


@pytest.mark.parametrize("name", ["OMP_NUM_THREADS", "MKL_NUM_THREADS", ""])
def test_what_the_user_set_stands(clock: Clock, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if name:
        monkeypatch.setenv(name, "2")
    clock.load = 1.5
    kept = Threads(is_shared=bool(name))  # in Python, torch's own number stands unless sharing is asked for
    assert kept.start() == []
    assert clock.observe(kept, 4) == [2, 2, 2, 2]


def test_a_run_goes_on_with_its_number(clock: Clock) -> None:
    shared = Threads(is_shared=True, number=1)
    assert shared.start() == ["1 of 2 threads, for the cores that other programs leave free"]
    assert clock.now == 0  # nothing is observed first
    assert Threads(is_shared=False, number=2).start() == ["the run had 2 threads and now has 1: last digits may differ"]
    torch.set_num_threads(2)
    assert Threads(is_shared=True, number=4).start() == ["the run had 4 threads and now has 2: last digits may differ"]


def test_waiting_is_not_known_everywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "Path", lambda path: Path("/nowhere"))
    assert Times.now().waited is None
