"""Resources of the machine: processor cores, memory, and a threaded pipeline that keeps them busy."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Result = TypeVar("Result")
Finished = TypeVar("Finished")


def cores() -> int:
    """Number of processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Make the C library keep up to 64 MB of freed memory in this process, for the next large arrays.

    By default glibc returns the memory of large arrays to the system, and every 4 KB of the next array costs a page
    fault, which takes as long as decoding and comparing the pixels in it. glibc's thresholds follow the largest array
    freed so far, up to 32 MB (mallopt(3), M_MMAP_THRESHOLD), so this function frees one; it is never written to.
    """
    np.empty(2**25 - 2**16, dtype=np.uint8)


def die_with_parent() -> None:
    """End this process of ``multiprocessing`` as soon as its parent has ended in any way; call it at its start.

    Without it, a worker whose parent was killed may wait forever: it holds copies of both ends of its pipes itself.
    A parent's end closes the sentinel of the child it started last, whose end closes that of the one before, and so on.
    """
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        # as if killed: at an ordinary exit, multiprocessing would wait until the parent has read everything
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    threading.Thread(target=watch, daemon=True).start()


def overlapped(
    items: Iterable[T],
    work: Callable[[T], Result],
    finish: Callable[[Result], Finished],
    *,
    finishers: int = 2,
    queue_depth: int = 3,
) -> Generator[Finished]:
    """Yield ``finish(work(item))`` for every item, in order, with the three stages of the pipeline in parallel.

    One thread iterates over ``items``, the caller's thread calls ``work``, and ``finishers`` threads call ``finish``.
    At most ``queue_depth`` items wait for ``work``, and at most as many are in ``finish`` or wait for it. Exceptions of
    any stage are raised here. When the generator is closed early, running calls complete and queued items are dropped.
    With ``queue_depth`` 0 there are no threads: each item is finished before the next is read.
    """
    if not queue_depth:
        yield from (finish(work(item)) for item in items)
        return
    source = iter(items)
    with _threads(1) as reader, _threads(finishers) as others:
        coming = deque(reader.submit(_next, source) for _ in range(queue_depth))
        going: deque[Future[Finished]] = deque()
        while item := coming.popleft().result():
            coming.append(reader.submit(_next, source))
            going.append(others.submit(finish, work(*item)))
            while len(going) > queue_depth or (going and going[0].done()):
                yield going.popleft().result()
        while going:
            yield going.popleft().result()


def _next(source: Iterator[T]) -> list[T]:
    """A list of the next item; empty at the end."""
    return list(islice(source, 1))


@contextmanager
def _threads(number: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(number)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
