from __future__ import annotations

import torch

from panoptic_blend.data.pinning import in_one_block


def test_copies_equal_their_tensors_and_share_one_block() -> None:
    tensors = [
        torch.arange(6, dtype=torch.uint8).view(1, 2, 3),
        torch.tensor([[0.5, -1.0]]),
        torch.zeros(0, 4),
        torch.tensor([True, False, True]),
        torch.tensor(7, dtype=torch.int64),
        torch.arange(6, dtype=torch.int64).view(2, 3).T,
    ]
    copies = in_one_block(tensors, pin=False)
    for copy, tensor in zip(copies, tensors, strict=True):
        assert copy.dtype == tensor.dtype
        assert torch.equal(copy, tensor)
    assert len({copy.untyped_storage().data_ptr() for copy in copies}) == 1
    copies[0].zero_()
    assert tensors[0].sum() == 15
    assert copies[1].tolist() == [[0.5, -1.0]]


def test_nothing_to_copy() -> None:
    assert in_one_block([], pin=False) == []
