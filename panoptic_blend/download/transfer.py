"""One file over HTTP: resumed where it stopped, and checked before it counts as there.

``train2017.zip`` is gathered in ``train2017.zip.part``; what the server said of it stands beside it, in ``.part.json``,
so that a later run can ask for the rest of that very file (RFC 9110, Range and If-Range).
"""

from __future__ import annotations

import hashlib
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from email.message import Message
from http.client import HTTPException, HTTPResponse
from pathlib import Path

from panoptic_blend.download.remote_file import RemoteFile, validator_of
from panoptic_blend.download.web import NoHeadError, PassingError, RangeRefusedError, open_url
from panoptic_blend.files import require_space
from panoptic_blend.structures import PanopticBlendError

ByteProgress = Callable[[str, int, int | None], None]
"""Told what is done, the bytes done and their number, if known."""

_CHUNK = 1 << 17
_WORTHWHILE = 1 << 20
"""A try that brought this many new bytes is no failure in a row with the one before."""


@dataclass(frozen=True)
class Patience:
    """Seconds a silent server is waited for, and the pauses before each further try."""

    timeout: float = 60
    pauses: tuple[float, ...] = (1, 2, 5, 10, 30, 60)
    sleep: Callable[[float], None] = time.sleep


def probe(url: str, patience: Patience) -> RemoteFile:
    """Ask what the server has, without fetching it; it may not say.

    Raises:
        PanopticBlendError: it cannot be reached, or refuses.
    """

    def ask() -> RemoteFile:
        try:
            with open_url(url, patience.timeout, {}, "HEAD") as response:
                return RemoteFile.from_headers(response.headers)
        except NoHeadError:
            return RemoteFile(None, None, None)

    pauses = patience.pauses[:2]  # somebody without a network should not wait long to learn it
    return _persistently(ask, lambda: 0, url, Patience(patience.timeout, pauses, patience.sleep), lambda text: None)


def download(
    url: str,
    target: Path,
    *,
    sha256: str | None,
    check: Callable[[Path], None],
    patience: Patience,
    progress: ByteProgress,
    say: Callable[[str], None],
) -> None:
    """Fetch ``url`` as ``target``, going on with a partial download.

    Args:
        sha256: its checksum in hexadecimal digits. Without it the MD5 that the server states is checked, if any.
        check: raises PanopticBlendError for a complete file that is not what was wanted, which is then discarded.
        say: told of every pause before another try.

    Raises:
        PanopticBlendError: it cannot be fetched, does not fit on the disk, or is not what was wanted.
    """
    part = target.with_name(f"{target.name}.part")
    target.parent.mkdir(parents=True, exist_ok=True)
    remote = _persistently(
        lambda: _fetch(url, part, patience.timeout, progress), lambda: size_of(part), url, patience, say
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
    """Raise an error unless the file's ``kind`` (sha256, md5) checksum is ``expected``, in hexadecimal digits."""
    digest, done, total = hashlib.new(kind, usedforsecurity=False), 0, path.stat().st_size
    with path.open("rb") as file:
        while chunk := file.read(8 * _CHUNK):
            digest.update(chunk)
            done += len(chunk)
            progress(f"checking {path.name.removesuffix('.part')}", done, total)
    if digest.hexdigest() != expected.lower():
        what = f"{kind.upper()} is {digest.hexdigest()}, not {expected.lower()}"
        raise PanopticBlendError(f"{path}: {what}; it is not the file that was meant, fetch it again")


def size_of(path: Path) -> int:
    """Bytes of a file, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def _persistently(
    attempt: Callable[[], RemoteFile],
    gathered: Callable[[], int],
    url: str,
    patience: Patience,
    say: Callable[[str], None],
) -> RemoteFile:
    """Try until it works or as many tries in a row as there are pauses brought no more than was ever ``gathered``."""
    most, failures = gathered(), 0
    while True:
        try:
            return attempt()
        except PassingError as error:
            failures = 1 if gathered() >= most + _WORTHWHILE else failures + 1
            most = max(most, gathered())
            if failures > len(patience.pauses):
                remedy = f"run it again later, it goes on from byte {gathered()}" if gathered() else "try again later"
                raise PanopticBlendError(f"{url}: {error}, {failures} times in a row; {remedy}") from None
            pause = patience.pauses[failures - 1]
            say(f"{url.rpartition('/')[2]}: {error}; trying again in {pause:g} s")
            patience.sleep(pause)


def _fetch(url: str, part: Path, timeout: float, progress: ByteProgress) -> RemoteFile:
    """Bring ``part`` to its full length, from where it is; PassingError if another try may get further."""
    known = RemoteFile.read(_memory(part))
    have = size_of(part) if known else 0
    if known and have and have == known.length:
        return known
    headers = {"Range": f"bytes={have}-"} if known and 0 < have < (known.length or 0) else {}
    if headers and known and known.validator:
        headers["If-Range"] = known.validator
    try:
        with open_url(url, timeout, headers) as response:
            if response.status == 206 and known and headers:
                _require_continuation(response.headers, known, part, have)
                remote = known
            else:
                have, remote = 0, RemoteFile.from_headers(response.headers)
                _remember(part, remote)
            require_space(part.parent, (remote.length or 0) - have, part.name)
            _append(response, part, have, remote.length, progress)
    except RangeRefusedError:
        _discard(part)
        raise
    return remote


def _append(response: HTTPResponse, part: Path, have: int, length: int | None, progress: ByteProgress) -> None:
    """Write what comes to ``part`` from byte ``have`` on; PassingError if the connection ends before ``length``."""
    what = f"fetching {part.name.removesuffix('.part')}"
    with part.open("ab" if have else "wb") as file:
        progress(what, have, length)
        while chunk := _read(response):
            file.write(chunk)
            have += len(chunk)
            progress(what, have, length)
    if length is not None and have < length:
        raise PassingError(f"the connection ended at {have} of {length} bytes")
    if length is not None and have > length:
        _discard(part)
        raise PassingError(f"{have} bytes came where {length} were announced")


def _read(response: HTTPResponse) -> bytes:
    try:
        return response.read(_CHUNK)
    except (OSError, HTTPException) as error:
        reason = getattr(error, "strerror", None) or type(error).__name__
        raise PassingError(f"the connection broke ({reason})") from None


def _require_continuation(headers: Message, known: RemoteFile, part: Path, have: int) -> None:
    """Discard ``part`` unless the answer is the rest of that very file."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range", "").strip())
    start, total = match.groups() if match else ("", "")
    validator = validator_of(headers)
    is_same = total in {"*", str(known.length)} and validator in {None, known.validator}
    if start != str(have) or not is_same:
        _discard(part)
        raise PassingError("the file changed on the server, so it starts anew")


def _memory(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _remember(part: Path, remote: RemoteFile) -> None:
    part.unlink(missing_ok=True)  # never the bytes of one file beside the validator of another
    remote.write(_memory(part))


def _discard(part: Path) -> None:
    part.unlink(missing_ok=True)
    _memory(part).unlink(missing_ok=True)
