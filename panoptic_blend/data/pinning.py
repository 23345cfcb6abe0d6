"""The tensors of a batch in one block of pinned memory: pinning each by itself takes a call of the driver each."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor

_ALIGNMENT = 64
"""Every tensor begins at a multiple of this number of bytes."""


def in_one_block(tensors: Sequence[Tensor], pin: bool = True) -> list[Tensor]:
    """Copies of tensors of any shapes and dtypes that lie in one block; it lives as long as one of them.

    Args:
        pin: whether the block is pinned, so that a GPU copies from it without the host waiting.
    """
    sizes = [tensor.numel() * tensor.element_size() for tensor in tensors]
    ends = list(accumulate(-(-size // _ALIGNMENT) * _ALIGNMENT for size in sizes))
    block = torch.empty(ends[-1] if ends else 0, dtype=torch.uint8, pin_memory=pin)
    copies = []
    for start, size, tensor in zip([0, *ends], sizes, tensors, strict=False):
        copies.append(block[start : start + size].view(tensor.dtype).view(tensor.shape).copy_(tensor))
    return copies
