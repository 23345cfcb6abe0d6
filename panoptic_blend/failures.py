"""Exceptions of other libraries in one line: what was being done, to which item, and which option to lower."""

from __future__ import annotations

import errno
import os
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from panoptic_blend.structures import PanopticBlendError

_NO_MEMORY = ("out of memory", "can't allocate memory", "cannot allocate memory", "insufficient memory", "bad_alloc")
"""Parts of messages of torch (CPU, CUDA and other devices), OpenCV, the operating system and C++, in lower case."""


class ForeignError(PanopticBlendError):
    """One line for an exception that is not ours, with its ``trace`` and the ``folder`` that was being written."""

    trace = ""
    folder: Path | None = None

    def keep_trace(self) -> Path | None:
        """Write the traceback to ``traceback.txt`` in the folder, or to a temporary file; None if neither is possible.

        A folder that does not exist is not created: most commands refuse one that is not empty.
        """
        with suppress(OSError):
            if self.folder and self.folder.is_dir():
                path = self.folder / "traceback.txt"
                path.write_text(self.trace, encoding="utf-8", errors="backslashreplace")
                return path
        with suppress(OSError):
            handle, name = tempfile.mkstemp(prefix="panoptic-blend-", suffix=".txt")
            with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(self.trace)
            return Path(name)
        return None


class _Activity(str):
    """A note on an exception: what was being done, the options to lower, and the folder that was being written."""

    options: str
    folder: Path | None


@contextmanager
def doing(activity: str, *, lower: str = "", folder: Path | None = None) -> Iterator[None]:
    """Note on every exception that leaves the block what was being done, for `in_one_line`.

    Args:
        activity: the action and its item, such as ``predicting a.jpg``; that of the innermost block is shown.
        lower: the options that save memory if they are lower, such as ``train.batch_size``.
        folder: where the command writes.
    """
    try:
        yield
    except Exception as error:
        note = _Activity(activity)
        note.options, note.folder = lower, folder
        error.add_note(note)
        raise


def in_one_line(error: Exception) -> PanopticBlendError:
    """The error to report for any exception: itself if it is ours, else one that says what was being done."""
    notes = [note for note in getattr(error, "__notes__", ()) if isinstance(note, _Activity)]
    folder = next((note.folder for note in notes if note.folder), None)
    if isinstance(error, ForeignError):
        error.folder = error.folder or folder  # it was made in another process
    if isinstance(error, PanopticBlendError):
        return error
    where = f"{notes[0]}: " if notes else ""
    if is_out_of_memory(error):
        lower = next((note.options for note in notes if note.options), "")
        remedy = f"lower {lower}" if lower else "close other programs, or take a machine with more memory"
        found = ForeignError(f"{where}memory ran out; {remedy}")
    elif isinstance(error, OSError):
        where = f"{error.filename}: " if error.filename else where or "operating system: "
        return PanopticBlendError(f"{where}{error.strerror or error}; check the path and the disk")
    else:
        found = ForeignError(f"{where}{in_short(error)}")
    found.trace = "".join(traceback.format_exception(error))
    found.folder = folder
    return found


def reworded(error: PanopticBlendError, message: str) -> PanopticBlendError:
    """An error with another message; that of a foreign exception keeps its trace and folder."""
    if not isinstance(error, ForeignError):
        return PanopticBlendError(message)
    found = ForeignError(message)
    found.trace, found.folder = error.trace, error.folder
    return found


def in_short(error: Exception) -> str:
    """The type and the message of an exception in one line, such as ``MemoryError: Unable to allocate 2 GiB``."""
    name, message = type(error).__name__, first_line(error)
    return name if message == name else f"{name}: {message}"


def first_line(error: Exception) -> str:
    """The first line of the message of an exception; its type if it has no message, as a bare ``assert``."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def is_out_of_memory(error: Exception) -> bool:
    """Whether an exception of Python, numpy, torch, OpenCV or the operating system says that memory ran out."""
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or any(text in str(error).lower() for text in _NO_MEMORY)
