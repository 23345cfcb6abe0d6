"""Fetch known weights once into a cache, where they are checked each time they are used.

``<cache>/weights/NAME/`` holds the publisher's file and, as sha256sum writes it, its SHA-256 when it was fetched. The
environment variables `CACHE`, `MIRROR` and `OFFLINE` say where the cache is, where files come from, and that none may.
"""

from __future__ import annotations

import errno
import hashlib
import math
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from platformdirs import user_cache_path

from panoptic_blend.download.known_weights import KnownWeights, closest_name, known_weights
from panoptic_blend.download.transfer import RetryPolicy, download
from panoptic_blend.download.web import require_http
from panoptic_blend.files import locked, replacing
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.terminal import bytes_line

CACHE = "PANOPTIC_BLEND_CACHE"
"""Environment variable with the cache folder; by default the platform's for this user."""
MIRROR = "PANOPTIC_BLEND_WEIGHTS_URL"
"""Environment variable with the address of a folder that has all files under their publishers' names."""
OFFLINE = "PANOPTIC_BLEND_OFFLINE"
"""Environment variable that forbids downloads if it is not empty; ``--offline`` sets it."""

_RETRIES = RetryPolicy(pauses=(1, 2, 5))


def cache_folder() -> Path:
    """The folder of everything that is fetched once."""
    given = os.environ.get(CACHE)
    return Path(given).expanduser() if given else user_cache_path("panoptic_blend", appauthor=False)


def is_offline() -> bool:
    """Whether nothing may be downloaded."""
    return bool(os.environ.get(OFFLINE))


def cached_path(known: KnownWeights) -> Path:
    """The path of known weights in the cache, whether they are there or not."""
    return cache_folder() / "weights" / known.name / known.file


def fetch_weights(known: KnownWeights) -> Path:
    """The file of known weights, which is downloaded unless it is in the cache.

    Of several processes, one downloads and the others wait for it. What happens is told on standard error.

    Raises:
        PanopticBlendError: the license is not accepted, the file cannot be fetched or is another one, or it is not in
            the cache and nothing may be downloaded.
    """
    require_accepted(known)
    path = cached_path(known)
    with _refusals_told(path.parent), locked(path.parent, patience=math.inf):
        if not _is_in_cache(known, path):
            if is_offline():
                raise PanopticBlendError(f"{known.name}: not in {path.parent}; fetch it once without --offline")
            _download(known, path)
    return path


def accept_license(name: str) -> None:
    """Note that this user accepts the license of known weights; the note lies in the cache folder.

    Raises:
        PanopticBlendError: there are no weights of this name.
    """
    known = named(name)
    with replacing(_note(known)) as temporary:
        temporary.write_text(f"{known.license}\n", encoding="utf-8")


def require_accepted(known: KnownWeights) -> None:
    """Raise PanopticBlendError unless the license allows commercial use or was accepted."""
    if not known.license.is_commercial and not _note(known).is_file():
        command = f"panoptic-blend weights fetch {known.name} --accept-license {known.name}"
        raise PanopticBlendError(f"{known.name}: {known.license}; if you accept this, run once: {command}")


def named(name: str) -> KnownWeights:
    """The known weights of a name; PanopticBlendError with the closest name if there are none."""
    if name not in known_weights():
        close = closest_name(name)
        hint = f"did you mean {close}?" if close else "`panoptic-blend weights list` shows the names"
        raise PanopticBlendError(f"{name}: no weights of this name are known; {hint}")
    return known_weights()[name]


def _note(known: KnownWeights) -> Path:
    return cache_folder() / "accepted" / f"{known.license.id}.txt"


def _download(known: KnownWeights, path: Path) -> None:
    mirror = os.environ.get(MIRROR)
    url = f"{mirror.rstrip('/')}/{known.file}" if mirror else known.address
    require_http(url)
    say(f"fetching {known.name} from {url}")
    if known.license.terms:
        say(f"{known.name}: {known.license}")
    try:
        with bytes_line() as progress:
            download(
                url,
                path,
                sha256=None,
                check=lambda part: _check(known, part, path),
                retries=_RETRIES,
                progress=progress,
                say=say,
            )
    except PanopticBlendError as error:
        raise PanopticBlendError(f"{error}, or bring the file here in another way, as {path}") from None


@contextmanager
def _refusals_told(folder: Path) -> Iterator[None]:
    """Raise PanopticBlendError where the disk is full or the folder may not be written."""
    try:
        yield
    except OSError as error:
        if error.errno not in {errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS}:
            raise
        raise PanopticBlendError(
            f"{folder}: cannot be written ({error.strerror}); make room there, or set {CACHE} to another folder"
        ) from None


def say(text: str) -> None:
    """Tell the user what happens, beside the output of the command."""
    print(text, file=sys.stderr, flush=True)


def _is_in_cache(known: KnownWeights, path: Path) -> bool:
    """Whether the file is in the cache, as it was fetched; one that a user brought there is checked likewise."""
    if not path.is_file():
        return False
    record = _record(path)
    if not record.is_file():
        _check(known, path, path)
        return True
    if _digest(path, "sha256") == record.read_text(encoding="utf-8", errors="replace").split(" ")[0]:
        return True
    if is_offline():
        raise PanopticBlendError(f"{path}: changed since it was fetched; fetch it again without --offline")
    say(f"{path}: changed since it was fetched, so it is fetched again")
    return False


def _check(known: KnownWeights, file: Path, path: Path) -> None:
    """Compare a file with what is known of its checksums, and keep its SHA-256 beside ``path``, its place."""
    sha256 = _digest(file, "sha256")
    digests = {"SHA-256": (sha256, known.sha256), "MD5": (_digest(file, "md5") if known.md5 else "", known.md5)}
    for kind, (found, expected) in digests.items():
        if not found.startswith(expected):
            remedy = f"remove {path} and fetch it again" if file == path else "fetch it again"
            raise PanopticBlendError(
                f"{known.name}: {path.name} has the {kind} {found}, and {expected} is expected at its start; "
                f"it is another file or a damaged one, {remedy}"
            )
    with suppress(PermissionError), replacing(_record(path)) as temporary:  # a shared cache may be read-only
        temporary.write_text(f"{sha256}  {path.name}\n", encoding="utf-8")


def _record(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")


def _digest(path: Path, kind: str) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.new(kind, usedforsecurity=False)).hexdigest()
