"""Which arithmetic a processor is good at."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, TypeVar

import torch
from lightning.fabric.plugins import MixedPrecision

from panoptic_blend.config.options import Precision

Arithmetic = Literal["32-true", "bf16-mixed", "16-mixed"]
T = TypeVar("T")


class Autocast(MixedPrecision):
    """Fabric's mixed precision, without its rounding of what goes in: boxes are coordinates, and counts are counts."""

    def convert_input(self, data: T) -> T:
        """Leave it as it is; autocast rounds where it is sound."""
        return data


def default_device() -> torch.device:
    """A GPU where there is one, else the processor."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def resolve(precision: Precision, device: torch.device) -> Arithmetic:
    """Turn ``auto`` into ``bf16-mixed`` where the device has units for it, else ``32-true``."""
    if precision != "auto":
        return precision
    has_bf16 = torch.cuda.is_bf16_supported(False) if device.type == "cuda" else _processor_has_bf16()
    return "bf16-mixed" if has_bf16 else "32-true"


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The context in which a network runs in ``precision``."""
    dtype = half(precision, device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


def half(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The type in which convolutions are computed, None for float32."""
    return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(resolve(precision, device))


def _processor_has_bf16() -> bool:
    """Whether Linux lists bf16 instructions (AMX, AVX-512); torch has no public question for it."""
    cpuinfo = Path("/proc/cpuinfo")
    flags = cpuinfo.read_text().split() if cpuinfo.exists() else []
    return "amx_bf16" in flags or "avx512_bf16" in flags
