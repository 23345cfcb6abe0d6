"""Files of results: a line of JSON for each, where a later one replaces an earlier one of its key."""

from __future__ import annotations

import json
import platform
import re
from collections.abc import Callable, Hashable
from dataclasses import asdict
from pathlib import Path
from typing import Any, ClassVar, Protocol, TypeVar

import torch

from panoptic_blend.files import locked
from panoptic_blend.structures import PanopticBlendError


class Line(Protocol):
    """A dataclass that is written as a line."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def key(self) -> Hashable:
        """What the line is of."""


L = TypeVar("L", bound=Line)


def read_lines(path: Path, made: Callable[[dict[str, Any]], L]) -> dict[Any, L]:
    """The results in a file by their keys, none if there is no file; ``made`` makes one of the fields of a line.

    Raises:
        PanopticBlendError: a line is no result.
    """
    found = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines() if path.exists() else (), start=1):
        try:
            result = made(json.loads(line))
        except (ValueError, TypeError, KeyError, AttributeError):
            raise PanopticBlendError(f"{path}: line {number} is no result; remove the line") from None
        found[result.key] = result
    return found


def add_line(path: Path, result: Line) -> None:
    """Append a result to a file."""
    with locked(path.parent, "--results", patience=60), path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(asdict(result), allow_nan=False) + "\n")


def machine_name() -> str:
    """The name of the GPU, or of the processor."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    cpuinfo = Path("/proc/cpuinfo")
    named = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
    return named[1] if named else platform.processor() or platform.machine()
