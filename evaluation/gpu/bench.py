"""What all checks share: the device, the size of the work, temporary data, times and peaks of memory."""

from __future__ import annotations

import gc
import os
import resource
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from evaluation.gpu.workload import write_coco_sized
from evaluation.timing import wait_for_device
from panoptic_blend.config.precisions import Precision
from panoptic_blend.shapes.dataset import write_shapes
from panoptic_blend.structures import Size


@dataclass(frozen=True)
class Finding:
    """The result of a check: its figures, and whether they are what is needed; ``needed`` says what that is."""

    figures: dict[str, Any]
    is_met: bool = True
    needed: str = ""


@dataclass(frozen=True)
class Check:
    """A check by name, with the seconds that it is expected to take on an H100."""

    seconds: float
    run: Callable[[Bench], Finding]

    @property
    def name(self) -> str:
        """The name, which is that of its function."""
        return self.run.__name__


@dataclass(frozen=True)
class Bench:
    """The device and the folder of the checks; ``is_tiny`` does the same work on tiny pictures.

    ``shapes_iterations`` is the length of the training on Shapes.
    """

    device: torch.device
    folder: Path
    is_tiny: bool = False
    shapes_iterations: int = 500

    @property
    def is_cuda(self) -> bool:
        """Whether the device is an NVIDIA GPU, for which targets are meant."""
        return self.device.type == "cuda"

    @property
    def has_targets(self) -> bool:
        """Whether times count: full work on a GPU."""
        return self.is_cuda and not self.is_tiny

    @property
    def half(self) -> list[Precision]:
        """The 16-bit precisions of the device."""
        return ["bf16-mixed", "16-mixed"] if self.is_cuda else ["bf16-mixed"]

    @property
    def precisions(self) -> list[tuple[str, Precision, bool]]:
        """Name, precision, and whether TF32 is allowed, from the most to the least precise."""
        names: list[tuple[str, Precision, bool]] = [("float32", "32-true", False), ("tf32", "32-true", True)]
        return [*names, *((name, name, True) for name in self.half)]

    def size(self, full: Size, tiny: Size = (96, 128)) -> Size:
        """The size of pictures (height, width)."""
        return tiny if self.is_tiny else full

    def times(self, full: int, tiny: int = 1) -> int:
        """A number of repetitions, pictures or iterations."""
        return tiny if self.is_tiny else full

    @cached_property
    def coco(self) -> Path:
        """Generated pictures of COCO's size with COCO's classes."""
        root = self.folder / "coco"
        write_coco_sized(root, self.times(96, 8), self.times(32, 4), self.size((480, 640)))
        return root

    @cached_property
    def shapes(self) -> Path:
        """The data set Shapes."""
        root = self.folder / "shapes"
        write_shapes(root, self.times(800, 16), self.times(60, 4))
        return root

    def median(self, run: Callable[[], Any], repeats: int, warm: int = 2) -> float:
        """The median time of ``run`` in seconds, with the work that it leaves to the device."""
        for _ in range(self.times(warm)):
            run()
        times = []
        for _ in range(self.times(repeats)):
            wait_for_device()
            start = time.perf_counter()
            run()
            wait_for_device()
            times.append(time.perf_counter() - start)
        return statistics.median(times)

    def milliseconds(self, run: Callable[[], Any], repeats: int, warm: int = 2) -> float:
        """`median` in milliseconds, rounded."""
        return round(1000 * self.median(run, repeats, warm), 2)

    def forget(self) -> None:
        """Free the memory of the device, and begin to watch its peak anew."""
        gc.collect()
        if self.is_cuda:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()

    def peak(self) -> dict[str, float]:
        """The peak of memory in GB since `forget`; on the CPU, that of the process since its start."""
        if not self.is_cuda:
            return {"rss_gb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6, 2)}
        return {
            "peak_gb": round(torch.cuda.max_memory_allocated() / 1e9, 2),
            "reserved_gb": round(torch.cuda.max_memory_reserved() / 1e9, 2),
        }

    def memory(self) -> dict[str, float]:
        """The present memory in MB, of the device and of this process."""
        resident = int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6
        allocated, reserved = (
            (torch.cuda.memory_allocated() / 1e6, torch.cuda.memory_reserved() / 1e6) if self.is_cuda else (0.0, 0.0)
        )
        return {"allocated": round(allocated, 1), "reserved": round(reserved, 1), "resident": round(resident, 1)}
