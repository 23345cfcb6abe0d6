"""Unpack zip archives from outside: refuse harmful ones, and continue after an interruption at any moment.

All names in an archive are checked before anything is written. The declared sizes are compared with the archive's own
size and with the free space; length and CRC-32 of the unpacked files are compared with the declared ones.
"""

from __future__ import annotations

import glob
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

from panoptic_blend.files import inside, name_in_errors, remove_unfinished, replacing, require_space
from panoptic_blend.structures import PanopticBlendError, Progress

_CHUNK = 1 << 20
_BLOCK = 4096
"""Bytes of a disk block: a file occupies a multiple of them."""
_MAX_RATIO = 100
"""The largest plausible ratio of compression; JSON annotations reach about 10, pictures about 1."""
_FILE_TYPES = {0, stat.S_IFREG, stat.S_IFDIR}
_WINDOWS_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)", re.IGNORECASE)
_UNREADABLE = zipfile.BadZipFile, zlib.error, struct.error, EOFError, UnicodeDecodeError, NotImplementedError
_MALFORMED = *_UNREADABLE, ValueError


def _no_progress(done: int, total: int) -> None:
    pass


class BrokenArchiveError(PanopticBlendError):
    """The archive is not a zip, cut short or damaged; another copy may be intact."""


@contextmanager
def open_archive(path: Path) -> Iterator[ZipFile]:
    """Open a zip archive after checking that its names and sizes are harmless.

    Raises:
        BrokenArchiveError: it is not a zip, or a member read in the ``with`` block is damaged.
        PanopticBlendError: it has names that leave the folder, links, devices, repeated names, encryption, or
            impossible sizes, which no data set needs.
    """
    try:
        archive = ZipFile(path)
    except _MALFORMED as error:
        raise _broken(path, error) from None
    with archive:
        _require_safe(archive, path)
        try:
            yield archive
        except _UNREADABLE as error:
            raise _broken(path, error) from None


def members(archive: ZipFile, folder: str, suffix: str) -> list[ZipInfo]:
    """The files directly in ``folder`` that end in ``suffix``, without hidden ones."""
    pattern = re.compile(rf"{re.escape(folder)}/[^/.][^/]*{re.escape(suffix)}")
    return [info for info in archive.infolist() if pattern.fullmatch(info.filename)]


def require_members(path: Path, folder: str, suffix: str, count: int) -> None:
    """Raise PanopticBlendError unless the archive has ``count`` files ``folder/*suffix``."""
    with open_archive(path) as archive:
        _require_count(members(archive, folder, suffix), path, folder, suffix, count)


def unpack_folder(path: Path, suffix: str, count: int, folder: Path, progress: Progress = _no_progress) -> None:
    """Unpack the ``count`` files ``NAME/*suffix`` of an archive into ``folder``, whose name is NAME.

    The files are first written to the folder ``.NAME.unpacking``, which is renamed when all are there. Files that are
    already in it, or in an incomplete ``folder``, are kept if length and CRC-32 are right. ``progress`` counts bytes.
    """
    with open_archive(path) as archive:
        infos = members(archive, folder.name, suffix)
        _require_count(infos, path, folder.name, suffix, count)
        staging = folder.with_name(f".{folder.name}.unpacking")
        present = folder if folder.exists() else staging
        missing = [info for info in infos if not _has_size(present / _name(info), info.file_size)]
        needed = sum(-(-info.file_size // _BLOCK) * _BLOCK for info in missing)
        require_space(folder.parent, needed, f"unpacking {path.name}")
        _prepare_staging(folder, staging)
        done, total = 0, sum(info.file_size for info in infos)
        for info in infos:
            target = staging / _name(info)
            if not _is_unpacked(target, info):
                target.unlink(missing_ok=True)  # it may be a link, through which another file would be overwritten
                _write(archive, info, target)
            done += info.file_size
            progress(done, total)
    if hasattr(os, "sync"):
        os.sync()  # the final name must mean a complete folder even after a power failure
    staging.rename(folder)


def unpack_file(path: Path, member: str, target: Path, progress: Progress = _no_progress) -> None:
    """Unpack one member of an archive to ``target``, completely or not at all; ``progress`` counts bytes."""
    with open_archive(path) as archive:
        if member not in archive.namelist():
            raise PanopticBlendError(f"{path}: has no {member}; get the official archive")
        info = archive.getinfo(member)
        remove_unfinished(target.parent.glob(f".{glob.escape(target.stem)}.*.part{glob.escape(target.suffix)}"))
        require_space(target.parent, info.file_size, f"unpacking {target.name}")
        with replacing(target, durable=True) as temporary:
            _write(archive, info, temporary, progress)


def _require_safe(archive: ZipFile, path: Path) -> None:
    infos = archive.infolist()
    seen: set[str] = set()
    for info in infos:
        fault = _fault(info)
        name = info.filename.rstrip("/").casefold()
        if fault is None and name in seen:
            fault = "occurs twice"
        if fault is not None:
            raise PanopticBlendError(f"{path}: {info.orig_filename!r} {fault}; do not use this archive")
        seen.add(name)
    if any(info.header_offset < 0 for info in infos):  # zipfile computes offsets from the end of the file
        raise _broken(path, zipfile.BadZipFile("its directory is not where its end record says"))
    size = path.stat().st_size
    packed, unpacked = sum(info.compress_size for info in infos), sum(info.file_size for info in infos)
    if packed > size or unpacked > _MAX_RATIO * max(packed, 1):
        raise PanopticBlendError(
            f"{path}: declares {unpacked} bytes, packed in {packed} of its {size} bytes; "
            "do not use this archive, it is a zip bomb"
        )


def _fault(info: ZipInfo) -> str | None:
    """The fault of a member, if any, by the same rules on every operating system."""
    name = info.orig_filename
    try:
        inside(Path(), name)
    except PanopticBlendError:
        return "leads out of its folder"
    parts = name.rstrip("/").split("/")
    if ":" in name or any(_WINDOWS_DEVICE.fullmatch(part.split(".")[0].rstrip()) for part in parts):
        return "is the name of a device or drive"
    if any(part in {"", "."} or part != part.rstrip(" .") for part in parts):
        return "is not a plain name"
    if stat.S_IFMT(info.external_attr >> 16) not in _FILE_TYPES:
        return "is a link or a device, not a file"
    if info.flag_bits & 0x61:  # encrypted, a patch, strongly encrypted
        return "is encrypted"
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        return f"is compressed by method {info.compress_type}, which is not supported"
    return None


def _require_count(infos: list[ZipInfo], path: Path, folder: str, suffix: str, count: int) -> None:
    if len(infos) != count:
        raise PanopticBlendError(
            f"{path}: has {len(infos)} files {folder}/*{suffix}, not {count}; get the official archive"
        )


def _prepare_staging(folder: Path, staging: Path) -> None:
    """Create the staging folder, or rename an incomplete ``folder`` to it."""
    if folder.is_dir() and not any(folder.iterdir()):
        folder.rmdir()
    if folder.exists():
        if staging.exists():
            raise PanopticBlendError(f"{folder}: is incomplete, and so is {staging.name} beside it; remove one of them")
        folder.rename(staging)
    staging.mkdir(parents=True, exist_ok=True)


def _name(info: ZipInfo) -> str:
    return info.filename.rpartition("/")[2]


def _has_size(target: Path, size: int) -> bool:
    return target.is_file() and target.stat().st_size == size


def _is_unpacked(target: Path, info: ZipInfo) -> bool:
    return _has_size(target, info.file_size) and zlib.crc32(target.read_bytes()) == info.CRC


def _write(archive: ZipFile, info: ZipInfo, target: Path, progress: Progress = _no_progress) -> None:
    done = 0
    with name_in_errors(target), archive.open(info) as source, target.open("wb") as out:
        while chunk := source.read(_CHUNK):
            out.write(chunk)
            done += len(chunk)
            progress(done, info.file_size)
    if done != info.file_size:  # zipfile itself checks the CRC-32, and that the member is not longer
        raise zipfile.BadZipFile(f"{info.filename!r} has {done} bytes, not {info.file_size}")


def _broken(path: Path, error: Exception) -> BrokenArchiveError:
    with path.open("rb") as file:
        start = file.read(64).lstrip()
    page = " (it begins like a web page)" if start.startswith((b"<!", b"<html", b"<?xml")) else ""
    reason = " ".join(str(error).split())
    return BrokenArchiveError(f"{path}: not a zip, cut short or damaged{page}: {reason}; fetch it again")
