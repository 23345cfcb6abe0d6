"""Keep what was made of a user's files in a folder, and use it again while the files are the same."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from hashlib import blake2b
from pathlib import Path
from typing import Any

from panoptic_blend.files import filling, locked
from panoptic_blend.structures import PanopticBlendError

_RECORD = "made_of.json"


def kept(folder: Path, key: str, make: Callable[[Path], Any]) -> Any:
    """The result of ``make``, which fills a folder that becomes ``folder``; the kept one if it was made for ``key``.

    The result must be a JSON value. A folder of another key is replaced; one that was not made here is an error.
    """
    with locked(folder.with_name(f".{folder.name}.lock"), "--output"):
        record = folder / _RECORD
        try:
            found = json.loads(record.read_bytes())
            if found["key"] == key:
                return found["result"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):  # not made yet, or damaged, so made anew
            pass
        if folder.exists() and not record.exists():
            raise PanopticBlendError(f"{folder}: was not made by fit; move it away or choose another --output")
        with filling(folder, overwrite=True) as temporary:
            result = make(temporary)
            (temporary / _RECORD).write_text(json.dumps({"key": key, "result": result}), encoding="utf-8")
    return result


def digest_of(paths: Iterable[Path], *settings: object) -> str:
    """A digest of settings, and of the paths, sizes and modification times of files."""
    digest = blake2b(repr(settings).encode(), digest_size=16)
    for path in paths:
        status = path.stat()
        digest.update(f"{path}\0{status.st_size} {status.st_mtime_ns}\0".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()
