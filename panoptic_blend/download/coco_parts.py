"""The parts of COCO panoptic 2018 on disk: which archive each comes from, and when it is complete."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from panoptic_blend.download.unpacking import require_members, unpack_file, unpack_folder
from panoptic_blend.structures import PanopticBlendError, Progress


@dataclass(frozen=True)
class Zip:
    """An archive on the disk, and where it comes from: ``address`` on the server, or the archive it lies ``within``."""

    path: Path
    address: str = ""
    within: Zip | None = None

    @property
    def part(self) -> Path:
        """Its partial download."""
        return self.path.with_name(f"{self.path.name}.part")

    @property
    def member(self) -> str:
        """Its name in the archive it lies within."""
        return f"annotations/{self.path.name}"

    def chain(self) -> Iterator[Zip]:
        """Itself, and what it lies within."""
        yield self
        if self.within:
            yield from self.within.chain()

    def to_fetch(self) -> Iterator[Zip]:
        """The archive of the server that is needed to have this one, if any."""
        if not self.path.exists():
            yield from self.within.to_fetch() if self.within else (self,)


class Part(Protocol):
    """Something that a data set needs, and how it comes out of its archive; as text, where it is and what it holds."""

    @property
    def source(self) -> Zip: ...

    @property
    def name(self) -> str: ...

    @property
    def is_zip(self) -> bool:
        """Whether the archive itself is what is wanted."""

    def is_there(self) -> bool:
        """Whether it lies on the disk, complete."""

    def unpack(self, progress: Progress) -> None:
        """Make it from its archive, which lies on the disk."""


@dataclass(frozen=True)
class Folder:
    """``count`` files ``target/*suffix``; they may lie in ``elsewhere`` as well."""

    target: Path
    source: Zip
    suffix: str
    count: int
    elsewhere: Path | None = None
    is_zip = False

    def __str__(self) -> str:
        return f"{self.target} ({self.count} {self.suffix[1:]})"

    @property
    def name(self) -> str:
        return self.target.name

    def is_there(self) -> bool:
        return any(count_files(folder, self.suffix) >= self.count for folder in (self.target, self.elsewhere) if folder)

    def unpack(self, progress: Progress) -> None:
        unpack_folder(self.source.path, self.suffix, self.count, self.target, progress)


@dataclass(frozen=True)
class ZippedFolder:
    """The archive of a folder, which may be unpacked too."""

    folder: Folder
    is_zip = True

    def __str__(self) -> str:
        return f"{self.source.path} ({self.folder.count} {self.folder.suffix[1:]})"

    @property
    def source(self) -> Zip:
        return self.folder.source

    @property
    def name(self) -> str:
        return self.source.path.name

    def is_there(self) -> bool:
        if self.folder.is_there():
            return True
        try:
            self._require()
        except (PanopticBlendError, FileNotFoundError):
            return False
        return True

    def unpack(self, progress: Progress) -> None:
        self._require()

    def _require(self) -> None:
        require_members(self.source.path, self.folder.name, self.folder.suffix, self.folder.count)


@dataclass(frozen=True)
class JsonFile:
    """An annotation file; with ``count`` records that have the key ``counted``, if that is known."""

    target: Path
    source: Zip
    counted: str = ""
    count: int = 0
    is_zip = False

    def __str__(self) -> str:
        return f"{self.target}" + (f" ({self.count} annotations)" if self.count else "")

    @property
    def name(self) -> str:
        return self.target.name

    def is_there(self) -> bool:
        return self.target.is_file() and self._fault() is None

    def unpack(self, progress: Progress) -> None:
        unpack_file(self.source.path, f"annotations/{self.target.name}", self.target, progress)
        fault = self._fault()
        if fault:
            raise PanopticBlendError(f"{self.target}: {fault}; get the official archive")

    def _fault(self) -> str | None:
        found, end = survey(self.target, f'"{self.counted}"'.encode())
        if self.counted and found != self.count:
            return f"has {found} annotations where COCO has {self.count}"
        return None if end == b"}" else "does not end as JSON does"


def coco_parts(root: Path, counts: Mapping[str, int], instances: bool, unzip_pngs: bool) -> list[Part]:
    """What the splits of ``counts`` (their numbers of images) need, split by split, in ``root``."""
    annotations = root / "annotations"
    panoptic = Zip(root / "panoptic_annotations_trainval2017.zip", "annotations/panoptic_annotations_trainval2017.zip")
    things = Zip(root / "annotations_trainval2017.zip", "annotations/annotations_trainval2017.zip")
    parts: list[Part] = []
    for split, count in counts.items():
        name = f"panoptic_{split}"
        pngs = Zip(annotations / f"{name}.zip", within=panoptic)
        maps = Folder(annotations / name, pngs, ".png", count, root / name)
        parts.append(JsonFile(annotations / f"{name}.json", panoptic, "segments_info", count))
        parts.append(maps if unzip_pngs else ZippedFolder(maps))
        if instances:
            parts.append(JsonFile(annotations / f"instances_{split}.json", things))
        parts.append(Folder(root / split, Zip(root / f"{split}.zip", f"zips/{split}.zip"), ".jpg", count))
    return parts


def count_files(folder: Path, suffix: str) -> int:
    """Files of a folder by suffix, without hidden ones."""
    if not folder.is_dir():
        return 0
    return sum(path.name.endswith(suffix) and not path.name.startswith(".") for path in folder.iterdir())


def survey(path: Path, key: bytes) -> tuple[int, bytes]:
    """How often ``key`` occurs in a file, and its last byte that is no white space.

    Half a gigabyte of JSON is counted in a moment this way; parsed, it fills memory for half a minute.
    """
    found, tail, end = 0, b"", b""
    with path.open("rb") as file:
        while chunk := file.read(1 << 22):
            found += (tail + chunk).count(key)
            tail = (tail + chunk)[1 - len(key) :]
            end = chunk.rstrip()[-1:] or end
    return found, end
