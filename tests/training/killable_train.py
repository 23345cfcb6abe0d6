"""Runs training in a separate process, which can be killed while it writes a given file."""

from __future__ import annotations

import os
import resource
import signal
import sys
from pathlib import Path
from unittest.mock import patch

from panoptic_blend.cli.running import guarded
from panoptic_blend.config.experiment import load_config
from panoptic_blend.training import loop
from panoptic_blend.training.curves import draw_curves


def run(overrides: list[str], output: Path, *, die: tuple[str, str] | None = None, limit: int = 0) -> None:
    """Train with ``--resume auto``; without a drawing, which takes as long as the training, unless to die at it.

    Args:
        die: start of a file name, and the moment at which to die by SIGKILL: ``writing``, when half of the file is
            written, or ``before`` or ``after`` the temporary file replaces the old one.
        limit: maximum size of a file in bytes, to imitate a full disk; 0 for no limit.
    """
    sys.stderr = (output.parent / "errors.txt").open("a")
    os.dup2(sys.stderr.fileno(), 2)
    if die:
        _die(*die)
    if limit:
        resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
    curves = draw_curves if die and die[0] == "curves" else lambda folder: None
    with patch.object(loop, "draw_curves", curves):
        guarded(lambda: loop.train(load_config("demo/shapes_r18", overrides), output, resume=True))


def _die(name: str, when: str) -> None:
    write_bytes, replace = Path.write_bytes, Path.replace

    def writing(path: Path, data: bytes) -> int:
        if when == "writing" and path.name.startswith(f".{name}"):
            with path.open("wb") as file:
                file.write(data[: len(data) // 2])
            _end()
        return write_bytes(path, data)

    def replacing(path: Path, target: Path) -> Path:
        if target.name.startswith(name) and when != "writing":
            if when == "after":
                replace(path, target)
            _end()
        return replace(path, target)

    Path.write_bytes, Path.replace = writing, replacing  # type: ignore[method-assign, assignment]


def _end() -> None:
    os.kill(os.getpid(), signal.SIGKILL)
