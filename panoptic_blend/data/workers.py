"""Processes that load the items of a data set, and whose failures end in one line."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import chain
from multiprocessing import active_children
from multiprocessing.process import BaseProcess
from multiprocessing.reduction import ForkingPickler
from typing import Any, Generic, NamedTuple, TypeVar

import cv2
import torch
from torch.utils.data import DataLoader, Dataset

from panoptic_blend.data.blocks import Packed, pack, pinned_block, shared_block
from panoptic_blend.failures import ForeignError, in_one_line, in_short, reworded
from panoptic_blend.files import printable
from panoptic_blend.machine import die_with_parent
from panoptic_blend.structures import PanopticBlendError

T = TypeVar("T")


@dataclass(frozen=True)
class WorkersOption:
    """The option that sets the number of processes, for messages: its ``name``, and its ``least`` value.

    With the least value the work is done in this process, without any other. ``process`` says what one of them is.
    """

    name: str
    least: int
    process: str

    @property
    def to_lower(self) -> str:
        """The advice to start fewer processes."""
        return f"lower {self.name} ({self.least} needs none)"


DATA_WORKERS = WorkersOption("data.workers", 0, "data loading process")


class Loaded(NamedTuple, Generic[T]):
    """A loaded item, or an ``error``, with the messages of all items that could not be read."""

    value: T
    problems: list[str]
    error: PanopticBlendError | None = None


class ErrorsAsItems(Dataset[Loaded[T]]):
    """Returns errors as items, because PyTorch would add the traceback of the worker to a raised one.

    Args:
        substitute: yields the keys to try instead of a key that cannot be read; by default none.
    """

    def __init__(self, dataset: Dataset[T], substitute: Callable[[Any], Iterable[Any]] | None = None) -> None:
        self._dataset, self._substitute = dataset, substitute

    def __getitem__(self, item: Any) -> Loaded[T]:
        failures: list[PanopticBlendError] = []
        for key in chain([item], self._substitute(item) if self._substitute else ()):
            try:
                return Loaded(self._dataset[key], [str(failure) for failure in failures])
            except Exception as error:
                failures.append(in_one_line(error))
                if isinstance(failures[-1], ForeignError):  # memory ran out, or the data set is at fault
                    return Loaded(None, [], failures[-1])  # type: ignore[arg-type]
        first = failures[0]
        if self._substitute:
            count = f"{len(failures)} images in a row cannot be read; run `panoptic-blend data check`"
            first = reworded(first, f"{first} ({count})")
        return Loaded(None, [], first)  # type: ignore[arg-type]


def load(
    dataset: ErrorsAsItems[T],
    batches: Iterable[list[Any]],
    workers: int,
    option: WorkersOption = DATA_WORKERS,
    pin: bool = False,
) -> Iterator[list[Loaded[T]]]:
    """The items of each batch of keys, loaded by ``workers`` processes, at most one per core.

    With the least value of the ``option``, by default 0, they are loaded in this process. If ``pin``, the tensors of a
    batch lie in one block of pinned memory.

    Raises:
        PanopticBlendError: an item cannot be read; or a process cannot be started, dies, or cannot pass on its items.
    """
    count = min(workers, os.cpu_count() or 1)
    source: Generator[list[Loaded[T]]]
    if count > option.least:
        source = _by_processes(dataset, batches, count, option, pin)
    else:
        source = _here(dataset, batches, pin)
    with closing(source):
        for items in source:
            for item in items:
                if item.error:
                    raise item.error
            yield items


def _here(dataset: ErrorsAsItems[T], batches: Iterable[list[Any]], pin: bool) -> Generator[list[Loaded[T]]]:
    for keys in batches:
        items = [dataset[key] for key in keys]
        yield pack(items, pinned_block).unpack() if pin else items


def _by_processes(
    dataset: ErrorsAsItems[T], batches: Iterable[list[Any]], count: int, option: WorkersOption, pin: bool
) -> Generator[list[Loaded[T]]]:
    others = set(active_children())
    loader: DataLoader[Any] = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=count,
        collate_fn=partial(_seal, option),
        worker_init_fn=_prepare_worker,
    )
    try:
        iterator = _quietly_started(loader)
    except OSError as error:
        reason = printable(in_short(error), 300)
        raise PanopticBlendError(
            f"{count} {option.process}es cannot be started ({reason}); {option.to_lower}"
        ) from error
    processes = set(active_children()) - others
    try:
        while (sealed := _next(iterator, processes, option)) is not None:
            yield _opened(sealed, option, pin)
    finally:
        del iterator  # ends the processes at once; in a cycle of references they would take five seconds each


def _next(iterator: Iterator[T], processes: Iterable[BaseProcess], option: WorkersOption) -> T | None:
    """The next item, or None at the end."""
    try:
        return next(iterator, None)
    except RuntimeError as error:
        if not str(error).startswith("DataLoader worker (pid"):
            raise
    raise _death(processes, option)  # outside of the handler, because the traceback there refers to the iterator


def _quietly_started(loader: DataLoader[Any]) -> Iterator[Any]:
    """Start the processes, without torch's signal handler.

    It would raise the error of a dead process in the middle of whatever this process does; asked for the next item,
    torch finds dead processes without it within five seconds.
    """
    if not hasattr(signal, "SIGCHLD") or threading.current_thread() is not threading.main_thread():
        return iter(loader)  # torch sets no handler either
    before = signal.getsignal(signal.SIGCHLD)
    try:
        return iter(loader)
    finally:
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


def _prepare_worker(worker: int) -> None:
    """Limit the worker to one thread, because training needs the other cores, and leave Ctrl-C to the main process."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)


def _seal(option: WorkersOption, items: list[Any]) -> bytes | PanopticBlendError:
    """The items as bytes, with their tensors in one block of shared memory: of one for each, 16 pictures have 96.

    torch would do this in a thread of the worker, which prints an error and sends nothing: the main process would wait
    for ever.
    """
    try:
        return bytes(ForkingPickler.dumps(pack(items, shared_block)))
    except Exception as error:
        return _not_passed(error, option)


def _opened(sealed: bytes | PanopticBlendError, option: WorkersOption, pin: bool) -> list[Any]:
    if isinstance(sealed, PanopticBlendError):
        raise sealed
    try:
        packed: Packed = ForkingPickler.loads(sealed)
        items: list[Any] = (packed.pinned() if pin else packed).unpack()
    except Exception as error:  # of the system calls that fetch shared memory, or of a class that cannot be unpickled
        raise _not_passed(error, option) from error
    return items


def _not_passed(error: Exception, option: WorkersOption) -> PanopticBlendError:
    """The error for items that a worker cannot pass on to the main process."""
    text = printable(in_short(error), 300)
    if "No space left" in text:
        return _no_space(option)
    if "Too many open files" in text or "ancdata" in text:  # of which torch needs one for each tensor on its way
        remedy = f"raise the limit of open files (ulimit -n 65536), or {option.to_lower}"
    else:
        remedy = f"set {option.name}={option.least}, which passes nothing on"
    return PanopticBlendError(f"a {option.process} cannot pass on its data ({text}); {remedy}")


def _no_space(option: WorkersOption) -> PanopticBlendError:
    """The error for full shared memory."""
    return PanopticBlendError(
        f"shared memory is full, so a {option.process} cannot pass on its data; enlarge /dev/shm (docker run "
        f"--shm-size=8g), or lower {option.name} ({option.least} needs no shared memory)"
    )


def _death(processes: Iterable[BaseProcess], option: WorkersOption) -> PanopticBlendError:
    """The error for a worker that died."""
    code = next((process.exitcode for process in processes if process.exitcode), 0)
    if code == -signal.SIGKILL:
        return PanopticBlendError(f"a {option.process} was killed, perhaps because memory ran out; lower {option.name}")
    if hasattr(signal, "SIGBUS") and code == -signal.SIGBUS:
        return _no_space(option)
    how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
    return PanopticBlendError(
        f"a {option.process} died ({how}); set {option.name}={option.least} to see why, or lower it if memory ran out"
    )
