"""What files are called where several have one name."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def telling_names(paths: Sequence[Path]) -> list[str]:
    """The shortest trailing part of each path, of as many folders for all, that tells different ones apart.

    `a/val/x.json` and `b/val/x.json` are those, `val/a.json` and `val/b.json` are `a.json` and `b.json`.
    """
    parts = [path.absolute().parts for path in paths]
    depth = 1
    while len({part[-depth:] for part in parts}) < len(set(parts)):
        depth += 1
    return [Path(*part[-depth:]).as_posix() for part in parts]
