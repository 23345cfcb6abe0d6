"""Reading ahead of the work and finishing behind it, in threads, within bounds."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
Worked = TypeVar("Worked")
Finished = TypeVar("Finished")


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
