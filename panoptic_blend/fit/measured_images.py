"""Images of a data set whose pixels are measured for its fingerprint, and the counts of its classes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.data.protocol import ListedDataset, PanopticDataset, Sample, read_sample
from panoptic_blend.fit.thing_shapes import ThingShapes, thing_shapes
from panoptic_blend.machine import cores
from panoptic_blend.structures import Size

MOST_MEASURED = 500
"""The number of images that are drawn at random to be measured."""
LEAST_OF_A_CLASS = 5
"""The number of measured images with a class; for a rare class, more images are drawn, as far as there are any."""
_GRAY = 1.5
"""The mean difference of color channels below which a picture is gray; JPEG leaves traces of colors."""


@dataclass(frozen=True)
class MeasuredImage:
    """An image of ``size`` (height, width) whose pixels were measured.

    ``pixels`` counts those of each category, of crowds too, and those of void under None; it is empty without panoptic
    annotation. Stuff segments have ``stuff_ids`` (n,), which are category ids, and ``stuff_areas`` (n,) in pixels.
    """

    size: Size
    is_gray: bool
    shapes: ThingShapes
    pixels: Counter[int | None]
    stuff_ids: npt.NDArray[np.int64]
    stuff_areas: npt.NDArray[np.float64]

    @classmethod
    def of(cls, sample: Sample) -> MeasuredImage:
        """Measure a sample."""
        panoptic, pixels, stuff = sample.panoptic, Counter[int | None](), list[tuple[int, int]]()
        if panoptic:
            areas, _ = panoptic.runs().areas_and_boxes(len(panoptic.segments))
            for segment, area in zip(panoptic.segments, areas.tolist(), strict=True):
                pixels[segment.category] += area
                if area and not segment.is_thing and not segment.is_crowd:
                    stuff.append((segment.category, area))
            pixels[None] = panoptic.segment_ids.size - pixels.total()
        stuff_ids, stuff_areas = np.array(stuff, dtype=np.float64).reshape(-1, 2).T
        size = sample.image.shape[1], sample.image.shape[2]
        return cls(size, _is_gray(sample), thing_shapes(sample), pixels, stuff_ids.astype(np.int64), stuff_areas)


def _is_gray(sample: Sample) -> bool:
    channels = sample.image.numpy().astype(np.int16)
    return bool(np.abs(channels - channels.mean(axis=0)).mean() < _GRAY)


def measure_images(dataset: PanopticDataset) -> list[MeasuredImage]:
    """Measure images that are drawn at random, always the same ones, and more of rare classes if they are listed.

    Raises:
        PanopticBlendError: an image cannot be read.
    """
    indices = drawn(len(dataset), MOST_MEASURED)
    for column in dataset.class_counts().T if isinstance(dataset, ListedDataset) else ():
        own = np.flatnonzero(column)
        lacking = LEAST_OF_A_CLASS - np.count_nonzero(column[indices])
        if lacking > 0:
            others = np.setdiff1d(own, indices)
            indices = np.union1d(indices, others[drawn(len(others), int(lacking))])
    with ThreadPoolExecutor(cores()) as threads:
        return list(threads.map(lambda index: MeasuredImage.of(read_sample(dataset, index)), indices.tolist()))


def drawn(number: int, most: int) -> npt.NDArray[np.intp]:
    """At most ``most`` different numbers below ``number`` in ascending order, drawn at random, always the same ones."""
    return np.sort(np.random.default_rng(0).permutation(number)[:most])


def count_classes(dataset: PanopticDataset, measured: Sequence[MeasuredImage] | None = None) -> npt.NDArray[np.int32]:
    """The segments, without crowds, of each category in each image (images, categories).

    For a data set that does not list them, they are those of its ``measured`` images.
    """
    if isinstance(dataset, ListedDataset):
        return dataset.class_counts()
    images = measure_images(dataset) if measured is None else measured
    ids = [(*image.shapes.category_ids.tolist(), *image.stuff_ids.tolist()) for image in images]
    return np.array([[row.count(category.id) for category in dataset.categories] for row in ids], dtype=np.int32)


def joined(columns: Iterable[npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The arrays of all images as one; there is at least one image."""
    return np.concatenate(list(columns))
