"""Find pictures that are nearly the same: frames of a burst or a video, or one picture saved twice.

A signature holds, for 8 x 8 places of a picture that is reduced to 9 x 9, whether it becomes brighter to the right and
downwards (a difference hash). It changes little with size, compression and exposure.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.formats.images import read_thumbnail
from panoptic_blend.machine import cores

Signatures = npt.NDArray[np.uint64]
"""(n, 2): 128 bits for each picture."""

BITS = 128
NEAR = 12
"""Signatures of near duplicates differ in at most this many bits of 128; those of other photographs in about 60."""
_SIDE = 8
_STEP = 2
"""Differences of gray values below this are noise; a place without one is seen as not brighter."""
_BLOCK = 1024


def signatures(paths: Sequence[Path]) -> Signatures:
    """The signatures (n, 2) of pictures.

    Raises:
        PanopticBlendError: a picture cannot be decoded.
    """
    with ThreadPoolExecutor(max(int(cores()), 1)) as pool:  # decoding releases the GIL
        return np.array(list(pool.map(_signature, paths)), np.uint64).reshape(-1, 2)


def near_duplicates(first: Signatures, second: Signatures) -> Iterator[tuple[int, int]]:
    """Pairs (i, j) of a picture of ``first`` and one of ``second`` that are nearly the same."""
    for start in range(0, len(first), _BLOCK):
        distances = np.bitwise_count(first[start : start + _BLOCK, None] ^ second[None]).sum(axis=2)
        rows, columns = np.nonzero(distances <= NEAR)
        yield from zip((rows + start).tolist(), columns.tolist(), strict=True)


def _signature(path: Path) -> Signatures:
    gray = read_thumbnail(path, 4 * _SIDE)
    small = cv2.resize(gray, (_SIDE + 1, _SIDE + 1), interpolation=cv2.INTER_AREA).astype(np.int16)
    brighter = [small[:-1, 1:] - small[:-1, :-1] >= _STEP, small[1:, :-1] - small[:-1, :-1] >= _STEP]
    bits: Signatures = np.packbits(np.stack(brighter)).view(np.uint64)
    return bits
