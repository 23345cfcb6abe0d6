"""The threaded pipeline: order, limits, errors and early exit; and workers that end with their parent."""

from __future__ import annotations

import multiprocessing
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.machine import die_with_parent, overlapped


@given(
    count=st.integers(0, 12),
    finishers=st.integers(1, 4),
    queue_depth=st.integers(0, 4),
)
def test_results_come_in_order(count: int, finishers: int, queue_depth: int) -> None:
    found = overlapped(range(count), lambda x: x + 1, lambda x: 10 * x, finishers=finishers, queue_depth=queue_depth)
    assert list(found) == [10 * (x + 1) for x in range(count)]


def test_without_a_queue_each_item_is_finished_before_the_next_is_read() -> None:
    steps: list[str] = []

    def log(step: str, item: int) -> int:
        steps.append(f"{step}{item} in {threading.current_thread().name}")
        return item

    items = (log("made ", x) for x in range(2))
    assert list(overlapped(items, lambda x: log("worked ", x), lambda x: log("finished ", x), queue_depth=0)) == [0, 1]
    here = threading.current_thread().name
    assert steps == [f"{step} {x} in {here}" for x in range(2) for step in ("made", "worked", "finished")]


def test_falsy_items_do_not_end_the_pipeline() -> None:
    assert list(overlapped([0, None, ""], lambda x: x, lambda x: x)) == [0, None, ""]


def test_the_steps_run_at_the_same_time() -> None:
    """All three stages meet at one barrier, so none can pass it alone."""
    together = threading.Barrier(3, timeout=60)
    threads: set[int] = set()

    def items() -> Iterator[int]:
        yield from (1, 2)
        threads.add(threading.get_ident())
        together.wait()
        yield 3

    def work(item: int) -> int:
        if item == 2:
            threads.add(threading.get_ident())
            together.wait()
        return item

    def finish(item: int) -> int:
        if item == 1:
            threads.add(threading.get_ident())
            together.wait()
        return item

    assert list(overlapped(items(), work, finish)) == [1, 2, 3]
    assert len(threads) == 3
    assert threading.get_ident() in threads


def test_the_queue_is_bounded() -> None:
    queue_depth, steps = 4, {"made": 0, "worked": 0, "finished": 0}
    full = threading.Event()

    def items() -> Iterator[int]:
        for item in range(100):
            steps["made"] += 1
            yield item

    def work(item: int) -> int:
        assert steps["made"] - steps["worked"] <= queue_depth + 2
        assert steps["worked"] - steps["finished"] <= queue_depth + 1
        steps["worked"] += 1
        if item == queue_depth:
            full.set()
        return item

    def finish(item: int) -> int:
        full.wait(60)
        steps["finished"] += 1
        return item

    assert len(list(overlapped(items(), work, finish, finishers=1, queue_depth=queue_depth))) == 100


@pytest.mark.parametrize("step", range(3))
def test_an_error_of_any_stage_is_raised(step: int) -> None:
    def fail(at: int, item: int) -> int:
        if at == step and item == 3:
            raise OSError("full")
        return item

    found = []
    with pytest.raises(OSError, match="full"):
        for item in overlapped((fail(0, x) for x in range(9)), lambda x: fail(1, x), lambda x: fail(2, x)):
            found.append(item)
    assert found == list(range(len(found)))
    assert len(found) <= 3


def test_an_early_exit_completes_running_calls_only() -> None:
    begun, ended, before = [], [], set(threading.enumerate())

    def finish(item: int) -> int:
        begun.append(item)
        ended.append(item)
        return item

    found = overlapped(range(1000), lambda x: x, finish)
    assert next(found) == 0
    found.close()
    assert sorted(begun) == sorted(ended)
    assert len(begun) < 20
    assert set(threading.enumerate()) <= before


@pytest.mark.skipif("fork" not in multiprocessing.get_all_start_methods(), reason="needs fork")
def test_workers_end_when_their_parent_is_killed() -> None:
    code = """
import multiprocessing, os, signal
from panoptic_blend.machine import die_with_parent

def work(ready):
    die_with_parent()
    ready.release()
    signal.pause()

context = multiprocessing.get_context("fork")
ready = context.Semaphore(0)
for _ in range(3):
    context.Process(target=work, args=[ready]).start()
for _ in range(3):
    ready.acquire()
print("all are there", flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    # returns when the last process that holds the pipe of standard output has ended
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert process.stdout == "all are there\n"
    assert process.returncode == -signal.SIGKILL


def test_a_process_without_a_parent_of_ours_is_left_alone() -> None:
    before = threading.active_count()
    die_with_parent()
    assert threading.active_count() == before
