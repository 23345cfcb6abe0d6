"""Zip archives from outside: refused if they could do harm, unpacked so that a stop at any moment costs nothing.

Every name of an archive is checked before anything is written. What it declares is compared with its own size and with
the disk; what comes out is compared with what it declares: length and CRC-32, by ``zipfile``.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile, ZipInfo

from panoptic_blend.files import inside, replacing, require_space
from panoptic_blend.structures import PanopticBlendError, Progress

_CHUNK = 1 << 20
_BLOCK = 4096
"""Bytes a disk gives a file at least, usually."""
_MAX_RATIO = 100
"""Annotations in JSON shrink to a tenth, pictures hardly."""
_FILE_TYPES = {0, stat.S_IFREG, stat.S_IFDIR}
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
_UNREADABLE = zipfile.BadZipFile, zlib.error, struct.error, EOFError
_MALFORMED = *_UNREADABLE, UnicodeDecodeError, NotImplementedError, ValueError


def _untold(done: int, total: int) -> None:
    pass


class BrokenArchiveError(PanopticBlendError):
    """The archive is no zip, cut short or damaged; another copy may be whole."""


@contextmanager
def opened(path: Path) -> Iterator[ZipFile]:
    """A zip archive whose names and figures are harmless.

    Raises:
        BrokenArchiveError: it is no zip, or what is read inside the block turns out damaged.
        PanopticBlendError: it holds what no data set needs: names that leave the folder, links, devices, names used
            twice, encryption, figures that cannot be.
    """
    try:
        archive = ZipFile(path)
    except _MALFORMED as error:
        raise _broken(path, error) from None
    with archive:
        _require_harmless(archive, path)
        try:
            yield archive
        except _UNREADABLE as error:
            raise _broken(path, error) from None


def members(archive: ZipFile, folder: str, suffix: str) -> list[ZipInfo]:
    """The files that lie in ``folder`` itself and end in ``suffix``, without hidden ones."""
    pattern = re.compile(rf"{re.escape(folder)}/[^/.][^/]*{re.escape(suffix)}")
    return [info for info in archive.infolist() if pattern.fullmatch(info.filename)]


def require_members(path: Path, folder: str, suffix: str, count: int) -> None:
    """Raise an error unless the archive has ``count`` files ``folder/*suffix``."""
    with opened(path) as archive:
        _require_count(members(archive, folder, suffix), path, folder, suffix, count)


def unpack_folder(path: Path, suffix: str, count: int, folder: Path, progress: Progress = _untold) -> None:
    """Unpack the ``count`` files ``name/*suffix`` of an archive as ``folder``, ``name`` being that folder's.

    They are gathered in ``.name.unpacking``, which takes the folder's place when all are there. What already lies
    there, or in an incomplete ``folder``, is kept where length and CRC-32 are right. ``progress`` is told bytes.
    """
    with opened(path) as archive:
        infos = members(archive, folder.name, suffix)
        _require_count(infos, path, folder.name, suffix, count)
        gathering = folder.with_name(f".{folder.name}.unpacking")
        present = folder if folder.exists() else gathering
        missing = [info for info in infos if not _has_size(present / _name(info), info.file_size)]
        needed = sum(-(-info.file_size // _BLOCK) * _BLOCK for info in missing)
        require_space(folder.parent, needed, f"unpacking {path.name}")
        _take_over(folder, gathering)
        done, total = 0, sum(info.file_size for info in infos)
        for info in infos:
            target = gathering / _name(info)
            if not _is_unpacked(target, info):
                target.unlink(missing_ok=True)  # it may be a link to elsewhere
                _write(archive, info, target)
            done += info.file_size
            progress(done, total)
    if hasattr(os, "sync"):
        os.sync()  # the folder's name says that all of it is there, after a power cut too
    gathering.rename(folder)


def unpack_file(path: Path, member: str, target: Path, progress: Progress = _untold) -> None:
    """Unpack one member of an archive as ``target``, whole or not at all; ``progress`` is told bytes."""
    with opened(path) as archive:
        if member not in archive.namelist():
            raise PanopticBlendError(f"{path}: has no {member}; get the official archive")
        info = archive.getinfo(member)
        for stale in target.parent.glob(f".{target.stem}.*.part{target.suffix}"):
            stale.unlink()  # of a run that was killed
        require_space(target.parent, info.file_size, f"unpacking {target.name}")
        with replacing(target, durable=True) as temporary:
            _write(archive, info, temporary, progress)


def _require_harmless(archive: ZipFile, path: Path) -> None:
    infos = archive.infolist()
    seen: set[str] = set()
    for info in infos:
        trouble = _trouble(info)
        name = info.filename.rstrip("/").casefold()
        if trouble is None and name in seen:
            trouble = "is there twice"
        if trouble is not None:
            raise PanopticBlendError(f"{path}: {info.orig_filename!r} {trouble}; do not use this archive")
        seen.add(name)
    if any(info.header_offset < 0 for info in infos):  # zipfile finds them from the end
        raise _broken(path, zipfile.BadZipFile("its directory is not where its end says"))
    size = path.stat().st_size
    packed, unpacked = sum(info.compress_size for info in infos), sum(info.file_size for info in infos)
    if packed > size or unpacked > _MAX_RATIO * max(packed, 1):
        raise PanopticBlendError(
            f"{path}: declares {unpacked} bytes in {packed} of its {size}; do not use this archive, it is a zip bomb"
        )


def _trouble(info: ZipInfo) -> str | None:
    """What is wrong with a member, if anything, judged alike on every system."""
    name = info.orig_filename
    try:
        inside(Path(), name)
    except PanopticBlendError:
        return "leads out of its folder"
    parts = name.rstrip("/").split("/")
    if ":" in name or any(_WINDOWS_DEVICE.fullmatch(part.split(".")[0].rstrip()) for part in parts):
        return "is the name of a device or drive"
    if any(part in {"", "."} or part != part.rstrip(" .") for part in parts):
        return "is no plain name"
    if stat.S_IFMT(info.external_attr >> 16) not in _FILE_TYPES:
        return "is a link or a device, not a file"
    if info.flag_bits & 0x61:  # encrypted, a patch, strongly encrypted
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed by method {info.compress_type}, which is neither none nor deflate"
    return None


def _require_count(infos: list[ZipInfo], path: Path, folder: str, suffix: str, count: int) -> None:
    if len(infos) != count:
        raise PanopticBlendError(
            f"{path}: has {len(infos)} files {folder}/*{suffix}, not {count}; get the official archive"
        )


def _take_over(folder: Path, gathering: Path) -> None:
    """Make the folder in which the files gather, of an incomplete ``folder`` if there is one."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    if folder.exists():
        if gathering.exists():
            raise PanopticBlendError(f"{folder}: incomplete, and so is {gathering.name} beside it; remove one of them")
        folder.rename(gathering)
    gathering.mkdir(parents=True, exist_ok=True)


def _name(info: ZipInfo) -> str:
    return info.filename.rpartition("/")[2]


def _has_size(target: Path, size: int) -> bool:
    return target.is_file() and target.stat().st_size == size


def _is_unpacked(target: Path, info: ZipInfo) -> bool:
    return _has_size(target, info.file_size) and zlib.crc32(target.read_bytes()) == info.CRC


def _write(archive: ZipFile, info: ZipInfo, target: Path, progress: Progress = _untold) -> None:
    done = 0
    with archive.open(info) as source, target.open("wb") as out:
        while chunk := source.read(_CHUNK):
            out.write(chunk)
            done += len(chunk)
            progress(done, info.file_size)
    if done != info.file_size:  # zipfile checks the CRC-32 of what came, and that it is not longer
        raise zipfile.BadZipFile(f"{info.filename!r} has {done} bytes and should have {info.file_size}")


def _broken(path: Path, error: Exception) -> BrokenArchiveError:
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    page = " (it begins like a web page)" if start.startswith((b"<!", b"<html", b"<?xml")) else ""
    reason = " ".join(str(error).split())
    return BrokenArchiveError(f"{path}: no zip archive, cut short or damaged{page}: {reason}; fetch it again")
