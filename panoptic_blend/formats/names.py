"""File names that another machine wrote: with backslashes, drives, absolute paths, or another Unicode form."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from posixpath import commonpath, dirname, relpath

from panoptic_blend.files import inside


def local_names(names: Sequence[str]) -> list[str]:
    """The file names of one annotation file as relative paths with ``/``.

    Backslashes become ``/``. Absolute paths, with or without a drive, lose the folder that all of them are in, because
    it is a folder of another machine; relative ones stay. `inside` checks the results, as any other names.
    """
    plain = [re.sub(r"^[A-Za-z]:/", "/", with_slashes(name)) for name in names]
    absolute = {name for name in plain if name.startswith("/") and name.isprintable()}
    if not absolute:
        return plain
    common = commonpath({dirname(f"/{name.lstrip('/')}") for name in absolute})
    return [relpath(f"/{name.lstrip('/')}", common) if name in absolute else name for name in plain]


def with_slashes(name: str) -> str:
    """A path with ``/`` where Windows writes backslashes."""
    return name.replace("\\", "/")


def ends(name: str) -> Iterator[str]:
    """The relative paths that a name may mean in a folder of this machine, the longest first; none leaves the folder.

    Of a path of Windows, an absolute path or a URL, which was a name in another folder, each end may be meant.
    """
    is_foreign = "\\" in name or name.startswith("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", name) is not None
    parts = [part for part in PurePosixPath(with_slashes(name)).parts if part not in {"/", "."}]
    for start in range(len(parts) if is_foreign else 1):
        if parts[start:] and ".." not in parts[start:]:
            yield "/".join(parts[start:])


def composed(name: str) -> str:
    """A name in which ``é`` is one character (NFC); two names of the same letters become equal."""
    return unicodedata.normalize("NFC", name)


def unicode_forms(name: str) -> tuple[str, str]:
    """A name as most programs write it (`composed`), and as macOS does, where ``é`` is two characters (NFD)."""
    return composed(name), unicodedata.normalize("NFD", name)


def photo_name(name: str) -> str:
    """The name of the photo that a name of Cityscapes' panoptic JSON means: ``ulm_0_1_gtFine_leftImg8bit.png`` is none.

    Other names are returned as they are.
    """
    return re.sub(r"_gt(Fine|Coarse)(_leftImg8bit\.\w+)$", r"\2", name)


def locate(folder: Path, name: str) -> Path:
    """The path of a file in a folder; a name in another Unicode form counts if only that is there.

    So does the photo that a name of Cityscapes' panoptic JSON means (`photo_name`), also in the folder of its city. The
    file need not exist. Raises PanopticBlendError if the name leads out of the folder.
    """
    path, photo = inside(folder, name), photo_name(name)
    if (name.isascii() and photo == name) or path.exists():
        return path
    cities = [photo, f"{photo.partition('_')[0]}/{photo}"] if photo != name else []
    others = (folder / other for other in (*unicode_forms(name), *cities))
    return next((other for other in others if other.exists()), path)
