"""Work on items in forked processes, for loops whose Python code would wait for one lock in threads."""

from __future__ import annotations

import multiprocessing
import pickle
import signal
import sys
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, TypeVar, cast

from panoptic_blend.failures import in_one_line, in_short
from panoptic_blend.files import printable
from panoptic_blend.structures import PanopticBlendError

T = TypeVar("T")
Result = TypeVar("Result")

_AHEAD = 4
"""Items for each process that may be given out beyond the one whose result is next; their results wait in memory."""

_GIVEN = 2
"""Items that a process has at once, so that it need not wait for the next."""


def can_fork() -> bool:
    """Whether this process can do work in forked processes: on Linux, unless it is itself a daemon of a pool.

    On macOS a process that is forked but not replaced may use no system library, and Windows has no fork.
    """
    return sys.platform == "linux" and not multiprocessing.current_process().daemon


def forked(
    items: Sequence[T], work: Callable[[T], Result], *, workers: int, lower: str = "--workers"
) -> Generator[Result]:
    """Yield ``work(item)`` for every item, in order, computed by ``workers`` processes forked from this one.

    Nothing but results is copied, which must be picklable: the processes share the memory of this one as it is at the
    start. Free processes take the next item; few results wait for their turn. The processes end with this one, however
    it ends, and when the generator is closed. They leave Ctrl-C to this process.

    Raises:
        PanopticBlendError: the first error of ``work`` in the order of the items, foreign exceptions in one line; or a
            process cannot be started or has died, with the advice to ``lower`` an option.
    """
    team: list[_Worker] = []
    try:
        with _interrupts_held_back():  # also in the processes, for as long as they run
            for _ in range(min(workers, len(items))):
                team.append(_Worker.start(items, work, [worker.pipe for worker in team], lower))
        yield from _in_order(team, len(items))
    finally:
        for worker in team:
            worker.pipe.close()
            worker.process.kill()
        for worker in team:
            worker.process.join()


@dataclass(eq=False)
class _Worker:
    """A process and the pipe to it; ``given`` are the numbers of the items that it works on, in order."""

    process: BaseProcess
    pipe: Connection
    lower: str
    given: list[int] = field(default_factory=list)

    @classmethod
    def start(cls, items: Sequence[T], work: Callable[[T], Any], others: list[Connection], lower: str) -> _Worker:
        """Fork a process, which closes its copies of the pipes to ``others`` so that these see the end of this one."""
        context = multiprocessing.get_context("fork")
        try:
            here, there = context.Pipe()
            process = context.Process(target=_serve, args=(there, [*others, here], items, work), daemon=True)
            process.start()
        except OSError as error:
            reason = printable(in_short(error), 300)
            raise PanopticBlendError(f"a process cannot be started ({reason}); lower {lower} (1 needs none)") from error
        there.close()
        return cls(process, here, lower)

    def give(self, number: int) -> None:
        """Have the process work on an item."""
        self.given.append(number)
        with suppress(BrokenPipeError):  # `take` reports its death
            self.pipe.send(number)

    def take(self) -> tuple[int, Any]:
        """Number and result of the item that the process has finished; the result may be an error to raise."""
        try:
            result = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            raise self._death() from None
        return self.given.pop(0), result

    def _death(self) -> PanopticBlendError:
        code = self.process.exitcode or 0
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with exit code {code}"
        return PanopticBlendError(
            f"a process of several died {how}, perhaps because memory ran out; lower {self.lower} (1 needs no other)"
        )


def _in_order(team: list[_Worker], count: int) -> Iterator[Any]:
    """Give out the numbers of ``count`` items and yield their results in order; raises the first that is an error."""
    done: dict[int, Any] = {}
    given = 0
    for number in range(count):
        while number not in done:
            for worker in sorted(team, key=lambda worker: len(worker.given)):
                if given < min(count, number + _AHEAD * len(team)) and len(worker.given) < _GIVEN:
                    worker.give(given)
                    given += 1
            ready = wait([worker.pipe for worker in team if worker.given])
            for worker in team:
                if worker.pipe in ready:
                    finished, result = worker.take()
                    done[finished] = result
        result = done.pop(number)
        if isinstance(result, PanopticBlendError):
            raise result
        yield result


def _serve(pipe: Connection, others: list[Connection], items: Sequence[T], work: Callable[[T], Any]) -> None:
    """Work on the items whose numbers arrive, until the other end of the pipe is closed."""
    import cv2

    cv2.setNumThreads(0)  # its threads were not forked, and it would wait for them
    for other in others:
        other.close()
    with suppress(EOFError, OSError):
        while True:
            number = cast(int, pipe.recv())
            try:
                sent = pickle.dumps(work(items[number]), pickle.HIGHEST_PROTOCOL)
            except Exception as error:
                sent = pickle.dumps(in_one_line(error))
            pipe.send_bytes(sent)


@contextmanager
def _interrupts_held_back() -> Iterator[None]:
    """Let Ctrl-C wait until the end of the block; processes that start inside never get it."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
