"""File names that another machine wrote: with backslashes, drives, absolute paths, or another Unicode form."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from pathlib import Path
from posixpath import commonpath, dirname, relpath

from panoptic_blend.files import inside


def local_names(names: Sequence[str]) -> list[str]:
    """The file names of one annotation file as relative paths with ``/``.

    Backslashes become ``/``. Absolute paths, with or without a drive, lose the folder that all of them are in, because
    it is a folder of another machine; relative ones stay. `inside` checks the results, as any other names.
    """
    plain = [re.sub(r"^[A-Za-z]:/", "/", name.replace("\\", "/")) for name in names]
    absolute = {name for name in plain if name.startswith("/") and name.isprintable()}
    if not absolute:
        return plain
    common = commonpath({dirname(f"/{name.lstrip('/')}") for name in absolute})
    return [relpath(f"/{name.lstrip('/')}", common) if name in absolute else name for name in plain]


def locate(folder: Path, name: str) -> Path:
    """The path of a file in a folder; a name in another Unicode form counts if only that is there.

    macOS writes ``é`` as two characters (NFD), most other programs as one (NFC). The file need not exist. Raises
    PanopticBlendError if the name leads out of the folder.
    """
    path = inside(folder, name)
    if name.isascii() or path.exists():
        return path
    others = (folder / unicodedata.normalize(form, name) for form in ("NFC", "NFD"))
    return next((other for other in others if other.exists()), path)
