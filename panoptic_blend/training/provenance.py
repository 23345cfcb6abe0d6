"""Record the command, versions and machine of a training run in ``run.json``."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from panoptic_blend.files import replacing

_FILE = "run.json"
_PACKAGES = ("panoptic-blend", "torch", "torchvision", "lightning", "numpy", "opencv-python-headless", "pycocotools")


def record_start(folder: Path, seed: int, iteration: int, device: torch.device, processes: int) -> None:
    """Append a start of the run to ``run.json`` in ``folder``: time, iteration, command, seed, device and versions.

    A run that is not resumed (``iteration`` 0) replaces the file.
    """
    path = folder / _FILE
    starts = json.loads(path.read_bytes()) if path.exists() and iteration else []
    start = {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "iteration": iteration,
        "command": sys.argv,
        "seed": seed,
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or device.type,
        "processes": processes,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in _PACKAGES},
        "git": _git(Path(__file__).parent),
    }
    with replacing(path) as temporary:
        temporary.write_text(json.dumps([*starts, start], indent=1), encoding="utf-8")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:  # not installed, such as this library when it is imported from a folder
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    """The commit of the clone that the library is imported from, and its changed files; None without a clone."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if git("ls-files", "--error-unmatch", __file__):  # fails if the library is installed in another project's clone
            return {"commit": git("rev-parse", "HEAD"), "changed": git("status", "--porcelain").splitlines()}
    except (OSError, subprocess.SubprocessError):
        pass
    return None
