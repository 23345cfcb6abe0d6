"""What a run was made with."""

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
    """Add to ``run.json``, a list with one entry a start, what the run is made with from ``iteration`` on."""
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
    except PackageNotFoundError:  # used from a folder
        return None


def _git(folder: Path) -> dict[str, Any] | None:
    """The commit of the clone the library runs from, and what was changed since; None if there is no clone."""

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        if git("ls-files", "--error-unmatch", __file__):  # else the library merely lies in somebody's clone
            return {"commit": git("rev-parse", "HEAD"), "changed": git("status", "--porcelain").splitlines()}
    except (OSError, subprocess.SubprocessError):
        pass
    return None
