"""Work in forked processes: order, bounded memory, the first error, dead processes, and the ends of both sides."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend import forking
from panoptic_blend.failures import ForeignError, doing
from panoptic_blend.forking import can_fork, forked
from panoptic_blend.structures import PanopticBlendError

pytestmark = pytest.mark.skipif(not can_fork(), reason="needs fork")
Refused = Callable[..., str]


@settings(max_examples=10, deadline=None)
@given(items=st.lists(st.integers()), workers=st.integers(1, 4))
def test_results_come_in_order(items: list[int], workers: int) -> None:
    assert list(forked(items, lambda item: (item, b"x" * (item % 7)), workers=workers)) == [
        (item, b"x" * (item % 7)) for item in items
    ]


def test_the_work_is_done_in_several_other_processes_that_end(tmp_path: Path) -> None:
    def meet(item: int) -> int:
        (tmp_path / str(item)).touch()
        while len(list(tmp_path.iterdir())) < 3:  # each waits for the others
            time.sleep(0.01)
        return os.getpid()

    found = set(forked([0, 1, 2], meet, workers=3))
    assert len(found) == 3 and os.getpid() not in found
    assert not multiprocessing.active_children()


def test_results_larger_than_a_pipe_holds_do_not_block() -> None:
    assert [len(found) for found in forked(range(20), lambda _: bytes(2**20), workers=2)] == [2**20] * 20


def test_few_results_wait_in_memory(tmp_path: Path) -> None:
    def begun(item: int) -> int:
        """How many items are begun while the first one takes long; one more waits behind it."""
        (tmp_path / str(item)).touch()
        if item == 0:
            while len(list(tmp_path.iterdir())) < 2 * forking._AHEAD - 1:
                time.sleep(0.01)
            time.sleep(0.1)
        return len(list(tmp_path.iterdir()))

    found = forked(range(100), begun, workers=2)
    assert next(found) == 2 * forking._AHEAD - 1
    assert len(list(islice(found, 3))) == 3
    found.close()
    assert len(list(tmp_path.iterdir())) < 20 and not multiprocessing.active_children()


def test_the_first_error_in_order_is_raised_after_the_results_before_it(tmp_path: Path) -> None:
    def work(item: int) -> int:
        if item == 2:
            while not (tmp_path / "later").exists():
                time.sleep(0.01)
            raise PanopticBlendError("the first")
        if item == 3:
            (tmp_path / "later").touch()
            raise PanopticBlendError("a later one")
        return item

    found = []
    with pytest.raises(PanopticBlendError, match="the first"):
        for result in forked(range(50), work, workers=2):
            found.append(result)
    assert found == [0, 1] and not multiprocessing.active_children()


def test_foreign_exceptions_are_one_line(refused: Refused) -> None:
    def work(item: int) -> int:
        with doing(f"comparing {item}", lower="--workers"):
            raise MemoryError

    message = refused(lambda: list(forked([7], work, workers=2)))
    assert message == "comparing 7: memory ran out; lower --workers"
    with pytest.raises(ForeignError, match="pickle"):
        list(forked([7], lambda _: lambda: 0, workers=2))


@pytest.mark.parametrize(("end", "how"), [(signal.SIGKILL, "by signal SIGKILL"), (None, "with exit code 3")])
def test_a_process_that_dies_is_an_error(refused: Refused, end: signal.Signals | None, how: str) -> None:
    def work(item: int) -> int:
        if item == 5:
            if end is None:
                os._exit(3)
            os.kill(os.getpid(), end)
        return item

    message = refused(lambda: list(forked(range(100), work, workers=2)))
    assert message.startswith(f"a process of several died {how}, ") and message.endswith(
        "; lower --workers (1 needs no other)"
    )
    assert not multiprocessing.active_children()


def test_a_process_that_cannot_start_is_an_error(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    def fork() -> int:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    monkeypatch.setattr(os, "fork", fork)
    message = refused(lambda: list(forked([1], str, workers=2)))
    assert message.startswith("a process cannot be started (BlockingIOError: ") and message.endswith("(1 needs none)")


def test_a_daemon_does_not_fork() -> None:
    context = multiprocessing.get_context("fork")
    results = context.SimpleQueue()
    process = context.Process(target=lambda: results.put(can_fork()), daemon=True)
    process.start()
    assert results.get() is False
    process.join()


_ENDLESS = """
import os, signal
from panoptic_blend.forking import forked

signal.signal(signal.SIGINT, signal.default_int_handler)  # which a test run in the background does not inherit
for pid in forked(range(10**9), lambda _: os.getpid(), workers=2):
    print(pid, flush=True)
"""


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGKILL])
def test_processes_end_with_their_parent_and_leave_ctrl_c_to_it(end: signal.Signals) -> None:
    command = [sys.executable, "-c", _ENDLESS]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert process.stdout
    workers: set[int] = set()
    while len(workers) < 2:
        workers.add(int(process.stdout.readline()))
    if end == signal.SIGINT:
        os.killpg(process.pid, end)  # as a terminal does
    else:
        process.kill()
    errors = process.communicate(timeout=60)[1]
    assert process.returncode == -end
    assert errors.count("Traceback") == errors.count("KeyboardInterrupt") == (end == signal.SIGINT)
    assert all(map(_ends, workers))


def _ends(pid: int) -> bool:
    """Whether a process is gone, or nothing but an entry in the table of processes, within a minute."""
    for _ in range(600):
        status = Path(f"/proc/{pid}/stat")
        if not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.1)
    return False
