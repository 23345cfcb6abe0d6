"""The machine: versions, memory, and the rates that everything else depends on."""

from __future__ import annotations

import platform
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from evaluation.gpu.bench import Bench, Finding
from panoptic_blend.machine import cores

_SHARED_MEMORY = Path("/dev/shm")
_LAUNCHES = 2000


def machine(bench: Bench) -> Finding:
    """Versions, cores and shared memory; of a GPU the rates of products, of copies and of launches."""
    found: dict[str, Any] = {"python": platform.python_version(), "cores": cores()}
    found |= {name: version(name) for name in ("torch", "torchvision", "lightning")}
    if _SHARED_MEMORY.exists():
        found["shared_memory_gb"] = round(shutil.disk_usage(_SHARED_MEMORY).total / 1e9, 1)
    return Finding(found | (_rates(bench) if bench.is_cuda else {}))


def _rates(bench: Bench) -> dict[str, Any]:
    side, size = bench.times(8192, 512), bench.times(2**30, 2**20)
    matrix = torch.randn(side, side, device=bench.device, dtype=torch.bfloat16)
    source = torch.empty(size, dtype=torch.uint8, device=bench.device)
    copy, number = torch.empty_like(source), torch.zeros(1, device=bench.device)
    return {
        "gpu": torch.cuda.get_device_name(),
        "memory_gb": round(torch.cuda.get_device_properties(0).total_memory / 1e9, 1),
        "bf16_tflops": round(2 * side**3 / bench.median(lambda: matrix @ matrix, 10) / 1e12),
        "copy_tb_s": round(2 * size / bench.median(lambda: copy.copy_(source), 10) / 1e12, 2),
        "launch_us": round(1e6 * bench.median(lambda: [number.add_(1) for _ in range(_LAUNCHES)], 3) / _LAUNCHES, 2),
    }
