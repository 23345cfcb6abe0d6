"""Brush masks of Label Studio."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from panoptic_blend.formats.rle_pack import pack_mask, unpack_mask


def unpacked(data: list[int], size: tuple[int, int]) -> object:
    found = unpack_mask(data, size)
    return None if found is None else found.tolist()


masks = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


@given(masks)
@settings(max_examples=50)
def test_a_packed_mask_is_unpacked_to_itself(mask: npt.NDArray[np.bool_]) -> None:
    assert unpacked(pack_mask(mask), (mask.shape[0], mask.shape[1])) == mask.tolist()


def test_two_pixels_have_the_bits_of_the_format() -> None:
    # 8 values of 8 bits (7), counts of 3, 4, 8 and 16 bits; two runs, each of 4 values, whose counts have 3 bits
    header = "00000000000000000000000000001000001110010001101111111"
    bits = header + "10001100000000" + "10001111111111"
    assert "".join(f"{byte:08b}" for byte in pack_mask(np.array([[False, True]]))) == bits + "0" * (-len(bits) % 8)


def test_runs_longer_than_a_count_and_literal_values_are_read() -> None:
    mask = np.ones((200, 200), bool)  # 160,000 values in counts of at most 65,536
    mask[0, 0] = False
    assert unpacked(pack_mask(mask), (200, 200)) == mask.tolist()
    header = f"{8:032b}{7:05b}{2:04b}{3:04b}{7:04b}{15:04b}"
    values = [0, 0, 0, 0, 9, 9, 9, 1]
    bits = header + "000111" + "".join(f"{value:08b}" for value in values)
    data = list(int(bits.ljust(-(-len(bits) // 8) * 8, "0"), 2).to_bytes(-(-len(bits) // 8), "big"))
    assert unpacked(data, (1, 2)) == [[False, True]]  # alpha decides


def test_bytes_that_are_no_mask_of_the_picture_are_refused() -> None:
    good = pack_mask(np.eye(3, dtype=bool))
    for bad in ([], good[:9], good[:-2], [300], [*good[:8], *[255] * 40]):
        assert unpack_mask(bad, (3, 3)) is None
    assert unpack_mask(good, (3, 4)) is None
