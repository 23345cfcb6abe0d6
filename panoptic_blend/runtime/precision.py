"""The default device, and the arithmetic in which a network runs on a device."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import torch

from panoptic_blend.config.precisions import Precision
from panoptic_blend.failures import first_line
from panoptic_blend.structures import PanopticBlendError

Arithmetic = Literal["32-true", "bf16-mixed", "16-mixed"]


def default_device() -> torch.device:
    """The GPU or other accelerator of this machine if there is one, else the CPU."""
    return torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")


def chosen_device(name: str) -> torch.device:
    """The device of this name, such as ``cuda:0``; ``auto`` is the `default_device`.

    Raises:
        PanopticBlendError: torch knows no such device.
    """
    if name == "auto":
        return default_device()
    try:
        return torch.device(name)
    except RuntimeError as error:
        raise PanopticBlendError(f"device {name!r}: {first_line(error)}; {KNOWN_DEVICES}") from None


def present_device(name: str, option: str) -> torch.device:
    """The `chosen_device`, if this machine has one of its kind.

    Args:
        option: what gave the name, for the error.

    Raises:
        PanopticBlendError: there is none.
    """
    device, best = chosen_device(name), default_device()
    if device.type not in ("cpu", best.type):
        known = "no GPU that torch can use" if best.type == "cpu" else f"{best.type} instead"
        raise PanopticBlendError(f"{option} {name}: this machine has {known}; use auto or cpu")
    return device


KNOWN_DEVICES = "use auto, cpu, cuda or cuda:0"


def resolve(precision: Precision, device: torch.device) -> Arithmetic:
    """Replace ``auto`` by ``bf16-mixed`` if the device is faster in bfloat16 (see `fast_bf16`), else by ``32-true``."""
    if precision != "auto":
        return precision
    has_bf16 = torch.cuda.is_bf16_supported(False) if device.type == "cuda" else _processor_has_bf16()
    return "bf16-mixed" if has_bf16 else "32-true"


def autocast(precision: Precision, device: torch.device) -> torch.autocast:
    """The autocast context in which a network runs in ``precision``."""
    dtype = half_dtype(precision, device)
    return torch.autocast(device.type, dtype=dtype, enabled=dtype is not None)


@contextmanager
def tf32_convolutions(is_allowed: bool) -> Iterator[None]:
    """Within the block, whether CUDA may round the factors of float32 convolutions to TF32, which has 10 bits.

    torch allows it by default, but not in matrix products, whose setting stays as it is.
    """
    cudnn: Any = torch.backends.cudnn
    before = cudnn.conv.fp32_precision  # reading the older allow_tf32 is an error where both have been set
    cudnn.allow_tf32 = is_allowed
    try:
        yield
    finally:
        cudnn.allow_tf32 = before == "tf32"


def half_dtype(precision: Precision, device: torch.device) -> torch.dtype | None:
    """The 16-bit data type of convolutions; None for float32."""
    return {"bf16-mixed": torch.bfloat16, "16-mixed": torch.float16}.get(resolve(precision, device))


def _processor_has_bf16() -> bool:
    """Whether this processor has `fast_bf16`, by what Linux says of it; torch has no public function for this."""
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and fast_bf16(cpuinfo.read_text())


def fast_bf16(cpuinfo: str) -> bool:
    """Whether a processor, as ``/proc/cpuinfo`` describes it, computes faster in bfloat16 than in float32.

    It does with AMX, and AMD's with AVX-512. Intel's AVX-512 units multiply bfloat16 at the rate of float32, and the
    conversions come on top: without AMX, which virtual machines often hide, a training step took 1.3 to 1.5 times as
    long.
    """
    words = cpuinfo.split()
    return "amx_bf16" in words or ("avx512_bf16" in words and "GenuineIntel" not in words)
