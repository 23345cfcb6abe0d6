"""What is finished of a folder of predictions, so that an interrupted run goes on where it was.

``journal.jsonl`` lies beside the results. Its first line says what they are made with: a digest of the weights as
loaded, the options that matter, classes, arithmetic, device and kind of input. Every other line is one finished image:
its picture with size and time of change, the files written for it with their sizes, and its records of the COCO JSON.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from panoptic_blend.checkpoints.digest import weights_digest
from panoptic_blend.files import inside, remove_unfinished, replacing
from panoptic_blend.inference.predictor import Predictor
from panoptic_blend.runtime.precision import resolve
from panoptic_blend.structures import PanopticBlendError

Record = dict[str, Any]
"""An element of ``images`` or ``annotations`` of a COCO panoptic JSON."""

_NAME = "journal.jsonl"


@dataclass(frozen=True)
class Entry:
    """One finished image: where it came from, what was written, and its ``images`` and ``annotations`` records.

    ``stamp`` tells a changed ``source`` from the same one, and ``files`` are names in the folder with their bytes.
    """

    source: str
    stamp: list[int]
    files: dict[str, int]
    image: Record
    annotation: Record


class Journal:
    """The finished images of ``folder``, by source; `open` makes one, and entries may be added from any thread."""

    def __init__(self, folder: Path, made_with: Mapping[str, Any], entries: Iterable[Entry]) -> None:
        self._folder, self._made_with, self._lock = folder, made_with, threading.Lock()
        self._entries = {entry.source: entry for entry in entries}

    @classmethod
    def open(cls, folder: Path, made_with: Mapping[str, Any], outputs: Iterable[Path], overwrite: bool) -> Journal:
        """The journal of a folder that is empty, made with the same, or to be overwritten.

        Args:
            made_with: all that decides what the results are, by a name that fits a message.
            outputs: files that will be written.

        Raises:
            PanopticBlendError: there are results in ``folder`` that were made with anything else.
        """
        expected = json.loads(json.dumps(made_with))
        found, entries = _read(folder / _NAME)
        if overwrite:
            _remove(folder, entries)
            entries = []
        elif found is None:
            there = next((path for path in outputs if path.exists()), None)
            if there:
                raise PanopticBlendError(f"{there}: is there already; choose another --output, or give --overwrite")
        else:
            other = next((name for name in expected | found if expected.get(name) != found.get(name)), None)
            if other:
                raise PanopticBlendError(
                    f"{folder}: its results are made with other {other}; choose another --output, or give --overwrite"
                )
        if found is not None:
            remove_unfinished(folder.rglob(".*"))  # by a run that was killed
        return cls(folder, expected, entries)

    def require_sources(self, sources: Iterable[str]) -> None:
        """Raise if there are images in the folder that came from anywhere else."""
        others = self._entries.keys() - set(sources)
        if others:
            raise PanopticBlendError(
                f"{self._folder}: holds results of {min(others)} too; choose another --output, or give --overwrite"
            )

    def find(self, source: str, stamp: list[int]) -> Entry | None:
        """The entry of an image that is unchanged, with all its files as they were written."""
        entry = self._entries.get(source)
        is_whole = entry and entry.stamp == stamp and all(self._size(name) == n for name, n in entry.files.items())
        return entry if is_whole else None

    def add(self, source: str, stamp: list[int], files: Iterable[Path], image: Record, annotation: Record) -> Entry:
        """Note that an image is finished: its ``files`` are written."""
        sizes = {path.relative_to(self._folder).as_posix(): path.stat().st_size for path in files}
        entry = Entry(source, stamp, sizes, image, annotation)
        with self._lock:
            self._file.write(_line(asdict(entry)))
            self._file.flush()
            self._entries[source] = entry
        return entry

    def __enter__(self) -> Journal:
        path = self._folder / _NAME
        with replacing(path) as temporary:  # without the half line that a killed process may have left
            lines = [self._made_with, *map(asdict, self._entries.values())]
            temporary.write_text("".join(map(_line, lines)), encoding="utf-8")
        self._file = path.open("a", encoding="utf-8")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

    def _size(self, name: str) -> int:
        path = inside(self._folder, name)
        return path.stat().st_size if path.is_file() else -1


def made_with(predictor: Predictor, source: Mapping[str, Any]) -> dict[str, Any]:
    """All that decides what a predictor makes of pictures; ``source`` says what it gets."""
    device = predictor.model.pixel_mean.device
    return {
        "weights": weights_digest(predictor.model),
        "options": predictor.config.model_dump(mode="json", include={"model", "test"}),
        "categories": predictor.categories.records(),
        "precision": resolve(predictor.precision, device),
        "device": device.type,
        "input": source,
    }


def stamp_of(path: Path) -> list[int]:
    """Size and time of change of a file: other ones mean another content."""
    found = path.stat()
    return [found.st_size, found.st_mtime_ns]


def _line(content: Any) -> str:
    return f"{json.dumps(content)}\n"


def _read(path: Path) -> tuple[dict[str, Any] | None, list[Entry]]:
    """What a folder's results are made with, None if nobody noted it, and its entries; broken lines are passed over."""
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


def _entry(content: dict[str, Any]) -> Entry | None:
    try:
        entry = Entry(**content)
    except TypeError:
        return None
    kinds = (entry.source, str), (entry.stamp, list), (entry.files, dict), (entry.image, dict), (entry.annotation, dict)
    return entry if all(isinstance(value, kind) for value, kind in kinds) else None


def _remove(folder: Path, entries: Iterable[Entry]) -> None:
    for entry in entries:
        for name in entry.files:
            inside(folder, name).unlink(missing_ok=True)
