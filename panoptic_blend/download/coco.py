"""COCO for the panoptic task on disk: what it needs, what is there, and how the rest gets there.

What is finished shows in the files themselves (all pictures of a folder, all annotations of a JSON), whoever put them
there; no record is kept beside them. Users report 52,751 PNGs where ``panoptic_train2017`` has 118,287: that modulo
2**16, all that the end of an old zip can state. Such a folder is completed.
"""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.filesize import decimal

from panoptic_blend.download.coco_parts import Part, Zip, coco_parts
from panoptic_blend.download.remote_file import RemoteFile
from panoptic_blend.download.transfer import ByteProgress, Patience, download, probe, require_digest, size_of
from panoptic_blend.download.unpacking import BrokenArchiveError, opened, unpack_file
from panoptic_blend.download.web import require_http
from panoptic_blend.files import free_space, locked, read_bytes, require_space
from panoptic_blend.structures import PanopticBlendError, Progress

HOST = "http://images.cocodataset.org"
SPLITS = {"val2017": 5_000, "train2017": 118_287}
"""Pictures of each split, and annotations; the small one comes first, so that it can be used while the other comes."""


@dataclass(frozen=True)
class DownloadRequest:
    """What somebody wants of COCO, and where: ``root`` is the folder of the data set.

    ``checksums`` is a file of lines ``SHA-256  name`` for the archives, as sha256sum writes them.

    Raises:
        PanopticBlendError: no such split, or no address of the web.
    """

    root: Path
    splits: tuple[str, ...] = tuple(SPLITS)
    instances: bool = False
    unzip_pngs: bool = True
    keep_zips: bool = True
    mirror: str = HOST
    checksums: Path | None = None

    def __post_init__(self) -> None:
        for split in self.splits:
            if split not in SPLITS:
                raise PanopticBlendError(f"split {split!r}: COCO panoptic has none; choose {' or '.join(SPLITS)}")
        require_http(self.mirror)

    def parts(self) -> list[Part]:
        """All that is wanted, whether it is there or not."""
        counts = {split: count for split, count in SPLITS.items() if split in self.splits}
        return coco_parts(self.root, counts, self.instances, self.unzip_pngs)

    def url(self, archive: Zip) -> str:
        """Where an archive of the server is."""
        return f"{self.mirror.rstrip('/')}/{archive.address}"


@dataclass(frozen=True)
class Feedback:
    """How a command tells of itself: how many bytes are done of what, and lines of text."""

    progress: ByteProgress = lambda what, done, total: None
    say: Callable[[str], None] = lambda text: None

    def of(self, what: str) -> Progress:
        """The progress of one thing."""
        return lambda done, total: self.progress(what, done, total)


@dataclass(frozen=True)
class Plan:
    """What is there of a request, what is missing, and what the server has of the archives to be fetched."""

    request: DownloadRequest
    there: list[Part]
    missing: list[Part]
    remote_files: dict[Zip, RemoteFile] = field(default_factory=dict)

    def to_fetch(self, archive: Zip) -> int | None:
        """Bytes of an archive that are still to come."""
        length = self.remote_files[archive].length
        return None if length is None else max(0, length - size_of(archive.part))

    def space(self) -> int:
        """Bytes that are needed at least: pictures take as much as their archives, annotations a little more."""
        used = peak = 0
        for archive, remote in self.remote_files.items():
            used += 2 * (remote.length or 0) - min(remote.length or 0, size_of(archive.part))
            peak = max(peak, used)
            used -= 0 if self.request.keep_zips else remote.length or 0
        return peak

    def lines(self) -> Iterator[str]:
        """The plan in words."""
        yield from (f"there: {part}" for part in self.there)
        for archive in self.remote_files:
            left, length = self.to_fetch(archive), self.remote_files[archive].length
            size = "size unknown" if left is None or length is None else decimal(length)
            rest = f", {decimal(left)} of it to come" if left is not None and left != length else ""
            yield f"to fetch: {self.request.url(archive)} ({size}{rest}) as {archive.path}"
        yield from (f"to unpack: {part}" for part in self.missing)
        needed = f"; at least {decimal(self.space())} are needed" if self.remote_files else ""
        yield f"free at {self.request.root}: {decimal(free_space(self.request.root))}{needed}"


def plan(request: DownloadRequest, patience: Patience | None = None) -> Plan:
    """Look what is there and what the server has of the rest; changes nothing.

    Raises:
        PanopticBlendError: the server cannot be reached, or has not what is missing.
    """
    there: list[Part] = []
    missing: list[Part] = []
    for part in request.parts():
        (there if part.is_there() else missing).append(part)
    archives = dict.fromkeys(archive for part in missing for archive in part.source.to_fetch())
    return Plan(request, there, missing, {a: probe(request.url(a), patience or Patience()) for a in archives})


def prepare(request: DownloadRequest, feedback: Feedback | None = None, patience: Patience | None = None) -> None:
    """Fetch, check and unpack what is missing. A stop at any moment loses next to nothing; run it again to go on.

    Raises:
        PanopticBlendError: something cannot be fetched, is not what it should be, or does not fit on the disk.
    """
    feedback, patience = feedback or Feedback(), patience or Patience()
    digests = _read_checksums(request.checksums) if request.checksums else None
    request.root.mkdir(parents=True, exist_ok=True)
    with locked(request.root, "wait for that one"), _full_disk_named(request.root):
        todo = plan(request, patience)
        require_space(request.root, todo.space(), "COCO")
        for part in todo.there:
            feedback.say(f"there: {part}")
        for number, part in enumerate(todo.missing):
            _obtain(part.source, request, digests, feedback, patience)
            with _discarding(part.source):
                part.unpack(feedback.of(f"unpacking {part.name}"))
            feedback.say(f"ready: {part}")
            if not request.keep_zips:
                _delete(_spare(todo.missing[: number + 1], request, todo.missing[number + 1 :]))
        spare = _spare(request.parts(), request, [])
        if not request.keep_zips:
            _delete(spare)
        elif spare:
            feedback.say(f"zips kept: {decimal(sum(map(size_of, spare)))}; --delete-zips removes them")


def _obtain(
    archive: Zip, request: DownloadRequest, digests: dict[str, str] | None, feedback: Feedback, patience: Patience
) -> None:
    """Put an archive on the disk: from the server, or out of the archive it lies in."""
    if archive.within:
        if not archive.path.exists():
            _obtain(archive.within, request, digests, feedback, patience)
            with _discarding(archive.within):
                telling = feedback.of(f"unpacking {archive.path.name}")
                unpack_file(archive.within.path, archive.member, archive.path, telling)
        return
    if digests is not None and archive.path.name not in digests:
        raise PanopticBlendError(f"{request.checksums}: has no line for {archive.path.name}; add it")
    sha256 = digests[archive.path.name] if digests is not None else None
    if not archive.path.exists():
        feedback.say(f"fetching {request.url(archive)}")
        download(
            request.url(archive),
            archive.path,
            sha256=sha256,
            check=_require_zip,
            patience=patience,
            progress=feedback.progress,
            say=feedback.say,
        )
    elif sha256 is not None:
        require_digest(archive.path, "sha256", sha256, feedback.progress)


def _require_zip(path: Path) -> None:
    with opened(path):
        pass


@contextmanager
def _discarding(archive: Zip) -> Iterator[None]:
    """Remove an archive that turns out broken, so that the next run fetches it again."""
    try:
        yield
    except BrokenArchiveError:
        archive.path.unlink(missing_ok=True)
        raise


def _spare(done: list[Part], request: DownloadRequest, left: list[Part]) -> list[Path]:
    """The archives on disk of what is ``done``, except those that are wanted themselves or needed for the rest."""
    kept = {part.source for part in request.parts() if part.is_zip} | {a for part in left for a in part.source.chain()}
    spare = {archive for part in done for archive in part.source.chain()} - kept
    return [archive.path for archive in spare if archive.path.exists()]


def _delete(paths: list[Path]) -> None:
    for path in paths:
        path.unlink()


def _read_checksums(path: Path) -> dict[str, str]:
    result = {}
    for number, line in enumerate(read_bytes(path).decode(errors="replace").splitlines(), start=1):
        match = re.fullmatch(r"([0-9a-fA-F]{64}) [ *](?:.*/)?([^/]+)", line)
        if line and not match:
            raise PanopticBlendError(f"{path}: line {number} is not `SHA-256  name`; write it with sha256sum")
        if match:
            result[match[2]] = match[1].lower()
    return result


@contextmanager
def _full_disk_named(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise PanopticBlendError(f"{root}: the disk is full; make room and run again, it goes on from here") from None
