"""Find the pictures that annotation files of other machines name."""

from __future__ import annotations

from collections import Counter
from functools import cached_property
from pathlib import Path, PurePosixPath

from panoptic_blend.formats.images import PICTURE_SUFFIXES
from panoptic_blend.formats.names import composed, ends
from panoptic_blend.listing import Listing, list_files
from panoptic_blend.structures import PanopticBlendError


class PictureFolder:
    """A folder of pictures, in which one is found although its name was written on another machine.

    Names may differ in the Unicode form of accents (macOS splits ``é`` in two) and in the case of the suffix. Of a
    Windows path, an absolute path or a URL, the longest end that names a file of the folder counts.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, name: str) -> str | None:
        """The path of a picture relative to the folder; None if there is no such file."""
        return next((found for end in ends(name) if (found := self._exact(end) or self._similar(end))), None)

    @cached_property
    def listing(self) -> Listing:
        """All files of the folder and the folders in it."""
        return list_files(self.folder, recursive=True)

    @cached_property
    def _names(self) -> dict[str, str]:
        """Canonical name -> name, without those that two files share."""
        names = [path.relative_to(self.folder).as_posix() for path in self.listing.paths]
        counts = Counter(map(_canonical, names))
        return {_canonical(name): name for name in names if counts[_canonical(name)] == 1}

    def _exact(self, name: str) -> str | None:
        try:
            return name if (self.folder / name).is_file() else None
        except (OSError, ValueError):  # a name that is too long or has a null character
            return None

    def _similar(self, name: str) -> str | None:
        return self._names.get(_canonical(name))


def by_stem(folder: Path) -> dict[str, str]:
    """The paths of the pictures in a folder, relative to it, by the same without their suffix.

    Raises:
        PanopticBlendError: two pictures differ in their suffix only, or there is no such folder.
    """
    found: dict[str, str] = {}
    for path in list_files(folder, recursive=True).paths:
        if path.suffix.lower() in PICTURE_SUFFIXES:
            name = path.relative_to(folder).as_posix()
            stem = str(PurePosixPath(name).with_suffix(""))
            if (other := found.setdefault(stem, name)) != name:
                raise PanopticBlendError(f"{folder}: has {other} and {name}, whose labels have one name; remove one")
    return found


def _canonical(name: str) -> str:
    path = PurePosixPath(composed(name))
    return str(path.with_suffix(path.suffix.lower()))
