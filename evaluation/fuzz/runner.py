"""Run readers on damaged files in a child process with limits on memory and time, and collect what they should not do.

A reader may return, or raise PanopticBlendError. Everything else is a failure: another exception, memory beyond the
limit, no answer within the time, and the end of the process. A case is named ``READER:SEED:NUMBER``, from which it is
made again.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import shutil
import signal
import tempfile
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from pathlib import Path
from random import Random

from evaluation.fuzz.mutation import mutate
from panoptic_blend.structures import PanopticBlendError

MEMORY_BYTES = 2 * 1024**3
SECONDS = 20.0
_MOST_MUTATIONS = 3


@dataclass(frozen=True)
class Reader:
    """``write`` fills a folder with valid files, and ``read`` reads it; files that match ``damage`` are damaged."""

    name: str
    write: Callable[[Path], None]
    read: Callable[[Path], object]
    damage: str = "*"


@dataclass(frozen=True)
class Case:
    """The damaged input with this ``number``; ``mutations`` are those of its mutations that are applied, None: all."""

    reader: str
    seed: int
    number: int
    mutations: tuple[int, ...] | None = None

    @classmethod
    def parse(cls, text: str) -> Case:
        """Read what ``str`` gives."""
        reader, seed, number, *kept = text.split(":")
        return cls(reader, int(seed), int(number), tuple(map(int, kept[0].split(","))) if kept else None)

    def __str__(self) -> str:
        kept = [",".join(map(str, self.mutations))] if self.mutations is not None else []
        return ":".join([self.reader, str(self.seed), str(self.number), *kept])


@dataclass(frozen=True)
class Failure:
    """A case whose reader did what it should not; ``kind`` is the same for failures in the same place."""

    case: Case
    kind: str
    detail: str


Files = dict[str, bytes]
"""Contents by path relative to a folder."""


def valid_files(reader: Reader) -> Files:
    """The files that the reader is known to read."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        reader.write(folder)
        return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def damaged_files(reader: Reader, valid: Files, case: Case) -> Files:
    """The files of the case that differ from the valid ones."""
    random = Random(f"{case.reader}:{case.seed}:{case.number}")
    names = [name for name in valid if Path(name).match(reader.damage)]
    changed: Files = {}
    for index in range(random.choice((1, 1, 1, 2, _MOST_MUTATIONS))):
        name, own = random.choice(names), Random(random.getrandbits(64))  # the same whichever others are applied
        if case.mutations is None or index in case.mutations:
            changed[name] = mutate(name, changed.get(name, valid[name]), own)
    return changed


def run(readers: Mapping[str, Reader], cases: Iterable[Case]) -> Iterator[tuple[Case, Failure | None]]:
    """Run the reader of every case; yield the case and what went wrong.

    A child that dies or hangs costs its case, and another child goes on.
    """
    left = list(cases)
    valid = {name: valid_files(readers[name]) for name in dict.fromkeys(case.reader for case in left)}
    while left:
        ours, theirs = _SPAWN.Pipe(duplex=False)
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            child = _SPAWN.Process(target=_serve, args=(dict(readers), valid, left, Path(folder), theirs), daemon=True)
            child.start()
            theirs.close()
            try:
                _require_ready(ours)
                while left:
                    kind, detail = _answer(ours, child)
                    case = left.pop(0)
                    yield case, Failure(case, kind, detail) if kind else None
                    if kind in (_TIMEOUT, _DEATH):
                        break
            finally:
                child.kill()
                child.join()


_SPAWN = multiprocessing.get_context("spawn")  # a fork would inherit locks of the libraries' threads
_TIMEOUT, _DEATH = "no answer in time", "the process died"


def minimal(reader: Reader, failure: Failure) -> Failure:
    """The same failure by as few mutations as possible."""
    for index in range(_MOST_MUTATIONS):
        kept = failure.case.mutations or tuple(range(_MOST_MUTATIONS))
        fewer = tuple(other for other in kept if other != index)
        if fewer and fewer != kept:
            [(_, found)] = run({reader.name: reader}, [replace(failure.case, mutations=fewer)])
            if found and found.kind == failure.kind:
                failure = found
    return failure


def store(reader: Reader, failure: Failure, folder: Path) -> Path:
    """Write the files of a failing case, the damaged ones among them, with what happened, into a folder of its own."""
    valid = valid_files(reader)
    target = folder / re.sub(r"[^\w-]+", "-", str(failure.case))
    shutil.rmtree(target, ignore_errors=True)
    _write(target / "files", valid | damaged_files(reader, valid, failure.case))
    command = f"python -m evaluation.fuzz --case {failure.case}"
    (target / "failure.txt").write_text(f"{command}\n\n{failure.kind}\n\n{failure.detail}\n", encoding="utf-8")
    return target


def _require_ready(connection: Connection) -> None:
    try:
        connection.recv_bytes()
    except EOFError:
        raise PanopticBlendError("a reader refuses its own valid files, as said above; correct it") from None


def _answer(connection: Connection, child: multiprocessing.process.BaseProcess) -> tuple[str, str]:
    """Kind and detail of the failure of the next case; both empty if there is none."""
    if not connection.poll(SECONDS):
        return _TIMEOUT, f"{SECONDS:.0f} seconds"
    try:
        kind, detail = json.loads(connection.recv_bytes())
    except (EOFError, OSError):
        child.join()
        code = child.exitcode or 0
        return _DEATH, signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return kind, detail


def _serve(
    readers: Mapping[str, Reader],
    valid: Mapping[str, Files],
    cases: Sequence[Case],
    root: Path,
    connection: Connection,
) -> None:
    """The child: run the cases, and send the failure of each."""
    for name in valid:  # what is imported and built once is not part of a case
        _write(root / name / "valid", valid[name])
        readers[name].read(root / name / "valid")
    silence = os.open(os.devnull, os.O_WRONLY)
    for stream in (1, 2):  # libraries print about damaged files
        os.dup2(silence, stream)
    own = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (own + MEMORY_BYTES, own + MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    connection.send_bytes(b"ready")
    for case in cases:
        folder, files = root / case.reader / str(case.number), valid[case.reader]
        _write(folder, files | damaged_files(readers[case.reader], files, case))
        connection.send_bytes(json.dumps(_outcome(readers[case.reader], folder)).encode())
        shutil.rmtree(folder, ignore_errors=True)


def _outcome(reader: Reader, folder: Path) -> tuple[str, str]:
    try:
        reader.read(folder)
    except PanopticBlendError:
        pass
    except BaseException as error:
        return _kind(error), traceback.format_exc(limit=-12)[-6000:]
    return "", ""


def _kind(error: BaseException) -> str:
    """The exception with the innermost line of this library, which failures of one cause have in common."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [frame for frame in frames if f"{os.sep}panoptic_blend{os.sep}" in frame.filename] or list(frames)
    where = f"{'/'.join(Path(own[-1].filename).parts[-2:])}:{own[-1].lineno}" if own else ""
    return f"{type(error).__name__} at {where}"


def _write(folder: Path, files: Files) -> None:
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
