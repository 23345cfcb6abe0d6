"""Check and decode many compressed run lengths at once.

pycocotools reads past the end of wrong ones, or never ends, and decodes single masks to whole pictures.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Integers = npt.NDArray[np.int64]

_CHECKED_AT_ONCE = 2**15
"""Bytes of run lengths that are checked together; arrays of eight bytes for each are in memory."""

_MOST_CHARACTERS = 7
"""Characters of the longest number, of five bits each: pycocotools counts in 32 bits."""


def first_invalid(masks: Sequence[bytes], pixels: Sequence[int]) -> int | None:
    """The first of the compressed ``masks`` that does not fill its picture, of that number of ``pixels``; else None."""
    start = size = 0
    for stop, mask in enumerate(masks, start=1):
        size += len(mask)
        if size >= _CHECKED_AT_ONCE or stop == len(masks):
            wrong = np.flatnonzero(~_are_valid(masks[start:stop], np.array(pixels[start:stop], np.int64)))
            if wrong.size:
                return start + int(wrong[0])
            start, size = stop, 0
    return None


def counts_of(masks: Sequence[bytes]) -> list[Integers]:
    """The counts of each of the compressed ``masks``: numbers of pixels by columns, of void and of the mask in turn."""
    bits = np.frombuffer(b"".join(masks), np.uint8) - np.uint8(48)
    last = np.flatnonzero(bits & 32 == 0)
    numbers, _ = _numbers(bits, last) if len(last) else (np.zeros(0, np.int64), None)
    ends = np.searchsorted(last, np.cumsum([len(mask) for mask in masks]))
    counts = np.split(numbers, ends[:-1])[: len(masks)]
    for own in counts:
        own[1::2], own[2::2] = own[1::2].cumsum(), own[2::2].cumsum()
    return counts


def _are_valid(masks: Sequence[bytes], pixels: Integers) -> npt.NDArray[np.bool_]:
    """Whether each of n masks fills its picture.

    A character holds six bits: five of a number, the lowest first, and one that says whether another character
    follows. Numbers are signed. From the fourth count on, a number is the difference to the count two before.
    """
    lengths = np.array([len(mask) for mask in masks], np.int64)
    are_valid = lengths > 0
    if are_valid.all():
        bits = np.frombuffer(b"".join(masks), np.uint8) - np.uint8(48)
        ends = np.cumsum(lengths) - 1
        is_last = bits & 32 == 0
        are_valid = (np.maximum.reduceat(bits, ends - lengths + 1) < 64) & is_last[ends]
    if not are_valid.all():  # the others are checked without them
        rest = np.flatnonzero(are_valid)
        are_valid[rest] = _are_valid([masks[i] for i in rest.tolist()], pixels[rest]) if rest.size else False
        return are_valid
    last = np.flatnonzero(is_last)
    numbers, characters = _numbers(bits, last)
    first = np.searchsorted(last, ends - lengths + 1)
    lowest, total = _counts(numbers, first)
    return (np.maximum.reduceat(characters, first) <= _MOST_CHARACTERS) & (lowest >= 0) & (total == pixels)


def _numbers(bits: npt.NDArray[np.uint8], last: Integers) -> tuple[Integers, Integers]:
    """The signed numbers whose last characters are ``last`` (m,), and how many characters each has."""
    characters = np.diff(last, prepend=-1)
    numbers = (bits[last] & 31).astype(np.int64)
    numbers -= (numbers & 16) << 1
    for place in range(1, min(int(characters.max()), _MOST_CHARACTERS)):
        longer = np.flatnonzero(characters > place)
        numbers[longer] = numbers[longer] << 5 | bits[last[longer] - place] & 31
    return numbers, characters


def _counts(numbers: Integers, first: Integers) -> tuple[Integers, Integers]:
    """The lowest count and the sum of all, of n masks whose ``numbers`` begin at ``first`` (n,).

    All numbers but the first one are put in rows of two, so that a count is the sum of its column so far.
    """
    others = np.diff(first, append=len(numbers)) - 1
    rows = np.maximum((others + 1) // 2, 1)
    starts = np.cumsum(rows) - rows
    is_other = np.ones(len(numbers), np.bool_)
    is_other[first] = False
    differences = np.zeros((int(rows.sum()), 2), np.int64)
    places = np.arange(len(numbers) - len(first)) + np.repeat(2 * starts - (np.cumsum(others) - others), others)
    differences.ravel()[places] = numbers[is_other]
    differences[starts[1:]] -= np.add.reduceat(differences, starts)[:-1]
    counts = differences.cumsum(axis=0)
    counts.ravel()[2 * (starts + rows)[others % 2 == 1] - 1] = 0  # there is no number
    lowest, total = np.minimum.reduceat(counts, starts).min(axis=1), np.add.reduceat(counts, starts).sum(axis=1)
    return np.minimum(lowest, numbers[first]), total + numbers[first]
