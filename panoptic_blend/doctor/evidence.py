"""Inspect every file of a split once, on all cores."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Container, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2

from panoptic_blend.doctor.files import FileInspector, MapFacts, PictureFacts
from panoptic_blend.doctor.records import Contents, segment_id, segments
from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.json_fields import file_name
from panoptic_blend.machine import cores
from panoptic_blend.structures import PanopticBlendError, Progress

BATCH = 16
FILES_PER_WORKER = 64
"""Fewer files than this are not worth another process: one inspects them before the other has started."""

Task = tuple[str, tuple[int, ...] | None]
"""A file name and, for a PNG, the ids of the segments to measure; None for a picture."""
Facts = PictureFacts | MapFacts


@dataclass(frozen=True)
class Evidence:
    """Facts by file name, None for a folder that does not exist; and the names of all files in both folders."""

    pictures: dict[str, PictureFacts] | None
    maps: dict[str, MapFacts] | None
    picture_names: set[str]
    map_names: set[str]


def inspect_files(
    contents: Contents,
    pictures: Folder | None,
    maps: Folder | None,
    workers: int | None = None,
    progress: Progress | None = None,
    most: int | None = None,
) -> Evidence:
    """Inspect every picture and PNG that the JSON names, or at most ``most`` of each and those that are missing.

    Args:
        workers: number of processes; by default one per core. A small number of files is inspected in this process.
        progress: called with the number of files done and the number of all files.

    Raises:
        PanopticBlendError: a worker process died.
    """
    evidence = Evidence(
        None if pictures is None else {},
        None if maps is None else {},
        set() if pictures is None else pictures.names(),
        set() if maps is None else maps.names(),
    )
    tasks = list(_tasks(contents, pictures is not None, maps is not None))
    if most is not None:
        tasks = [
            *_sampled([task for task in tasks if task[1] is None], most, evidence.picture_names),
            *_sampled([task for task in tasks if task[1] is not None], most, evidence.map_names),
        ]
    workers = min(workers or cores(), -(-len(tasks) // FILES_PER_WORKER))
    inspector = FileInspector(pictures, maps)
    results = _in_processes(inspector, tasks, workers) if workers > 1 else _in_this_process(inspector, tasks)
    for done, (name, facts) in enumerate(results, start=1):
        if isinstance(facts, PictureFacts):
            assert evidence.pictures is not None
            evidence.pictures[name] = facts
        else:
            assert evidence.maps is not None
            evidence.maps[name] = facts
        if progress is not None:
            progress(done, len(tasks))
    return evidence


def _tasks(contents: Contents, pictures: bool, maps: bool) -> Iterator[Task]:
    """One task per file, even if the JSON names it twice."""
    if pictures:
        yield from ((name, None) for name in dict.fromkeys(map(file_name, contents.images)) if name is not None)
    wanted: dict[str, dict[int, None]] = {}
    for annotation in contents.annotations if maps else ():
        if (name := file_name(annotation)) is not None:
            ids = (number for segment in segments(annotation) if (number := segment_id(segment)) is not None)
            wanted.setdefault(name, {}).update(dict.fromkeys(ids))
    yield from ((name, tuple(numbers)) for name, numbers in wanted.items())


def _sampled(tasks: Sequence[Task], most: int, names: Container[str]) -> list[Task]:
    """At most ``most`` tasks, evenly spread, and those of files that are not among the ``names`` of the folder."""
    count = len(tasks)
    chosen = {place * count // most for place in range(most)} if count > most else range(count)
    return [task for place, task in enumerate(tasks) if place in chosen or task[0] not in names]


def _inspect(inspector: FileInspector, task: Task) -> Facts:
    name, wanted = task
    return inspector.inspect_picture(name) if wanted is None else inspector.inspect_map(name, wanted)


def _in_this_process(inspector: FileInspector, tasks: Iterable[Task]) -> Iterator[tuple[str, Facts]]:
    for task in tasks:
        with _stderr_silenced():
            facts = _inspect(inspector, task)
        yield task[0], facts


def _in_processes(inspector: FileInspector, tasks: list[Task], workers: int) -> Iterator[tuple[str, Facts]]:
    """Yield file names and facts in the order of the tasks, with only a few batches in flight."""
    batches = (tasks[start : start + BATCH] for start in range(0, len(tasks), BATCH))
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, initializer=_start_worker, initargs=(inspector,))
    running: deque[tuple[list[Task], Future[list[Facts]]]] = deque()
    try:
        with _interrupt_ignored():  # the workers inherit this, so that only this process handles Ctrl-C
            running.extend(
                (batch, pool.submit(_inspect_batch, batch)) for batch in itertools.islice(batches, 4 * workers)
            )
        while running:
            done, future = running.popleft()
            facts = future.result()
            running.extend((batch, pool.submit(_inspect_batch, batch)) for batch in itertools.islice(batches, 1))
            yield from zip((name for name, _ in done), facts, strict=True)
    except BrokenProcessPool:
        reason = 'out of memory? a script without `if __name__ == "__main__"`?'
        raise PanopticBlendError(f"a worker process died ({reason}); try again with one worker") from None
    finally:
        pool.shutdown(cancel_futures=True)


_worker_inspector: FileInspector


def _start_worker(inspector: FileInspector) -> None:
    """Set up a worker process: one thread, and no messages of the decoders about broken files."""
    global _worker_inspector
    _worker_inspector = inspector
    cv2.setNumThreads(1)
    _silence_stderr()


def _inspect_batch(batch: list[Task]) -> list[Facts]:
    return [_inspect(_worker_inspector, task) for task in batch]


@contextmanager
def _interrupt_ignored() -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handler = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, handler)


@contextmanager
def _stderr_silenced() -> Iterator[None]:
    """Discard standard error of the whole process: libpng and libjpeg write to it directly, not through Python."""
    saved = os.dup(2)
    try:
        _silence_stderr()
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def _silence_stderr() -> None:
    with Path(os.devnull).open("w") as null:
        os.dup2(null.fileno(), 2)
