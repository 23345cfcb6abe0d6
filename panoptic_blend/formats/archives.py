"""Read files by name from a folder, or from a zip without extracting it."""

from __future__ import annotations

import hashlib
import os
import struct
import sys
import zipfile
import zlib
from array import array
from collections.abc import Iterable, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from zlib_ng import zlib_ng

from panoptic_blend.files import read_bytes
from panoptic_blend.formats.names import locate, unicode_forms
from panoptic_blend.listing import litter
from panoptic_blend.structures import PanopticBlendError

MAX_BYTES = 2**30
"""Maximum unpacked size of a file in a zip."""


def first_existing(candidates: Sequence[Path]) -> Path:
    """The first of ``candidates`` that is a folder, else the first with a zip ``NAME.zip``, else the first of all."""
    zips = [path.with_name(f"{path.name}.zip") for path in candidates]
    return next(chain(filter(Path.is_dir, candidates), filter(Path.is_file, zips)), candidates[0])


class _Member(NamedTuple):
    """A file in a zip: the offset of its header, its packed and unpacked size, method, CRC-32 and encryption."""

    header: int
    packed: int
    size: int
    method: int
    checksum: int
    is_encrypted: bool


class Folder:
    """Read-only access to the files of a folder or of a zip; nothing is extracted or written.

    No file stays open, so instances can be pickled, used after a fork, and shared by threads.

    Args:
        path: a folder or a zip file.
        example: the name of one file, as callers will ask for it. If all files of a zip are in one top folder, that
            folder is dropped from their names, unless the zip has a file named exactly like the example.

    Raises:
        PanopticBlendError: ``path`` is neither a folder nor a zip, or the zip is broken.
    """

    def __init__(self, path: Path, example: str | None = None) -> None:
        self.path = path
        self._members = None if path.is_dir() else _members(path, example)

    def __contains__(self, name: str) -> bool:
        """Whether there is a file of that name; False for a name that leads out of the folder."""
        if self._members is not None:
            return self._spelled(name) in self._members
        try:
            return locate(self.path, name).is_file()
        except (PanopticBlendError, OSError):
            return False

    def names(self) -> set[str]:
        """Relative paths of all files, with ``/`` as the separator; links to folders are not followed."""
        if self._members is not None:
            return set(self._members)
        found: set[str] = set()
        for parent, _, files in os.walk(self.path):
            below = Path(parent).relative_to(self.path)
            found.update((below / file).as_posix() for file in files)
        return found

    def read(self, name: str) -> bytes:
        """Read a whole file.

        Raises:
            PanopticBlendError: there is no such file, or it cannot be read.
        """
        if self._members is None:
            return read_bytes(locate(self.path, name))
        member = self._members.get(self._spelled(name))
        if member is None:
            raise PanopticBlendError(f"{self.path}: has no file {name!r}; check the name")
        if member.size > MAX_BYTES:
            raise PanopticBlendError(
                f"{self.path}: {name!r} unpacks to {member.size} bytes, more than {MAX_BYTES}; check the zip"
            )
        try:
            return _unpacked(self.path, member)
        except (OSError, ValueError, OverflowError, zlib.error) as error:
            raise PanopticBlendError(f"{self.path}: {name!r} cannot be read ({error}); fetch the zip again") from None

    def digest(self, names: Iterable[str]) -> str:
        """SHA-256, in hexadecimal digits, of the sizes of the files ``names``; they are not read, and may be missing.

        It is the same for a folder, a copy of it, and a zip of it.
        """
        sizes = array("q", map(self._size, names))
        if sys.byteorder == "big":
            sizes.byteswap()
        return hashlib.sha256(sizes).hexdigest()

    def checksum(self, name: str) -> int | None:
        """CRC-32 of a file, for which a zip is not read; None if there is no such file."""
        if self._members is not None:
            member = self._members.get(self._spelled(name))
            return None if member is None else member.checksum
        return zlib_ng.crc32(self.read(name)) if name in self else None

    def _size(self, name: str) -> int:
        if self._members is not None:
            member = self._members.get(self._spelled(name))
            return -1 if member is None else member.size
        try:
            return locate(self.path, name).stat().st_size
        except (PanopticBlendError, OSError):
            return -1

    def _spelled(self, name: str) -> str:
        """The name in the Unicode form in which the zip has it."""
        forms = name, *unicode_forms(name)
        return next((form for form in forms if form in (self._members or ())), name)


def _members(path: Path, example: str | None) -> dict[str, _Member]:
    """The files of a zip by name, without those that other programs add."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if info.filename and not info.is_dir()]
    except (OSError, ValueError, NotImplementedError, EOFError, struct.error, zipfile.BadZipFile) as error:
        raise PanopticBlendError(f"{path}: neither a folder nor a complete zip ({error}); fetch it again") from None
    infos = [info for info in infos if not litter(info.filename)]
    names = [info.filename for info in infos]
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    if len(tops) == 1 and "" not in tops and example not in names:
        names = [name.partition("/")[2] for name in names]
    return {name: _member(info) for name, info in zip(names, infos, strict=True)}


def _member(info: zipfile.ZipInfo) -> _Member:
    encrypted = bool(info.flag_bits & 1)
    return _Member(info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC, encrypted)


def _unpacked(path: Path, member: _Member) -> bytes:
    """Unpack a file; OSError, ValueError or zlib.error if it differs from its entry in the zip directory."""
    if member.is_encrypted or member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("it is encrypted, or its compression method is not supported")
    with path.open("rb") as file:
        file.seek(member.header)
        header = file.read(30)  # of fixed size, with the lengths of name and extra field at its end
        if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
            raise ValueError("its header is not at the offset in the directory of the zip")
        file.seek(sum(struct.unpack("<HH", header[26:])), os.SEEK_CUR)
        content = file.read(min(member.packed, path.stat().st_size))  # because memory is reserved for what is asked
    if member.method == zipfile.ZIP_DEFLATED:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, member.size + 1)
    if len(content) != member.size or zlib.crc32(content) != member.checksum:
        raise ValueError("its checksum is wrong")
    return content
