"""All files of a split, looked at once, on all cores."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2

from panoptic_blend.doctor.files import Look, MapFacts, PictureFacts
from panoptic_blend.doctor.records import Contents, file_name, segment_id, segments
from panoptic_blend.formats.archives import Folder
from panoptic_blend.machine import cores
from panoptic_blend.structures import PanopticBlendError, Progress

BATCH = 16
FEW = 64
"""Files that one process has looked at before others have started."""

Task = tuple[str, tuple[int, ...] | None]
"""The name of a PNG and the segments wanted of it; None for a picture."""
Facts = PictureFacts | MapFacts


@dataclass(frozen=True)
class Evidence:
    """Facts by file name, None for a folder that is not there; and the names of all files there are."""

    pictures: dict[str, PictureFacts] | None
    maps: dict[str, MapFacts] | None
    picture_names: set[str]
    map_names: set[str]


def gather(
    contents: Contents,
    pictures: Folder | None,
    maps: Folder | None,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Evidence:
    """Look at every picture and PNG that the JSON names.

    Args:
        workers: processes; by default as many as there are cores. Few files are looked at here.
        progress: called with the files done and their number.

    Raises:
        PanopticBlendError: a worker died.
    """
    evidence = Evidence(
        None if pictures is None else {},
        None if maps is None else {},
        set() if pictures is None else pictures.names(),
        set() if maps is None else maps.names(),
    )
    tasks = list(_tasks(contents, pictures is not None, maps is not None))
    workers = min(workers or cores(), -(-len(tasks) // FEW))
    look = Look(pictures, maps)
    facts = _in_processes(look, tasks, workers) if workers > 1 else _here(look, tasks)
    for done, (name, fact) in enumerate(facts, start=1):
        if isinstance(fact, PictureFacts):
            assert evidence.pictures is not None
            evidence.pictures[name] = fact
        else:
            assert evidence.maps is not None
            evidence.maps[name] = fact
        if progress is not None:
            progress(done, len(tasks))
    return evidence


def _tasks(contents: Contents, pictures: bool, maps: bool) -> Iterator[Task]:
    """Every file once, even if it is named twice."""
    if pictures:
        yield from ((name, None) for name in dict.fromkeys(map(file_name, contents.images)) if name is not None)
    wanted: dict[str, dict[int, None]] = {}
    for annotation in contents.annotations if maps else ():
        if (name := file_name(annotation)) is not None:
            ids = (number for segment in segments(annotation) if (number := segment_id(segment)) is not None)
            wanted.setdefault(name, {}).update(dict.fromkeys(ids))
    yield from ((name, tuple(numbers)) for name, numbers in wanted.items())


def _look(look: Look, task: Task) -> Facts:
    name, wanted = task
    return look.at_picture(name) if wanted is None else look.at_map(name, wanted)


def _here(look: Look, tasks: Iterable[Task]) -> Iterator[tuple[str, Facts]]:
    for task in tasks:
        with _silent():
            facts = _look(look, task)
        yield task[0], facts


def _in_processes(look: Look, tasks: list[Task], workers: int) -> Iterator[tuple[str, Facts]]:
    """In the order of the tasks, with no more than a few batches under way."""
    batches = (tasks[start : start + BATCH] for start in range(0, len(tasks), BATCH))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start, initargs=(look,))
    running: deque[tuple[list[Task], Future[list[Facts]]]] = deque()
    try:
        with _uninterruptible():  # the workers inherit that; this process alone answers Ctrl-C
            running.extend(
                (batch, pool.submit(_look_at_all, batch)) for batch in itertools.islice(batches, 4 * workers)
            )
        while running:
            done, future = running.popleft()
            facts = future.result()
            running.extend((batch, pool.submit(_look_at_all, batch)) for batch in itertools.islice(batches, 1))
            yield from zip((name for name, _ in done), facts, strict=True)
    except BrokenProcessPool:
        what = 'a worker process died (no memory left? a script without `if __name__ == "__main__"`?)'
        raise PanopticBlendError(f"{what}; try with one worker") from None
    finally:
        pool.shutdown(cancel_futures=True)


_look_of_worker: Look


def _start(look: Look) -> None:
    """Prepare a worker: one thread, and nothing of what decoders print about broken files."""
    global _look_of_worker
    _look_of_worker = look
    cv2.setNumThreads(1)
    _silence()


def _look_at_all(batch: list[Task]) -> list[Facts]:
    return [_look(_look_of_worker, task) for task in batch]


@contextmanager
def _uninterruptible() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def _silent() -> Iterator[None]:
    """libpng and libjpeg write to the standard error of the process, past Python."""
    kept = os.dup(2)
    try:
        _silence()
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _silence() -> None:
    with Path(os.devnull).open("w") as nothing:
        os.dup2(nothing.fileno(), 2)
