"""Files by name, in a folder or in a zip that is read in place."""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import Any

from panoptic_blend.files import inside, read_bytes
from panoptic_blend.structures import PanopticBlendError

MAX_BYTES = 2**30
"""What one file in a zip may unpack to."""


def first_present(places: Sequence[Path]) -> Path:
    """The first of ``places`` that is a folder, else that is a zip (with ``.zip`` at its end); none: the first."""
    zips = [place.with_name(f"{place.name}.zip") for place in places]
    return next(chain(filter(Path.is_dir, places), filter(Path.is_file, zips)), places[0])


class Folder:
    """A folder, or a zip in its place; nothing is ever extracted or written.

    It may be sent to other processes and be used after a fork: each process opens the zip for itself.

    Args:
        path: a folder, or a file that is a zip.
        example: a name that files are asked for by. A zip often holds one folder with everything below it, which is no
            part of the names then; where the example is found as it stands, it is.

    Raises:
        PanopticBlendError: ``path`` is neither, or the zip is broken.
    """

    def __init__(self, path: Path, example: str | None = None) -> None:
        self.path, self._example = path, example
        self._members: dict[str, str] | None = None
        self._zip: zipfile.ZipFile | None = None
        self._process = 0
        if not path.is_dir():
            self._members = _members(self._opened(), example)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_zip": None, "_process": 0}

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
        archive = self._opened()
        member = archive.getinfo(self._members[name])
        if member.file_size > MAX_BYTES:
            raise PanopticBlendError(f"{self.path}: {name!r} unpacks to {member.file_size} bytes; no picture does")
        try:
            return archive.read(member)
        except (OSError, EOFError, RuntimeError, NotImplementedError, zipfile.BadZipFile, zlib.error) as error:
            raise PanopticBlendError(f"{self.path}: {name!r} cannot be read ({error}); fetch the zip again") from None

    def _opened(self) -> zipfile.ZipFile:
        if self._zip is None or self._process != os.getpid():  # a fork would share the place in the file
            try:
                self._zip = zipfile.ZipFile(self.path)
            except (OSError, ValueError, NotImplementedError, zipfile.BadZipFile) as error:
                raise PanopticBlendError(
                    f"{self.path}: not a folder and not a whole zip ({error}); fetch it again"
                ) from None
            self._process = os.getpid()
        return self._zip


def _members(archive: zipfile.ZipFile, example: str | None) -> dict[str, str]:
    """Names as they are asked for -> names in the zip; what macOS adds is left out."""
    names = [info.filename for info in archive.infolist() if not info.is_dir()]
    names = [name for name in names if not name.startswith("__MACOSX/")]
    tops = {name.partition("/")[0] if "/" in name else "" for name in names}
    if len(tops) != 1 or "" in tops or example in names:
        return {name: name for name in names}
    return {name.partition("/")[2]: name for name in names}
