"""The tensors of a batch in one block of memory, which passes to another process and to a GPU as one."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable, Sequence
from multiprocessing.reduction import ForkingPickler
from typing import Any, NamedTuple

import torch
from torch import Tensor

_ALIGNMENT = 64
"""Every tensor begins at a multiple of this number of bytes."""


class _Place(NamedTuple):
    """Where a tensor lies in a block; ``start`` is in bytes."""

    dtype: torch.dtype
    shape: tuple[int, ...]
    stride: tuple[int, ...]
    start: int

    def within(self, block: Tensor) -> Tensor:
        size = self.dtype.itemsize * torch.Size(self.shape).numel()
        return block[self.start : self.start + size].view(self.dtype).as_strided(self.shape, self.stride)


class Packed(NamedTuple):
    """Items whose tensors lie in a ``block`` (bytes,) uint8; ``content`` is the rest of them, pickled."""

    content: bytes
    places: list[_Place]
    block: Tensor

    def pinned(self) -> Packed:
        """The same with the block in pinned memory, from which a GPU copies without the host waiting."""
        return self._replace(block=self.block.pin_memory())

    def unpack(self) -> Any:
        """The items; their tensors are views of the block, which lives as long as one of them."""
        return _Unpickler(io.BytesIO(self.content), self).load()


def pack(items: Any, new_block: Callable[[int], Tensor]) -> Packed:
    """Copy the tensors of picklable items into one block, each with the order of its axes in memory.

    Args:
        new_block: makes the block of a number of bytes: `shared_block`, or `pinned_block`.
    """
    content = io.BytesIO()
    pickler = _Pickler(content)
    pickler.dump(items)
    places, end = [], 0
    for tensor in pickler.tensors:
        stride = torch.empty_like(tensor, device="meta").stride()
        places.append(_Place(tensor.dtype, tuple(tensor.shape), stride, end))
        end += -(-tensor.numel() * tensor.element_size() // _ALIGNMENT) * _ALIGNMENT
    block = new_block(end)
    for place, tensor in zip(places, pickler.tensors, strict=True):
        place.within(block).copy_(tensor)
    return Packed(content.getvalue(), places, block)


def shared_block(size: int) -> Tensor:
    """A block (``size``,) uint8 in memory that other processes can map; written at once, as torch's own batches are."""
    return torch.empty(0, dtype=torch.uint8).set_(torch.UntypedStorage._new_shared(max(size, 1)))


def pinned_block(size: int) -> Tensor:
    """A block (``size``,) uint8 in pinned memory."""
    return torch.empty(size, dtype=torch.uint8, pin_memory=True)


def on_device(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The tensors on a device; to a GPU those of one block are sent as one."""
    if device.type == "cuda" and len({tensor.untyped_storage().data_ptr() for tensor in tensors}) == 1:
        return sent(tensors, device)
    return [tensor.to(device, non_blocking=device.type == "cuda") for tensor in tensors]


def sent(tensors: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """The tensors, all of one block, as views of the block on a device."""
    block = torch.empty(0, dtype=torch.uint8).set_(tensors[0].untyped_storage())
    copy = block.to(device, non_blocking=True).untyped_storage()
    return [
        torch.empty(0, dtype=x.dtype, device=device).set_(copy, x.storage_offset(), x.shape, x.stride())
        for x in tensors
    ]


class _Pickler(ForkingPickler):
    """Pickles a number in the place of each plain tensor."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.tensors: list[Tensor] = []

    def persistent_id(self, item: Any) -> int | None:
        is_plain = type(item) is Tensor and item.device.type == "cpu" and item.layout is torch.strided
        if not is_plain or item.requires_grad or item.is_quantized:
            return None  # as torch sends it
        self.tensors.append(item)
        return len(self.tensors) - 1


class _Unpickler(pickle.Unpickler):
    """Finds the tensors in the block."""

    def __init__(self, file: io.BytesIO, packed: Packed) -> None:
        super().__init__(file)
        self._packed = packed

    def persistent_load(self, number: int) -> Tensor:
        return self._packed.places[number].within(self._packed.block)
