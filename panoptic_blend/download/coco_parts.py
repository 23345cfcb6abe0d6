"""The parts of COCO panoptic 2018: the archive that each comes from, and the check that it is complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from panoptic_blend.download.unpacking import require_members, unpack_file, unpack_folder
from panoptic_blend.structures import PanopticBlendError, Progress


@dataclass(frozen=True)
class Zip:
    """An archive at ``path``, and its origin: ``address`` on the server, or the archive ``within`` which it lies."""

    path: Path
    address: str = ""
    within: Zip | None = None

    @property
    def partial(self) -> Path:
        """The path of the unfinished download."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def member(self) -> str:
        """The name of this archive in the one that contains it."""
        return f"annotations/{self.path.name}"

    def chain(self) -> Iterator[Zip]:
        """Yield this archive and the archives that contain it."""
        yield self
        if self.within:
            yield from self.within.chain()

    def to_fetch(self) -> Iterator[Zip]:
        """Yield the archive that must be downloaded to get this one; nothing if this one exists."""
        if not self.path.exists():
            yield from self.within.to_fetch() if self.within else (self,)


class Part(Protocol):
    """A file or folder of the data set that comes from an archive; ``str`` gives its path and contents."""

    @property
    def archive(self) -> Zip: ...

    @property
    def name(self) -> str: ...

    @property
    def is_zip(self) -> bool:
        """Whether the archive itself is requested, not its contents."""

    def is_complete(self) -> bool:
        """Whether the part is complete on the disk."""

    def unpack(self, progress: Progress) -> None:
        """Unpack the part from its archive, which must be on the disk."""


@dataclass(frozen=True)
class UnpackedFolder:
    """A folder with ``count`` files ``target/*suffix``; the files may be in the folder ``alternative`` instead."""

    target: Path
    archive: Zip
    suffix: str
    count: int
    alternative: Path | None = None
    is_zip = False

    def __str__(self) -> str:
        return f"{self.target} ({self.count} {self.suffix[1:]})"

    @property
    def name(self) -> str:
        return self.target.name

    def is_complete(self) -> bool:
        folders = [folder for folder in (self.target, self.alternative) if folder]
        return any(count_files(folder, self.suffix) >= self.count for folder in folders)

    def unpack(self, progress: Progress) -> None:
        unpack_folder(self.archive.path, self.suffix, self.count, self.target, progress)


@dataclass(frozen=True)
class ZippedFolder:
    """A folder that stays in its archive; an unpacked folder is accepted too."""

    folder: UnpackedFolder
    is_zip = True

    def __str__(self) -> str:
        return f"{self.archive.path} ({self.folder.count} {self.folder.suffix[1:]})"

    @property
    def archive(self) -> Zip:
        return self.folder.archive

    @property
    def name(self) -> str:
        return self.archive.path.name

    def is_complete(self) -> bool:
        if self.folder.is_complete():
            return True
        try:
            self._require()
        except (PanopticBlendError, FileNotFoundError):
            return False
        return True

    def unpack(self, progress: Progress) -> None:
        self._require()

    def _require(self) -> None:
        require_members(self.archive.path, self.folder.name, self.folder.suffix, self.folder.count)


@dataclass(frozen=True)
class JsonFile:
    """An annotation file; if ``counted_key`` is set, that key must occur ``count`` times."""

    target: Path
    archive: Zip
    counted_key: str = ""
    count: int = 0
    is_zip = False

    def __str__(self) -> str:
        return f"{self.target}" + (f" ({self.count} annotations)" if self.count else "")

    @property
    def name(self) -> str:
        return self.target.name

    def is_complete(self) -> bool:
        return self.target.is_file() and self._fault() is None

    def unpack(self, progress: Progress) -> None:
        unpack_file(self.archive.path, f"annotations/{self.target.name}", self.target, progress)
        fault = self._fault()
        if fault:
            raise PanopticBlendError(f"{self.target}: {fault}; get the official archive")

    def _fault(self) -> str | None:
        found, last_byte = count_and_last_byte(self.target, f'"{self.counted_key}"'.encode())
        if self.counted_key and found != self.count:
            return f"has {found} annotations where COCO has {self.count}"
        return None if last_byte == b"}" else "is cut short, as it does not end with }"


def coco_parts(root: Path, counts: Mapping[str, int], instances: bool, unzip_pngs: bool) -> list[Part]:
    """The parts of the splits in ``counts`` (split -> number of images) below ``root``, split by split."""
    annotations = root / "annotations"
    panoptic_zip = Zip(
        root / "panoptic_annotations_trainval2017.zip", "annotations/panoptic_annotations_trainval2017.zip"
    )
    instances_zip = Zip(root / "annotations_trainval2017.zip", "annotations/annotations_trainval2017.zip")
    parts: list[Part] = []
    for split, count in counts.items():
        name = f"panoptic_{split}"
        pngs = Zip(annotations / f"{name}.zip", within=panoptic_zip)
        maps = UnpackedFolder(annotations / name, pngs, ".png", count, root / name)
        parts.append(JsonFile(annotations / f"{name}.json", panoptic_zip, "segments_info", count))
        parts.append(maps if unzip_pngs else ZippedFolder(maps))
        if instances:
            parts.append(JsonFile(annotations / f"instances_{split}.json", instances_zip))
        parts.append(UnpackedFolder(root / split, Zip(root / f"{split}.zip", f"zips/{split}.zip"), ".jpg", count))
    return parts


def count_files(folder: Path, suffix: str) -> int:
    """The number of files in a folder that end in ``suffix``, without hidden ones; 0 if there is no folder."""
    if not folder.is_dir():
        return 0
    return sum(path.name.endswith(suffix) and not path.name.startswith(".") for path in folder.iterdir())


def count_and_last_byte(path: Path, key: bytes) -> tuple[int, bytes]:
    """Count the occurrences of ``key`` in a file, and return its last byte that is not white space.

    On half a gigabyte of JSON this is much faster than parsing, and needs little memory.
    """
    found, tail, end = 0, b"", b""
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            found += (tail + chunk).count(key)
            tail = (tail + chunk)[1 - len(key) :]
            end = chunk.rstrip()[-1:] or end
    return found, end
