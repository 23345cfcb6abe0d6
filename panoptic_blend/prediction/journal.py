"""A journal of the finished images in a folder of predictions, from which an interrupted run continues.

``journal.jsonl`` is written beside the results. Its first line identifies the run: a digest of the weights as loaded,
the options that affect the results, categories, arithmetic, device and kind of input. Every other line is one finished
image: the path, size and modification time of its picture, the files written for it with their sizes, and its records
for the COCO JSON. Where several processes share the images, each but the first writes a journal of its own beside it,
such as ``journal_1.jsonl``, which the first one takes into its own at the end, or in the next run, whatever the number
of its processes.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from panoptic_blend.files import inside, name_in_errors, remove_unfinished, replacing
from panoptic_blend.prediction.protocol import PicturePredictor
from panoptic_blend.structures import PanopticBlendError

Record = dict[str, Any]
"""An element of ``images`` or ``annotations`` of a COCO panoptic JSON."""

_NAME = "journal.jsonl"


@dataclass(frozen=True)
class JournalEntry:
    """One finished image, with its ``images`` and ``annotations`` records of the COCO JSON.

    ``source`` identifies the image and ``stamp`` its content (see `file_stamp`). ``files`` are the relative paths of
    the files written for it, with their sizes in bytes.
    """

    source: str
    stamp: list[int]
    files: dict[str, int]
    image: Record
    annotation: Record


class Journal:
    """The finished images of ``folder``, by source; a context manager.

    `Journal.open` creates it, and `Journal.of_rank` those of the other processes. In the context, entries may be added
    from any thread.
    """

    def __init__(self, path: Path, identity: Mapping[str, Any], entries: Iterable[JournalEntry]) -> None:
        self._path, self._folder, self._lock = path, path.parent, threading.Lock()
        self._entries = {entry.source: entry for entry in entries}
        with replacing(path) as temporary:  # drops the incomplete line that a killed process may have left
            lines = [identity, *map(asdict, self._entries.values())]
            temporary.write_text("".join(map(_line, lines)), encoding="utf-8")

    @classmethod
    def of_rank(cls, folder: Path, identity: Mapping[str, Any], rank: int) -> Journal:
        """Start the journal of a process that is not the first, once that has opened its own."""
        return cls(folder / f"journal_{rank}.jsonl", identity, ())

    @classmethod
    def open(cls, folder: Path, identity: Mapping[str, Any], outputs: Iterable[Path], overwrite: bool) -> Journal:
        """Read the journal of a folder, or start a new one.

        Args:
            identity: everything that the results depend on, by a name that is used in messages.
            outputs: files that will be written.
            overwrite: remove the files of the existing journal and start a new one.

        Raises:
            PanopticBlendError: ``folder`` has results of another identity or without a journal, and ``overwrite`` is
                false.
        """
        expected = json.loads(json.dumps(identity))
        found, entries = _read(folder / _NAME)
        for path in _others(folder):
            other_identity, more = _read(path)
            entries += more if other_identity == found else []
        if overwrite:
            _remove(folder, entries)
            entries = []
        elif found is None:
            there = next((path for path in outputs if _exists(path)), None)
            if there:
                raise PanopticBlendError(f"{there}: already exists; choose another --output, or give --overwrite")
        else:
            other = next((name for name in expected | found if expected.get(name) != found.get(name)), None)
            if other:
                raise PanopticBlendError(
                    f"{folder}: its results were made with other {other}; choose another --output, or give --overwrite"
                )
        if found is not None:
            remove_unfinished(folder.rglob(".*"))  # left by a run that was killed
        journal = cls(folder / _NAME, expected, entries)
        _remove_others(folder)
        return journal

    def require_sources(self, sources: Iterable[str]) -> None:
        """Raise an error if the folder has results of an image that is not one of ``sources``."""
        others = self._entries.keys() - set(sources)
        if others:
            raise PanopticBlendError(
                f"{self._folder}: also has results of {min(others)}; choose another --output, or give --overwrite"
            )

    def find(self, source: str, stamp: list[int]) -> JournalEntry | None:
        """The entry of an image; None if the image or a file written for it has changed or is missing."""
        entry = self._entries.get(source)
        is_valid = entry and entry.stamp == stamp and all(self._size(name) == n for name, n in entry.files.items())
        return entry if is_valid else None

    def add(
        self, source: str, stamp: list[int], files: Iterable[Path], image: Record, annotation: Record
    ) -> JournalEntry:
        """Add an image that is finished; its ``files`` must have been written."""
        sizes = {path.relative_to(self._folder).as_posix(): path.stat().st_size for path in files}
        entry = JournalEntry(source, stamp, sizes, image, annotation)
        self._append([entry])
        return entry

    def take_in(self, entries: Iterable[JournalEntry]) -> None:
        """Add the entries that other processes have in journals of their own, and remove these."""
        self._append(entries)
        _remove_others(self._folder)

    def _append(self, entries: Iterable[JournalEntry]) -> None:
        with self._lock, name_in_errors(self._path):
            for entry in entries:
                self._file.write(_line(asdict(entry)))
                self._entries[entry.source] = entry
            self._file.flush()

    def require_results(self) -> None:
        """Raise an error unless the journal and all files of its entries are still there."""
        gone = [name for entry in self._entries.values() for name in entry.files if self._size(name) < 0]
        again = "the same command again" if self._size(_NAME) >= 0 else "the command again, with --overwrite"
        if gone or self._size(_NAME) < 0:
            name = next(iter(gone), _NAME)
            raise PanopticBlendError(f"{self._folder / name}: was removed after it was written; run {again}")

    def __enter__(self) -> Journal:
        self._file = self._path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _size(self, name: str) -> int:
        path = inside(self._folder, name)
        try:
            return path.stat().st_size if path.is_file() else -1
        except OSError:  # no file can have such a long name
            return -1


def prediction_identity(predictor: PicturePredictor, source: Mapping[str, Any]) -> dict[str, Any]:
    """Everything that the results of a predictor depend on, as JSON; ``source`` describes its input."""
    options = predictor.config.model_dump(mode="json", include={"model", "test"})
    return {**predictor.identity(), "options": options, "categories": predictor.categories.records(), "input": source}


def file_stamp(path: Path) -> list[int]:
    """Size in bytes and modification time in ns of a file; they differ if its content has changed."""
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]


def _others(folder: Path) -> list[Path]:
    """The journals of processes that are not the first."""
    return [path for path in folder.glob("journal_*.jsonl") if path.stem.removeprefix("journal_").isdecimal()]


def _remove_others(folder: Path) -> None:
    for path in _others(folder):
        path.unlink()


def _line(content: Any) -> str:
    return f"{json.dumps(content)}\n"


def _read(path: Path) -> tuple[dict[str, Any] | None, list[JournalEntry]]:
    """The identity and the entries of a journal file, without broken lines; the identity is None if there is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (FileNotFoundError, NotADirectoryError, UnicodeDecodeError):
        return None, []
    contents = [content for content in map(_parsed, lines) if content is not None]
    if not contents or "weights" not in contents[0]:
        return None, []
    return contents[0], [entry for entry in map(_entry, contents[1:]) if entry]


def _parsed(line: str) -> dict[str, Any] | None:
    try:
        content = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return content if isinstance(content, dict) else None


def _entry(content: dict[str, Any]) -> JournalEntry | None:
    try:
        entry = JournalEntry(**content)
    except TypeError:
        return None
    kinds = (entry.source, str), (entry.stamp, list), (entry.files, dict), (entry.image, dict), (entry.annotation, dict)
    is_valid = all(isinstance(value, kind) for value, kind in kinds) and _is_shallow(content)
    return entry if is_valid else None


def _is_shallow(value: Any, levels: int = 5) -> bool:
    """Whether lists and dictionaries are nested as in a record, not as in a file made to exhaust the stack."""
    parts = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return levels >= 0 and all(_is_shallow(part, levels - 1) for part in parts)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except OSError:  # the name is too long, which is found again when this file is written
        return False


def _remove(folder: Path, entries: Iterable[JournalEntry]) -> None:
    for entry in entries:
        for name in entry.files:
            inside(folder, name).unlink(missing_ok=True)
