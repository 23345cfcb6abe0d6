"""Parse JSON files; errors name the file."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from panoptic_blend.files import read_bytes
from panoptic_blend.structures import PanopticBlendError

_LIST_BYTES, _OBJECT_BYTES = 64, 192
"""Memory of a list and an object of JSON in Python, with the reference to it, without its items."""
_JSON_EXPANSION = 12
"""The largest plausible ratio of this memory to the size of a file; lists of ``[x,y]`` reach 11, COCO about 4."""
_JSON_MEMORY = 2**29
"""The memory for lists and objects that is not questioned."""


def read_json(path: Path, object_hook: Callable[[dict[str, Any]], Any] | None = None) -> Any:
    """Parse a JSON file; errors name it and the position. ``object_hook`` is as in ``json.loads``."""
    data = read_bytes(path)
    lists, objects = data.count(b"["), data.count(b"{")
    if lists * _LIST_BYTES + objects * _OBJECT_BYTES > max(_JSON_EXPANSION * len(data), _JSON_MEMORY):
        raise PanopticBlendError(
            f"{path}: {lists:,} lists and {objects:,} objects in {decimal(len(data))}, which hold next to nothing; "
            "is this the right file?"
        )
    try:
        return json.loads(data, object_hook=object_hook)
    except (ValueError, RecursionError) as error:
        if data[:2] in (b"\x1f\x8b", b"PK"):
            raise PanopticBlendError(f"{path}: is compressed, by gzip or zip; unpack it") from None
        raise PanopticBlendError(f"{path}: not valid JSON ({error}); is the file complete?") from None
