"""The weights of the golden cases: seeded normal numbers, made anew from a manifest and checked against its hash."""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

GOLDEN = Path(__file__).parent / "golden"


def golden_weights(case: Mapping[str, str]) -> dict[str, torch.Tensor]:
    """The official model's state dict for a golden case, which names its ``manifest`` and ``salt``."""
    manifest = json.loads((GOLDEN / case["manifest"]).read_text())
    arrays = {entry["name"]: _array(entry, case["salt"]) for entry in manifest["entries"]}
    digest = hashlib.sha256()
    for array in arrays.values():
        digest.update(array.tobytes())
    assert digest.hexdigest() == manifest["sha256"][case["salt"]], (
        "numpy's normal numbers are not those of the manifest"
    )
    return {name: torch.from_numpy(array) for name, array in arrays.items()}


def _array(entry: Mapping[str, Any], salt: str) -> npt.NDArray[Any]:
    if entry["dtype"] == "int64":
        return np.full(entry["shape"], entry["value"], dtype=np.int64)
    seed = zlib.crc32(f"{salt}/{entry['name']}".encode())
    values = np.random.Generator(np.random.PCG64(seed)).standard_normal(entry["shape"])
    if entry["transform"] == "center_filters":
        values -= values.mean(axis=tuple(range(1, values.ndim)), keepdims=True)
    values = entry["mean"] + entry["std"] * values
    if entry["transform"] == "abs+0.5":
        values = np.abs(values) + 0.5
    for index, offset in entry.get("add", []):
        values[index] += offset
    return values.astype(np.float32)
