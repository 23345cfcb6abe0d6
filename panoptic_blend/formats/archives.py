"""Files by name, in a folder or in a zip that is read in place."""

from __future__ import annotations

import os
import struct
import zipfile
import zlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from panoptic_blend.files import inside, read_bytes
from panoptic_blend.structures import PanopticBlendError

MAX_BYTES = 2**30
"""What one file in a zip may unpack to."""


def first_present(places: Sequence[Path]) -> Path:
    """The first of ``places`` that is a folder, else that is a zip (with ``.zip`` at its end); none: the first."""
    zips = [place.with_name(f"{place.name}.zip") for place in places]
    return next(chain(filter(Path.is_dir, places), filter(Path.is_file, zips)), places[0])


class _Member(NamedTuple):
    """Where a file lies in a zip: its header, and what is behind that."""

    header: int
    packed: int
    size: int
    method: int
    checksum: int
    is_encrypted: bool


class Folder:
    """A folder, or a zip in its place; nothing is ever extracted or written.

    It may be sent to other processes, be used after a fork, and by several threads: no file stays open.

    Args:
        path: a folder, or a file that is a zip.
        example: a name that files are asked for by. A zip often holds one folder with everything below it, which is no
            part of the names then; where the example is found as it stands, it is.

    Raises:
        PanopticBlendError: ``path`` is neither, or the zip is broken.
    """

    def __init__(self, path: Path, example: str | None = None) -> None:
        self.path = path
        self._members = None if path.is_dir() else _members(path, example)

    def __contains__(self, name: str) -> bool:
        """Whether there is a file of that name; a name that leads out of the folder is none."""
        if self._members is not None:
            return name in self._members
        try:
            return inside(self.path, name).is_file()
        except (PanopticBlendError, OSError):
            return False

    def names(self) -> set[str]:
        """The names of all files, with ``/`` between their parts; links to folders are not followed."""
        if self._members is not None:
            return set(self._members)
        found: set[str] = set()
        for place, _, files in os.walk(self.path):
            below = Path(place).relative_to(self.path)
            found.update((below / file).as_posix() for file in files)
        return found

    def read(self, name: str) -> bytes:
        """The whole file.

        Raises:
            PanopticBlendError: there is no such file, or it cannot be read.
        """
        if self._members is None:
            return read_bytes(inside(self.path, name))
        if name not in self._members:
            raise PanopticBlendError(f"{self.path}: no file {name!r} in it; check the name")
        member = self._members[name]
        if member.size > MAX_BYTES:
            raise PanopticBlendError(f"{self.path}: {name!r} unpacks to {member.size} bytes; no picture does")
        try:
            return _unpacked(self.path, member)
        except (OSError, ValueError, zlib.error) as error:
            raise PanopticBlendError(f"{self.path}: {name!r} cannot be read ({error}); fetch the zip again") from None


def _members(path: Path, example: str | None) -> dict[str, _Member]:
    """Files by the names they are asked for; what macOS adds is left out."""
    try:
        with zipfile.ZipFile(path) as archive:
            infos = [info for info in archive.infolist() if not info.is_dir()]
    except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
        raise PanopticBlendError(f"{path}: not a folder and not a whole zip ({error}); fetch it again") from None
    infos = [info for info in infos if not info.filename.startswith("__MACOSX/")]
    names = [info.filename for info in infos]
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    if len(tops) == 1 and "" not in tops and example not in names:
        names = [name.partition("/")[2] for name in names]
    return {name: _member(info) for name, info in zip(names, infos, strict=True)}


def _member(info: zipfile.ZipInfo) -> _Member:
    encrypted = bool(info.flag_bits & 1)
    return _Member(info.header_offset, info.compress_size, info.file_size, info.compress_type, info.CRC, encrypted)


def _unpacked(path: Path, member: _Member) -> bytes:
    """The content of a member; raises for what is not as the zip's directory says."""
    if member.is_encrypted or member.method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("encrypted, or packed by a rare method")
    with path.open("rb") as file:
        file.seek(member.header)
        header = file.read(30)  # of fixed size, with the lengths of name and extra field at its end
        if len(header) < 30 or not header.startswith(b"PK\x03\x04"):
            raise ValueError("it is not where the directory of the zip says")
        file.seek(sum(struct.unpack("<HH", header[26:])), os.SEEK_CUR)
        content = file.read(member.packed)
    if member.method == zipfile.ZIP_DEFLATED:
        content = zlib.decompressobj(-zlib.MAX_WBITS).decompress(content, member.size + 1)
    if len(content) != member.size or zlib.crc32(content) != member.checksum:
        raise ValueError("its checksum is wrong")
    return content
