"""Download one file over HTTP: resumed after an interruption, and checked before it gets its final name.

``train2017.zip`` is first written as ``train2017.zip.part``. The server's description of the file is kept beside it, in
``train2017.zip.part.json``, so that a later run can ask for the rest of the same file (RFC 9110, Range and If-Range).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from panoptic_blend.download.remote_file import RemoteFile, validator_of
from panoptic_blend.download.web import HeadNotSupportedError, RangeRefusedError, TransientError, open_url
from panoptic_blend.files import name_in_errors, require_space
from panoptic_blend.structures import PanopticBlendError

ByteProgress = Callable[[str, int, int | None], None]
"""Called with the step, the bytes done, and the number of all bytes or None if unknown."""

_CHUNK = 1 << 17
_MIN_PROGRESS = 1 << 20
"""An attempt that brought this many new bytes ends a series of failures."""


@dataclass(frozen=True)
class RetryPolicy:
    """Seconds to wait for a response, and the seconds of pause before each further attempt."""

    timeout: float = 60
    pauses: tuple[float, ...] = (1, 2, 5, 10, 30, 60)
    sleep: Callable[[float], None] = time.sleep


def probe(url: str, retries: RetryPolicy) -> RemoteFile:
    """Ask the server to describe a file without sending it; all fields are None if it does not support that.

    Raises:
        PanopticBlendError: the server cannot be reached, or refuses the request.
    """

    def ask() -> RemoteFile:
        try:
            with open_url(url, retries.timeout, {}, "HEAD") as response:
                return RemoteFile.from_headers(response.headers)
        except HeadNotSupportedError:
            return RemoteFile(None, None, None)

    few = replace(retries, pauses=retries.pauses[:2])  # without a network, the error should come soon
    return _with_retries(ask, lambda: 0, url, few, lambda text: None)


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    check: Callable[[Path], None],
    retries: RetryPolicy,
    progress: ByteProgress,
    say: Callable[[str], None],
) -> None:
    """Download ``url`` to ``target``, continuing an unfinished download.

    Args:
        sha256: the checksum in hexadecimal digits; without it, the MD5 is checked if the server states one.
        check: raises PanopticBlendError if the complete file has the wrong content; the file is then deleted.
        say: called with a message before every pause.

    Raises:
        PanopticBlendError: the file cannot be fetched, does not fit on the disk, or fails a check.
    """
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    remote = _with_retries(
        lambda: _fetch(url, part, retries.timeout, progress), lambda: size_of(part), url, retries, say
    )
    try:
        if sha256 is not None:
            require_digest(part, "sha256", sha256, progress)
        elif remote.md5 is not None:
            require_digest(part, "md5", remote.md5, progress)
        check(part)
    except PanopticBlendError:
        _discard(part)
        raise
    with part.open("rb+") as file:
        os.fsync(file.fileno())
    part.replace(target)
    _discard(part)


def require_digest(path: Path, kind: str, expected: str, progress: ByteProgress) -> None:
    """Raise PanopticBlendError unless the checksum ``kind`` (sha256, md5) of a file is ``expected``, in hexadecimal."""
    digest, done, total = hashlib.new(kind, usedforsecurity=False), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(8 * _CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(f"checking {path.name.removesuffix('.part')}", done, total)
    if digest.hexdigest() != expected.lower():
        difference = f"{kind.upper()} is {digest.hexdigest()}, not {expected.lower()}"
        raise PanopticBlendError(f"{path}: {difference}; this is another file or a damaged one, fetch it again")


def size_of(path: Path) -> int:
    """The number of bytes of a file, 0 if it does not exist."""
    return path.stat().st_size if path.exists() else 0


def _with_retries(
    attempt: Callable[[], RemoteFile],
    received: Callable[[], int],
    url: str,
    retries: RetryPolicy,
    say: Callable[[str], None],
) -> RemoteFile:
    """Repeat an attempt until it succeeds, or until one more attempt in a row than there are pauses has failed.

    ``received`` returns the bytes on the disk; an attempt that adds enough of them starts the count of failures anew.
    """
    most, failures = received(), 0
    while True:
        try:
            return attempt()
        except TransientError as error:
            failures = 1 if received() >= most + _MIN_PROGRESS else failures + 1
            most = max(most, received())
            if failures > len(retries.pauses):
                resumed = f"run it again later to continue from byte {received()}"
                remedy = resumed if received() else "try again later"
                raise PanopticBlendError(f"{url}: {error}, {failures} times in a row; {remedy}") from None
            pause = retries.pauses[failures - 1]
            say(f"{url.rpartition('/')[2]}: {error}; trying again in {pause:g} s")
            retries.sleep(pause)


def _fetch(url: str, part: Path, timeout: float, progress: ByteProgress) -> RemoteFile:
    """Download the rest of ``part``; raise TransientError if another attempt may get further."""
    known = RemoteFile.read(_metadata_path(part))
    start = size_of(part) if known else 0
    if known and start and start == known.length:
        return known
    headers = {"Range": f"bytes={start}-"} if known and 0 < start < (known.length or 0) else {}
    if headers and known and known.validator:
        headers["If-Range"] = known.validator
    try:
        with open_url(url, timeout, headers) as response:
            if response.status == 206 and known and headers:
                _require_continuation(response.headers, known, part, start)
                remote = known
            else:
                start, remote = 0, RemoteFile.from_headers(response.headers)
                _start_anew(part, remote)
            require_space(part.parent, (remote.length or 0) - start, part.name)
            _append(response, part, start, remote.length, progress)
    except RangeRefusedError:
        _discard(part)
        raise
    return remote


def _append(response: HTTPResponse, part: Path, start: int, length: int | None, progress: ByteProgress) -> None:
    """Write a response to ``part`` from byte ``start`` on; raise TransientError unless it ends at ``length``."""
    step, done = f"fetching {part.name.removesuffix('.part')}", start
    with name_in_errors(part), part.open("ab" if start else "wb") as file:
        progress(step, done, length)
        while chunk := _read(response):
            file.write(chunk)
            done += len(chunk)
            progress(step, done, length)
    if length is not None and done < length:
        raise TransientError(f"the connection ended at {done} of {length} bytes")
    if length is not None and done > length:
        _discard(part)
        raise TransientError(f"the server sent {done} bytes, but announced {length}")


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise TransientError(f"the connection broke ({reason})") from None


def _require_continuation(headers: Message, known: RemoteFile, part: Path, start: int) -> None:
    """Delete ``part`` and raise TransientError unless a response continues the same file at byte ``start``."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
    first_byte, total = match.groups() if match else ("", "")
    validator = validator_of(headers)
    is_same = total in {"*", str(known.length)} and validator in {None, known.validator}
    if first_byte != str(start) or not is_same:
        _discard(part)
        raise TransientError("the file changed on the server, so the download starts again")


def _metadata_path(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _start_anew(part: Path, remote: RemoteFile) -> None:
    part.unlink(missing_ok=True)  # first, so that a stop here cannot leave old bytes with the new validator
    remote.write(_metadata_path(part))


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _metadata_path(part).unlink(missing_ok=True)
