"""Label Studio's brush masks: run lengths of thi.ng's rle-pack, of values with 8 bits.

A stream of bits, the highest of a byte first: the number of values in 32 bits; the bits of a value, less one, in 5; the
bits of a count in each of four sizes, less one, in 4 each. Blocks follow until all values are there. A block has one
bit, which is 1 for a run of equal values; 2 bits for the size of its count; the count, less one; and the value of the
run, or as many values as it counts. The values of a brush mask are red, green, blue and alpha of each pixel, by rows;
alpha is 255 where the mask is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from panoptic_blend.structures import Size

_CHANNELS = 4
_SIZES = 3, 4, 8, 16
"""Bits of a count, as Label Studio writes them."""
_WORD = 8
_HEADER = 32 + 5 + 4 * len(_SIZES)

Mask = npt.NDArray[np.bool_]


def pack_mask(mask: Mask) -> list[int]:
    """The bytes of a mask (H, W)."""
    flat = mask.ravel()
    starts = np.flatnonzero(np.diff(flat, prepend=~flat[:1]))
    lengths = np.diff(starts, append=flat.size) * _CHANNELS
    parts = [f"{flat.size * _CHANNELS:032b}{_WORD - 1:05b}", *(f"{size - 1:04b}" for size in _SIZES)]
    for is_set, length in zip(flat[starts].tolist(), lengths.tolist(), strict=True):
        parts += _runs(length, f"{255 * is_set:0{_WORD}b}")
    bits = "".join(parts)
    bits += "0" * (-len(bits) % 8)
    return list(int(bits, 2).to_bytes(len(bits) // 8, "big"))


def _runs(length: int, value: str) -> Iterable[str]:
    largest = 2 ** _SIZES[-1]
    for count in [largest] * (length // largest) + [length % largest] * (length % largest > 0):
        place = next(place for place, size in enumerate(_SIZES) if count <= 2**size)
        yield f"1{place:02b}{count - 1:0{_SIZES[place]}b}{value}"


def unpack_mask(data: Sequence[int], size: Size) -> Mask | None:
    """The pixels of a mask of ``size`` (height, width) whose alpha is not 0; None if the bytes are not such a mask."""
    try:
        bits = np.unpackbits(np.frombuffer(bytes(data), np.uint8))
    except (TypeError, ValueError):
        return None
    text = (bits + ord("0")).tobytes().decode("ascii")
    total = size[0] * size[1] * _CHANNELS
    if len(text) < _HEADER or int(text[:32], 2) != total or int(text[32:37], 2) + 1 != _WORD:
        return None
    sizes = [int(text[at : at + 4], 2) + 1 for at in range(37, _HEADER, 4)]
    values, place = _values(bits, text, sizes, total), slice(_CHANNELS - 1, None, _CHANNELS)
    return None if values is None else (values[place] > 0).reshape(size)


def _values(bits: npt.NDArray[np.uint8], text: str, sizes: Sequence[int], total: int) -> npt.NDArray[np.uint8] | None:
    values, done, at = np.zeros(total, np.uint8), 0, _HEADER
    while done < total:
        count_at = at + 3
        if count_at > len(text):
            return None
        end = count_at + sizes[int(text[at + 1 : count_at], 2)]
        is_run = text[at] == "1"
        count = int(text[count_at:end] or "0", 2) + 1
        at = end + (1 if is_run else count) * _WORD
        if at > len(text) or done + count > total:
            return None
        values[done : done + count] = int(text[end:at], 2) if is_run else np.packbits(bits[end:at])
        done += count
    return values
