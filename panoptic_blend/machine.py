"""What the machine has: cores, memory, and threads that keep them busy."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

import numpy as np

T = TypeVar("T")
Worked = TypeVar("Worked")
Finished = TypeVar("Finished")


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Have the C library keep some freed memory of this process, up to 64 MB, for what is needed next.

    glibc gives the memory of large arrays back to the system, and every 4 KB of the next one cost a page fault, which
    takes as long as decoding and comparing what is in them. Its limits follow the largest array freed so far, up to 32
    MB (mallopt(3), M_MMAP_THRESHOLD). So one is freed here; nothing is ever written to it.
    """
    np.empty(2**25 - 2**16, dtype=np.uint8)


def overlapped(
    items: Iterable[T],
    work: Callable[[T], Worked],
    finish: Callable[[Worked], Finished],
    *,
    finishers: int = 2,
    waiting: int = 3,
) -> Generator[Finished]:
    """``finish(work(item))`` of every item, in order.

    Items are made in one thread, worked on in the caller's, and finished in ``finishers`` others; at most
    ``waiting`` of them wait before the work, and as many are being finished or wait for it behind. Whatever raises,
    raises here. Left early, what has been begun is ended and what waits is dropped. With ``waiting`` 0 there are no
    threads: each item is finished before the next is made.
    """
    if not waiting:
        yield from (finish(work(item)) for item in items)
        return
    source = iter(items)
    with _threads(1) as reader, _threads(finishers) as others:
        coming = deque(reader.submit(_next, source) for _ in range(waiting))
        going: deque[Future[Finished]] = deque()
        while item := coming.popleft().result():
            coming.append(reader.submit(_next, source))
            going.append(others.submit(finish, work(*item)))
            while len(going) > waiting or (going and going[0].done()):
                yield going.popleft().result()
        while going:
            yield going.popleft().result()


def _next(source: Iterator[T]) -> list[T]:
    """The next item alone in a list, which is empty at the end."""
    return list(islice(source, 1))


@contextmanager
def _threads(number: int) -> Iterator[ThreadPoolExecutor]:
    pool = ThreadPoolExecutor(number)
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
