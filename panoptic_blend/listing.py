"""List the files of a folder without those that other programs leave there."""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from panoptic_blend.structures import PanopticBlendError

_WINDOWS = "files of Windows (Thumbs.db, desktop.ini)"
_LITTER = {
    ".ipynb_checkpoints": "copies of Jupyter (.ipynb_checkpoints)",
    "__macosx": "files of macOS (._*, .DS_Store, __MACOSX)",
    ".ds_store": "files of macOS (._*, .DS_Store, __MACOSX)",
    "thumbs.db": _WINDOWS,
    "ehthumbs.db": _WINDOWS,
    "desktop.ini": _WINDOWS,
    "$recycle.bin": _WINDOWS,
    "system volume information": _WINDOWS,
    "@eadir": "files of a network disk (@eaDir, #recycle)",
    "#recycle": "files of a network disk (@eaDir, #recycle)",
}
"""Names in lower case, of files and folders that other programs leave, and what they are."""


def litter(name: str) -> str | None:
    """What a file of other programs is, such as ``hidden files``, by its relative path; None for a file of the user."""
    for part in PurePosixPath(name).parts:
        if kind := _LITTER.get(part.lower()):
            return kind
        if part.startswith("."):
            return _LITTER["__macosx"] if part.startswith("._") else "hidden files"
    return None


@dataclass(frozen=True)
class Listing:
    """The ``paths`` of the user's files in a folder, sorted, and how many files and folders of others lie among them.

    ``passed_over`` maps what they are, such as ``hidden files``, to their number; a folder counts once.
    """

    paths: list[Path]
    passed_over: Counter[str]


def list_files(folder: Path, *, recursive: bool) -> Listing:
    """List the regular files of a folder but hidden ones and those of other programs; linked folders are not entered.

    Raises:
        PanopticBlendError: the folder does not exist, or it or one in it may not be read.
    """
    paths: list[Path] = []
    passed_over = Counter[str]()

    def refuse(error: OSError) -> None:
        check = "its permissions" if isinstance(error, PermissionError) else "the path"
        raise PanopticBlendError(f"{error.filename}: cannot be read ({error.strerror}); check {check}")

    for parent, folders, names in os.walk(folder, onerror=refuse):
        passed_over.update(kind for name in (*folders, *names) if (kind := litter(name)))
        entries = [Path(parent, name) for name in names if not litter(name)]
        paths.extend(path for path in entries if path.is_file())
        passed_over.update(
            "links that lead nowhere" if path.is_symlink() else "pipes, sockets and devices"
            for path in entries
            if not path.is_file()
        )
        folders[:] = [name for name in folders if recursive and not litter(name)]
    return Listing(sorted(paths), passed_over)
