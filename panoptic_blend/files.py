"""Safe file access: atomic writes, locks, and readers whose errors name the file."""

from __future__ import annotations

import errno
import glob
import hashlib
import math
import os
import re
import shutil
import socket
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from rich.filesize import decimal

from panoptic_blend.structures import PanopticBlendError

_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:6]
"""Marks the temporary files of this host: another one may write to the same folder."""
_ABANDONED = 24 * 3600
"""The age in seconds at which a temporary file of another host, whose processes are not known, counts as left."""

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Write a file atomically: yield a temporary path that replaces ``path`` if the block succeeds.

    ``durable`` waits until the content is on the disk, so that a power failure cannot leave an empty file.
    """
    with part_of(path) as temporary:
        yield temporary
        if durable:
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def part_of(path: Path) -> Iterator[Path]:
    """Yield a temporary path of this process beside ``path``; a file that is still there at the end is removed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(left for left in _unfinished(path.parent) if left.name.startswith(f".{path.stem}."))
    temporary = path.with_name(f".{path.stem}.{process_mark()}.part{path.suffix}")
    try:
        with name_in_errors(path, temporary):
            yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@cache
def _unfinished(folder: Path) -> tuple[Path, ...]:
    """What killed processes may have left in a folder; listed once, because a folder may hold a whole data set."""
    try:
        return tuple(folder.glob(".*.part*"))
    except OSError:
        return ()


@contextmanager
def name_in_errors(path: Path, temporary: Path | None = None) -> Iterator[None]:
    """Name ``path`` in an OSError that names no file, its ``temporary``, or the source of a copy to a full disk."""
    try:
        yield
    except OSError as error:
        is_copy = error.errno in _UNWRITABLE and error.filename2 is not None
        if error.errno and (is_copy or error.filename in (None, temporary, str(temporary))):
            error.filename, error.filename2 = str(path), None
        raise


_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS}


def file_digest(path: Path) -> str:
    """SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def require_empty(folder: Path) -> None:
    """Raise an error unless ``folder`` is empty or does not exist."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise PanopticBlendError(f"{folder}: is not an empty folder; choose another or empty it")


@contextmanager
def filling(folder: Path, *, overwrite: bool = False) -> Iterator[Path]:
    """Fill a folder atomically: yield a temporary folder that becomes ``folder`` if the block succeeds.

    ``overwrite`` replaces a folder that is not empty, with all that is in it.

    Raises:
        PanopticBlendError: ``folder`` is not empty, and ``overwrite`` is false.
    """
    if not overwrite:
        require_empty(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(folder.parent.glob(f".{glob.escape(folder.name)}.*.part"))
    temporary = folder.with_name(f".{folder.name}.{process_mark()}.part")
    old = folder.with_name(f".{folder.name}.old.{process_mark()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        with name_in_errors(folder, temporary):
            temporary.mkdir()
            yield temporary
            if folder.exists():
                folder.rename(old)
            temporary.rename(folder)
    finally:
        for left in (temporary, old):
            shutil.rmtree(left, ignore_errors=True)


def process_mark() -> str:
    """The host and the number of this process, for the names of its temporary files and folders."""
    return f"{_HOST}-{os.getpid()}"


def remove_unfinished(paths: Iterable[Path]) -> None:
    """Remove the files and folders among ``paths`` that killed processes left in `replacing` or `filling`.

    Those of another host, or of another container, are removed when they have not changed for a day.
    """
    for path in list(paths):
        name = re.fullmatch(r"\..+\.(?:([0-9a-f]{6})-)?(\d+)\.part(\.\w+)?", path.name)
        if not name or path.is_symlink():
            continue
        is_ours = name[1] in {None, _HOST}  # earlier versions left out the host
        if _is_running(int(name[2])) if is_ours else _has_changed(path):
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        elif path.is_file():
            path.unlink(missing_ok=True)


def _is_running(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except (OSError, OverflowError):  # a process of another user, or a number that no process can have
        pass
    return True


def _has_changed(path: Path) -> bool:
    """Whether a file or folder has changed within the last day."""
    try:
        return time.time() < path.stat().st_mtime + _ABANDONED
    except OSError:  # it has just been renamed or removed
        return True


@contextmanager
def locked(folder: Path, option: str = "", patience: float = 0) -> Iterator[None]:
    """Lock ``folder`` for this process, waiting up to ``patience`` seconds for another process to release it.

    The folder is created if absent and removed if still empty at the end. The operating system releases the lock when
    the process ends in any way. A file or operating system without locks is not locked.

    Args:
        option: the option that names the folder, for the message.

    Raises:
        PanopticBlendError: another process holds the lock.
    """
    deadline = time.monotonic() + patience
    while (handle := _lock(folder)) is None:
        if time.monotonic() >= deadline:
            remedy = f"wait until it ends{option and f', or choose another {option}'}"
            raise PanopticBlendError(f"{folder}: another process is using this folder; {remedy}")
        time.sleep(0.2)
    try:
        yield
    finally:
        with suppress(OSError):
            folder.rmdir()
        os.close(handle)


def _lock(folder: Path) -> int | None:
    """An open handle of ``folder``, which is locked; None if another process has it, or has just removed it."""
    folder.mkdir(parents=True, exist_ok=True)
    with suppress(FileNotFoundError):
        handle = os.open(folder, os.O_RDONLY)
        with suppress(FileNotFoundError):
            if _try_lock(handle) and os.path.samestat(os.fstat(handle), folder.stat()):
                return handle
        os.close(handle)
    return None


def _try_lock(handle: int) -> bool:
    """Lock the folder of an open handle; False if another process holds the lock, True if locks are unsupported."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def printable(text: str, limit: int = 2000) -> str:
    """``text`` as one line without control characters; the middle is cut out if it is longer than ``limit``."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
    return plain if len(plain) <= limit else f"{plain[: limit // 2]} ... {plain[-limit // 2 :]}"


def inside(folder: Path, name: str) -> Path:
    """``folder / name`` for an untrusted name; PanopticBlendError if it leaves the folder or has control characters."""
    parts = PurePosixPath(name)
    if name and (name.splitlines() != [name] or min(name) < " "):
        raise PanopticBlendError(f"file name {name!r} has control characters; rename the file")
    if not name or parts.is_absolute() or ".." in parts.parts or "\\" in name:
        raise PanopticBlendError(f"file name {name!r} leads out of its folder; use plain relative names")
    return folder / name


def free_space(folder: Path) -> int:
    """Free bytes on the disk of ``folder``, which need not exist."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_space(folder: Path, size: int, purpose: str) -> None:
    """Raise an error unless ``size`` bytes are free on the disk of ``folder``; ``purpose`` says what needs them."""
    free = free_space(folder)
    if size > free:
        raise PanopticBlendError(
            f"{folder}: {purpose} needs {decimal(size)} and {decimal(free)} are free; make room or choose another disk"
        )


def require_file(path: Path, remedy: str = "check the path") -> None:
    """Raise an error unless ``path`` is a file."""
    try:
        is_file = path.is_file()
    except OSError as error:  # the name is too long, or a folder may not be entered
        raise PanopticBlendError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    if path.is_dir():
        raise PanopticBlendError(f"{path}: is a folder, not a file; {remedy}")
    if not is_file and path.exists():
        raise PanopticBlendError(f"{path}: is a pipe or a device, not a file; write its content to a file first")
    if not is_file:
        raise PanopticBlendError(f"{path}: no such file; {remedy}")


def read_bytes(path: Path) -> bytes:
    """Read a whole file; errors name it."""
    require_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise PanopticBlendError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def without_nan(value: Any) -> Any:
    """The JSON value in which every NaN, a figure over nothing, is None, which JSON writes as null."""
    if isinstance(value, Mapping):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [without_nan(item) for item in value]
    return None if isinstance(value, float) and math.isnan(value) else value


def distinct_names(paths: Sequence[Path]) -> list[str]:
    """Short names that distinguish paths: the same number of trailing parts of each.

    ``r/a/val/x.json`` and ``r/b/val/x.json`` become ``a/val/x.json`` and ``b/val/x.json``; ``val/a.json`` and
    ``val/b.json`` become ``a.json`` and ``b.json``.
    """
    parts = [path.absolute().parts for path in paths]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(set(parts)):
        depth += 1
    return [Path(*part[-depth:]).as_posix() for part in parts]


def require_no_overwrite(written: Sequence[Path], read: Sequence[Path]) -> None:
    """Raise an error if a file to be ``written`` is one of the files to be ``read``."""
    clash = {path.resolve() for path in written} & {path.resolve() for path in read}
    if clash:
        raise PanopticBlendError(f"{min(clash)}: would be overwritten; choose another --output")
