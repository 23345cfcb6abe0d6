"""Pictures that are nearly the same: copies, other sizes and qualities of one picture, frames of a video."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.data.photometric import pixels_of
from panoptic_blend.data.protocol import ListedDataset, PanopticDataset, Sample, read_sample
from panoptic_blend.files import printable
from panoptic_blend.fit.measured_images import MOST_MEASURED, drawn
from panoptic_blend.formats.images import read_thumbnail
from panoptic_blend.machine import cores

T = TypeVar("T")
Gray = npt.NDArray[np.uint8]

MOST_BITS = 12
"""Hashes of near duplicates differ in at most this many of 64 bits; those of different pictures in about 32."""
MOST_DIFFERENCE, MOST_BRIGHTER = 0.5, 64.0
"""Limits of the root mean square difference of thumbnails of near duplicates, with equal mean and a standard deviation
of 1, and of the difference of their mean gray values.

A crop of 2% at each side of a photograph has a difference of 0.4, and different photographs have 0.8 or more.
"""
MOST_HASHED = {"training": 10_000, "validation": 5_000}
"""The numbers of images in which near duplicates are searched."""
MOST_NAMED = 50
"""The number of pairs of near duplicates that are named."""
_SIDE = 32
_CONTRAST = 4.0
"""The standard deviation below which the gray values of a thumbnail are noise."""
_ROWS = 2**9
"""Rows of the matrix of distances that are computed at once."""
_ORDER = sorted(np.ndindex(_SIDE, _SIDE), key=lambda place: (sum(place), place))[1:65]
"""The 64 lowest frequencies of the cosine transform but the constant one."""


@dataclass(frozen=True, eq=False)
class Hashes:
    """Perceptual hashes (n,) uint64 of n pictures, and their gray thumbnails (n, 32, 32) uint8."""

    bits: npt.NDArray[np.uint64]
    thumbnails: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, pictures: Iterable[Gray]) -> Hashes:
        """Hash gray pictures, each (H, W) uint8.

        A bit of a hash says whether a low frequency of the discrete cosine transform of the thumbnail is above the
        median of all 64 (Zauner, Implementation and Benchmarking of Perceptual Image Hash Functions, 2010, section
        3.2).
        """
        small = [cv2.resize(picture, (_SIDE, _SIDE), interpolation=cv2.INTER_AREA) for picture in pictures]
        thumbnails = np.array(small, np.uint8).reshape(-1, _SIDE, _SIDE)
        rows, columns = np.transpose(_ORDER)
        bits = np.zeros(len(thumbnails), dtype=np.uint64)
        for i, gray in enumerate(thumbnails):
            low = cv2.dct(gray.astype(np.float32))[rows, columns]
            bits[i] = np.packbits(low > np.median(low)).view(np.uint64)[0]
        return cls(bits, thumbnails)

    def __len__(self) -> int:
        return len(self.bits)

    def nearest(self, others: Hashes | None = None) -> npt.NDArray[np.intp]:
        """The position among ``others`` of the near duplicate of each picture (n,), -1 where there is none.

        Without ``others``, near duplicates are earlier pictures of these.
        """
        known = self if others is None else others
        found = np.full(len(self), -1, dtype=np.intp)
        for start in range(0, len(self) if len(known) else 0, _ROWS):
            rows = np.arange(start, min(start + _ROWS, len(self)))
            distances = np.bitwise_count(self.bits[rows, None] ^ known.bits)
            if others is None:
                distances[np.arange(len(known)) >= rows[:, None]] = 255
            best = distances.argmin(axis=1)
            is_close = distances[np.arange(len(rows)), best] <= MOST_BITS
            is_close[is_close] = _are_alike(self.thumbnails[rows[is_close]], known.thumbnails[best[is_close]])
            found[rows[is_close]] = best[is_close]
        return found

    def alike(self, place: int, others: Sequence[int]) -> list[int]:
        """Those of the positions ``others`` whose pictures are near duplicates of the one at ``place``."""
        positions = np.array(others, dtype=np.intp)
        close = positions[np.bitwise_count(self.bits[place] ^ self.bits[positions]) <= MOST_BITS]
        found: list[int] = close[_are_alike(self.thumbnails[[place]], self.thumbnails[close])].tolist()
        return found


def _are_alike(one: npt.NDArray[np.uint8], other: npt.NDArray[np.uint8]) -> npt.NDArray[np.bool_]:
    """Whether thumbnails (n, 32, 32) are the same but for contrast, moderate brightness and little else."""
    (first, light), (second, dark) = _standardized(one), _standardized(other)
    differences = np.sqrt(((first - second) ** 2).mean(axis=(1, 2)))
    alike: npt.NDArray[np.bool_] = (differences <= MOST_DIFFERENCE) & (np.abs(light - dark) <= MOST_BRIGHTER)
    return alike


def _standardized(thumbnails: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Thumbnails (n, 32, 32) with mean 0 and standard deviation 1, or less without contrast; and their means (n,)."""
    means, deviations = thumbnails.mean(axis=(1, 2)), thumbnails.std(axis=(1, 2))
    return (thumbnails - means[:, None, None]) / np.maximum(deviations, _CONTRAST)[:, None, None], means


def hash_files(paths: Sequence[Path]) -> Hashes:
    """Hash the pictures in files, which are read in less than full size.

    Raises:
        PanopticBlendError: a picture cannot be read.
    """
    return _hashed(lambda path: read_thumbnail(path, 2 * _SIDE), paths)


def _hashed(read: Callable[[T], Gray], items: Sequence[T]) -> Hashes:
    with ThreadPoolExecutor(cores()) as threads:  # decoding releases the GIL
        return Hashes.of(threads.map(read, items))


@dataclass(frozen=True)
class NearDuplicates:
    """Pictures that are nearly the same, among the ``images`` and ``validation_images`` that were compared.

    ``within`` counts training pictures like an earlier training picture, ``across`` validation pictures like a training
    picture, whose figures flatter the model. The first pairs are named: in ``across_pairs`` as validation, training.
    """

    images: int
    validation_images: int
    within: int
    across: int
    within_pairs: tuple[tuple[str, str], ...]
    across_pairs: tuple[tuple[str, str], ...]

    def warnings(self) -> list[str]:
        """A line, if validation pictures are known from training."""
        if not self.across:
            return []
        pairs = ", ".join(f"{printable(one)} like {printable(other)}" for one, other in self.across_pairs[:2])
        return [
            f"{self.across} of {self.validation_images} validation pictures are nearly the same as training pictures "
            f"({pairs}), so the figures flatter the model; put such pictures into the same split"
        ]


def find_near_duplicates(training: PanopticDataset, validation: PanopticDataset) -> NearDuplicates:
    """Compare training pictures with one another and with validation pictures; of many, those that are drawn.

    Raises:
        PanopticBlendError: a picture cannot be read.
    """
    (own, names), (others, other_names) = (
        _hashed_part(dataset, most) for dataset, most in zip((training, validation), MOST_HASHED.values(), strict=True)
    )
    within, across = own.nearest(), others.nearest(own)
    return NearDuplicates(
        len(own),
        len(others),
        int((within >= 0).sum()),
        int((across >= 0).sum()),
        _pairs(names, names, within),
        _pairs(other_names, names, across),
    )


def _hashed_part(dataset: PanopticDataset, most: int) -> tuple[Hashes, list[str]]:
    """Hashes and names of at most so many pictures; of fewer if whole samples must be read."""
    if isinstance(dataset, ListedDataset):
        indices = drawn(len(dataset), most).tolist()
        hashes = hash_files([dataset.picture_path(index) for index in indices])
    else:
        indices = drawn(len(dataset), MOST_MEASURED).tolist()
        hashes = _hashed(lambda index: _gray(read_sample(dataset, index)), indices)
    return hashes, [dataset.images.file_names[index] for index in indices]


def _gray(sample: Sample) -> Gray:
    return np.asarray(cv2.cvtColor(pixels_of(sample.image), cv2.COLOR_RGB2GRAY), np.uint8)


def _pairs(names: Sequence[str], others: Sequence[str], nearest: npt.NDArray[np.intp]) -> tuple[tuple[str, str], ...]:
    return tuple((names[i], others[nearest[i]]) for i in np.flatnonzero(nearest >= 0)[:MOST_NAMED].tolist())
