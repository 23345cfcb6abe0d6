"""Download COCO for the panoptic task: find out which parts are missing, then fetch, check and unpack them.

A part is complete if its files are (all pictures of a folder, all annotations of a JSON), whether this program or the
user put them there; no other record is kept. An incomplete folder is completed. Users report one with 52,751 PNGs, as
some tools unpack ``panoptic_train2017``: it has 118,287, and a zip without ZIP64 states their number modulo 2**16.
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
from panoptic_blend.download.transfer import ByteProgress, RetryPolicy, download, probe, require_digest, size_of
from panoptic_blend.download.unpacking import BrokenArchiveError, open_archive, unpack_file
from panoptic_blend.download.web import require_http
from panoptic_blend.files import free_space, locked, read_bytes, require_space
from panoptic_blend.structures import PanopticBlendError, Progress

HOST = "http://images.cocodataset.org"
SPLITS = {"val2017": 5_000, "train2017": 118_287}
"""Number of images of each split; the small one comes first, so that it can be used during the other download."""


@dataclass(frozen=True)
class DownloadRequest:
    """The parts of COCO to download into the folder ``root``, and the server to download them from.

    ``checksums`` is a file with a line ``SHA-256  name`` for each archive, as sha256sum writes it.

    Raises:
        PanopticBlendError: a split does not exist, or ``mirror`` is not an HTTP address.
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
                raise PanopticBlendError(f"split {split!r}: not in COCO panoptic; choose {' or '.join(SPLITS)}")
        require_http(self.mirror)

    def parts(self) -> list[Part]:
        """All requested parts, complete or not."""
        counts = {split: count for split, count in SPLITS.items() if split in self.splits}
        return coco_parts(self.root, counts, self.instances, self.unzip_pngs)

    def url(self, archive: Zip) -> str:
        """The URL of an archive on the server."""
        return f"{self.mirror.rstrip('/')}/{archive.address}"


@dataclass(frozen=True)
class Feedback:
    """Callbacks for progress and messages: ``progress`` counts bytes, ``say`` gets lines of text."""

    progress: ByteProgress = lambda step, done, total: None
    say: Callable[[str], None] = lambda text: None

    def progress_of(self, step: str) -> Progress:
        """The progress callback of one step."""
        return lambda done, total: self.progress(step, done, total)


@dataclass(frozen=True)
class Plan:
    """The complete and the missing parts of a request, and the server's files for the archives to be fetched."""

    request: DownloadRequest
    complete: list[Part]
    missing: list[Part]
    remote_files: dict[Zip, RemoteFile] = field(default_factory=dict)

    def bytes_left(self, archive: Zip) -> int | None:
        """Bytes of an archive that are not downloaded yet, None if the server does not state its size."""
        length = self.remote_files[archive].length
        return None if length is None else max(0, length - size_of(archive.partial))

    def required_space(self) -> int:
        """Lower bound of the free bytes needed: pictures unpack to the size of their archives, annotations to more."""
        used = peak = 0
        for archive, remote in self.remote_files.items():
            used += 2 * (remote.length or 0) - min(remote.length or 0, size_of(archive.partial))
            peak = max(peak, used)
            used -= 0 if self.request.keep_zips else remote.length or 0
        return peak

    def lines(self) -> Iterator[str]:
        """The plan as lines of text."""
        yield from (f"complete: {part}" for part in self.complete)
        for archive in self.remote_files:
            left, length = self.bytes_left(archive), self.remote_files[archive].length
            size = "size unknown" if left is None or length is None else decimal(length)
            rest = f", {decimal(left)} left" if left is not None and left != length else ""
            yield f"to fetch: {self.request.url(archive)} ({size}{rest}) as {archive.path}"
        yield from (f"to unpack: {part}" for part in self.missing)
        needed = f"; at least {decimal(self.required_space())} are needed" if self.remote_files else ""
        yield f"free at {self.request.root}: {decimal(free_space(self.request.root))}{needed}"


def plan(request: DownloadRequest, retries: RetryPolicy | None = None) -> Plan:
    """Find the missing parts and ask the server for the size of their archives; changes nothing.

    Raises:
        PanopticBlendError: the server cannot be reached, or lacks an archive.
    """
    complete: list[Part] = []
    missing: list[Part] = []
    for part in request.parts():
        (complete if part.is_complete() else missing).append(part)
    archives = dict.fromkeys(archive for part in missing for archive in part.archive.to_fetch())
    remote_files = {archive: probe(request.url(archive), retries or RetryPolicy()) for archive in archives}
    return Plan(request, complete, missing, remote_files)


def prepare(request: DownloadRequest, feedback: Feedback | None = None, retries: RetryPolicy | None = None) -> None:
    """Fetch, check and unpack the missing parts; after an interruption, the next call continues where this one stopped.

    Raises:
        PanopticBlendError: an archive cannot be fetched, has the wrong content, or does not fit on the disk.
    """
    feedback, retries = feedback or Feedback(), retries or RetryPolicy()
    digests = _read_checksums(request.checksums) if request.checksums else None
    request.root.mkdir(parents=True, exist_ok=True)
    with locked(request.root), _full_disk_reported(request.root):
        todo = plan(request, retries)
        require_space(request.root, todo.required_space(), "COCO")
        for part in todo.complete:
            feedback.say(f"complete: {part}")
        for number, part in enumerate(todo.missing):
            _fetch_archive(part.archive, request, digests, feedback, retries)
            with _deleted_if_broken(part.archive):
                part.unpack(feedback.progress_of(f"unpacking {part.name}"))
            feedback.say(f"ready: {part}")
            if not request.keep_zips:
                _delete(_unneeded(todo.missing[: number + 1], request, todo.missing[number + 1 :]))
        unneeded = _unneeded(request.parts(), request, [])
        if not request.keep_zips:
            _delete(unneeded)
        elif unneeded:
            feedback.say(f"zips kept: {decimal(sum(map(size_of, unneeded)))}; --delete-zips removes them")


def _fetch_archive(
    archive: Zip, request: DownloadRequest, digests: dict[str, str] | None, feedback: Feedback, retries: RetryPolicy
) -> None:
    """Bring an archive to the disk unless it is there: from the server, or out of the archive that contains it."""
    if archive.within:
        if not archive.path.exists():
            _fetch_archive(archive.within, request, digests, feedback, retries)
            with _deleted_if_broken(archive.within):
                progress = feedback.progress_of(f"unpacking {archive.path.name}")
                unpack_file(archive.within.path, archive.member, archive.path, progress)
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
            retries=retries,
            progress=feedback.progress,
            say=feedback.say,
        )
    elif sha256 is not None:
        require_digest(archive.path, "sha256", sha256, feedback.progress)


def _require_zip(path: Path) -> None:
    with open_archive(path):
        pass


@contextmanager
def _deleted_if_broken(archive: Zip) -> Iterator[None]:
    """Delete an archive that proves to be broken, so that the next run fetches it again."""
    try:
        yield
    except BrokenArchiveError:
        archive.path.unlink(missing_ok=True)
        raise


def _unneeded(done: list[Part], request: DownloadRequest, left: list[Part]) -> list[Path]:
    """The archives on disk of the parts ``done``, except those that are requested or that the parts ``left`` need."""
    kept = {part.archive for part in request.parts() if part.is_zip}
    kept |= {archive for part in left for archive in part.archive.chain()}
    unneeded = {archive for part in done for archive in part.archive.chain()} - kept
    return [archive.path for archive in unneeded if archive.path.exists()]


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
def _full_disk_reported(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise PanopticBlendError(
            f"{root}: the disk is full; free space and run the command again to continue"
        ) from None
