"""What the machine has, and how its memory is used."""

from __future__ import annotations

import os

import numpy as np


def cores() -> int:
    """How many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Have the C library keep some freed memory of this process, up to 64 MB, for what is needed next.

    glibc gives the memory of large arrays back to the system, and every 4 KB of the next one cost a page fault, which
    takes as long as decoding and comparing what is in them. Its limits follow the largest array freed so far, up to 32
    MB (mallopt(3), M_MMAP_THRESHOLD). So one is freed here; nothing is ever written to it.
    """
    np.empty(2**25 - 2**16, dtype=np.uint8)
