from __future__ import annotations

from multiprocessing.reduction import ForkingPickler

import torch
from torch import Tensor, nn

from panoptic_blend.data.blocks import on_device, pack, sent, shared_block


def plain_block(size: int) -> Tensor:
    return torch.empty(size, dtype=torch.uint8)


TENSORS = [
    torch.arange(6, dtype=torch.uint8).view(1, 2, 3),
    torch.tensor([[0.5, -1.0]]),
    torch.zeros(0, 4),
    torch.tensor([True, False, True]),
    torch.tensor(7, dtype=torch.int64),
    torch.arange(24, dtype=torch.int64).view(4, 2, 3).permute(2, 0, 1),  # a picture whose channels come last in memory
]


def test_copies_equal_their_tensors_and_share_one_block() -> None:
    items = [("name", {"tensor": tensor}) for tensor in TENSORS]
    found = pack(items, plain_block).unpack()
    assert [name for name, _ in found] == ["name"] * len(TENSORS)
    copies = [values["tensor"] for _, values in found]
    for copy, tensor in zip(copies, TENSORS, strict=True):
        assert (copy.dtype, copy.shape, copy.stride()) == (tensor.dtype, tensor.shape, tensor.stride())
        assert torch.equal(copy, tensor)
        assert copy.data_ptr() % 64 == copies[0].data_ptr() % 64
    assert len({copy.untyped_storage().data_ptr() for copy in copies}) == 1
    copies[0].zero_()
    assert TENSORS[0].sum() == 15
    assert copies[1].tolist() == [[0.5, -1.0]]


def test_a_view_of_a_part_is_sent_alone() -> None:
    packed = pack(torch.arange(1000)[::10], plain_block)
    assert packed.unpack().tolist() == list(range(0, 1000, 10))
    assert len(packed.block) == 832  # 100 numbers of 8 bytes, up to a multiple of 64


def test_items_without_tensors_and_with_others_than_plain_ones() -> None:
    assert pack(["one", None], shared_block).unpack() == ["one", None]
    parameter = nn.Parameter(torch.ones(2))
    found = pack(parameter, plain_block).unpack()
    assert isinstance(found, nn.Parameter) and torch.equal(found, parameter)


def test_a_shared_block_passes_as_one_file() -> None:
    sealed = ForkingPickler.dumps(pack(TENSORS, shared_block))
    assert len(sealed) < 2000
    found = ForkingPickler.loads(sealed).unpack()
    assert all(torch.equal(copy, tensor) for copy, tensor in zip(found, TENSORS, strict=True))


def test_a_block_is_sent_to_a_device_as_one() -> None:
    """The device is this one, and one without values: a GPU may be missing."""
    packed = pack(TENSORS, plain_block).unpack()
    for copy, tensor in zip(sent(packed, torch.device("cpu")), TENSORS, strict=True):
        assert (copy.dtype, copy.stride()) == (tensor.dtype, tensor.stride())
        assert torch.equal(copy, tensor)
    elsewhere = sent(packed, torch.device("meta"))
    assert [(x.device.type, x.dtype, x.shape, x.stride(), x.storage_offset()) for x in elsewhere] == [
        ("meta", x.dtype, x.shape, x.stride(), x.storage_offset()) for x in packed
    ]


def test_on_the_cpu_nothing_is_copied() -> None:
    assert all(a is b for a, b in zip(on_device(TENSORS, torch.device("cpu")), TENSORS, strict=True))
    assert on_device([], torch.device("cpu")) == []
