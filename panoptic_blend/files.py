"""Files come whole or not at all, and stay in their folder."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Any

from rich.filesize import decimal

from panoptic_blend.structures import PanopticBlendError

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


@contextmanager
def replacing(path: Path, *, durable: bool = False) -> Iterator[Path]:
    """Give a temporary path beside ``path`` that takes its place, atomically, if the block succeeds.

    ``durable`` waits until the content is on the disk, so that a power cut cannot leave an empty file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        with naming(path):
            yield temporary
            if durable:
                with temporary.open("rb+") as file:
                    os.fsync(file.fileno())
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let an OSError that names no file, as that of a full disk, name ``path``."""
    try:
        yield
    except OSError as error:
        if error.errno and not error.filename:
            error.filename = str(path)
        raise


def require_empty(folder: Path) -> None:
    """Raise an error unless ``folder`` is an empty folder or nothing at all."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise PanopticBlendError(f"{folder}: is not an empty folder; choose another or empty it")


@contextmanager
def filling(folder: Path) -> Iterator[Path]:
    """Give a temporary folder that becomes ``folder``, absent or empty so far, if the block succeeds."""
    require_empty(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.part")
    shutil.rmtree(temporary, ignore_errors=True)
    try:
        temporary.mkdir()
        yield temporary
        if folder.exists():
            folder.rmdir()
        temporary.rename(folder)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_unfinished(paths: Iterable[Path]) -> None:
    """Remove those of ``paths`` that `replacing` and `filling` left in their folders when their process was killed."""
    for path in list(paths):
        name = re.fullmatch(r"\..+\.(\d+)\.part(\.\w+)?", path.name)
        if not name or path.is_symlink() or _is_running(int(name[1])):
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
    except (OSError, OverflowError):  # somebody else's, or no number of a process
        pass
    return True


@contextmanager
def locked(folder: Path, remedy: str, patience: float = 0) -> Iterator[None]:
    """Keep ``folder`` for this process; PanopticBlendError with ``remedy`` if another has it for ``patience`` seconds.

    It is made if need be, and taken away if nothing came into it. The lock ends with the process, however that ends;
    on a disk or system without locks there is none.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder, os.O_RDONLY) if fcntl else None
    try:
        if fcntl and handle is not None:
            deadline = time.monotonic() + patience
            while not _is_free(handle):
                if time.monotonic() >= deadline:
                    raise PanopticBlendError(f"{folder}: another process is at work in it; {remedy}")
                time.sleep(0.2)
        try:
            yield
        finally:
            with suppress(OSError):
                folder.rmdir()
    finally:
        if handle is not None:
            os.close(handle)


def _is_free(handle: int) -> bool:
    """Whether the folder behind a handle could be locked, or cannot be at all."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        pass
    return True


def printable(text: str, limit: int = 2000) -> str:
    """``text`` as one line in which nothing commands a terminal, cut in the middle beyond ``limit``."""
    plain = "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
    return plain if len(plain) <= limit else f"{plain[: limit // 2]} ... {plain[-limit // 2 :]}"


def inside(folder: Path, name: str) -> Path:
    """``folder / name`` for a name that came from a file, which must not lead out of the folder."""
    parts = PurePosixPath(name)
    is_line = name.splitlines() == [name] and min(name) >= " "
    if not is_line or parts.is_absolute() or ".." in parts.parts or "\\" in name:
        raise PanopticBlendError(f"file name {name!r} leads out of its folder; use plain relative names")
    return folder / name


def free_space(folder: Path) -> int:
    """Free bytes on the disk of ``folder``, which need not exist yet."""
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_space(folder: Path, size: int, what: str) -> None:
    """Raise an error unless ``size`` bytes more, for ``what``, fit on the disk of ``folder``."""
    free = free_space(folder)
    if size > free:
        raise PanopticBlendError(
            f"{folder}: {what} needs {decimal(size)} and {decimal(free)} are free; make room or choose another disk"
        )


def require_file(path: Path, remedy: str = "check the path") -> None:
    """Raise an error that names ``path`` unless it is a file."""
    try:
        is_file = path.is_file()
    except OSError as error:  # a name too long, a folder that may not be entered
        raise PanopticBlendError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    if path.is_dir():
        raise PanopticBlendError(f"{path}: is a folder, not a file; {remedy}")
    if not is_file:
        raise PanopticBlendError(f"{path}: no such file; {remedy}")


def read_bytes(path: Path) -> bytes:
    """The whole file, or an error that names it."""
    require_file(path)
    try:
        return path.read_bytes()
    except OSError as error:
        raise PanopticBlendError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def read_json(path: Path, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """The parsed JSON file, or an error that names it and the place; ``object_hook`` as in ``json.loads``."""
    try:
        return json.loads(read_bytes(path), object_hook=object_hook)
    except (ValueError, RecursionError) as error:
        raise PanopticBlendError(f"{path}: not valid JSON ({error}); is the file complete?") from None


def telling_names(paths: Sequence[Path]) -> list[str]:
    """The shortest trailing part of each path, of as many folders for all, that tells different ones apart.

    ``a/val/x.json`` and ``b/val/x.json`` are those, ``val/a.json`` and ``val/b.json`` are ``a.json`` and ``b.json``.
    """
    parts = [path.absolute().parts for path in paths]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(set(parts)):
        depth += 1
    return [Path(*part[-depth:]).as_posix() for part in parts]


def require_others(written: Sequence[Path], read: Sequence[Path]) -> None:
    """Raise if what is to be written would replace what is to be read."""
    clash = {path.resolve() for path in written} & {path.resolve() for path in read}
    if clash:
        raise PanopticBlendError(f"{min(clash)}: would be overwritten; choose another --output")
