"""Samplers, batching and worker processes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.transforms import Augmentation, resize_image, size_for, to_target
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Target

T = TypeVar("T")


@dataclass(frozen=True)
class Batch:
    """Training images (each (3, H, W) uint8), their targets, and the files they came from."""

    images: list[Tensor]
    targets: list[Target]
    names: list[str]


@dataclass(frozen=True)
class Case:
    """One evaluation image: resized for the network (3, H, W) uint8, as read, and with its truth."""

    image_id: int
    file_name: str
    image: Tensor
    original: Tensor
    truth: PanopticMap


def training_batches(
    dataset: CocoPanoptic, augmentation: Augmentation, batch_size: int, seed: int, workers: int = 0, start: int = 0
) -> Iterator[Batch]:
    """Batches without end, from batch number ``start`` on.

    What a batch holds depends on ``seed``, ``batch_size`` and its number alone, not on the workers.
    """
    batches = _AspectRatioBatches([image.size for image in dataset.images], batch_size, seed, start)
    for samples in _load(_Training(dataset, augmentation, seed), batches, workers):
        images, targets, names = zip(*samples, strict=True)
        yield Batch(list(images), list(targets), list(names))


def evaluation_cases(dataset: CocoPanoptic, short_side: int, long_side: int, workers: int = 0) -> Iterator[Case]:
    """Every image of the data set once, in its order."""
    singles = [[index] for index in range(len(dataset))]
    for [case] in _load(_Evaluation(dataset, short_side, long_side), singles, workers):
        yield case


class _AspectRatioBatches(Sampler[list[tuple[int, int]]]):
    """Batches of (position in the stream, index) of images that are all wide or all tall.

    Every epoch is a fresh permutation; what fills no batch at its end waits for the next.
    """

    def __init__(self, sizes: Sequence[tuple[int, int]], batch_size: int, seed: int, start: int) -> None:
        self._is_wide = [width > height for height, width in sizes]
        self._batch_size, self._seed, self._start = batch_size, seed, start

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        waiting: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
        epoch, number = 0, 0
        while True:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self._is_wide)).tolist()
            for i, index in enumerate(order):
                bucket = waiting[self._is_wide[index]]
                bucket.append((epoch * len(order) + i, index))
                if len(bucket) == self._batch_size:
                    if number >= self._start:
                        yield bucket.copy()
                    bucket.clear()
                    number += 1
            epoch += 1


class _Training(Dataset[tuple[Tensor, Target, str]]):
    def __init__(self, dataset: CocoPanoptic, augmentation: Augmentation, seed: int) -> None:
        self._dataset, self._augmentation, self._seed = dataset, augmentation, seed

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, Target, str]:
        position, index = item
        sample = self._dataset[index]
        rng = np.random.default_rng([self._seed, position, index])
        image, ids = self._augmentation(sample.image, sample.panoptic.segment_ids, rng)
        panoptic = PanopticMap.measured(ids, sample.panoptic.segments)
        return image, to_target(panoptic, self._dataset.categories), sample.file_name


class _Evaluation(Dataset[Case]):
    def __init__(self, dataset: CocoPanoptic, short_side: int, long_side: int) -> None:
        self._dataset, self._sides = dataset, (short_side, long_side)

    def __getitem__(self, index: int) -> Case:
        sample = self._dataset[index]
        size = sample.image.shape[1], sample.image.shape[2]
        resized = resize_image(sample.image, size_for(size, *self._sides))
        return Case(sample.image_id, sample.file_name, resized, sample.image, sample.panoptic)


class _Guarded(Dataset[T | PanopticBlendError]):
    """Hands errors over as items, so that they reach the user as they are and not as a worker's traceback."""

    def __init__(self, dataset: Dataset[T]) -> None:
        self._dataset = dataset

    def __getitem__(self, item: int) -> T | PanopticBlendError:
        try:
            return self._dataset[item]
        except PanopticBlendError as error:
            return error


def _load(dataset: Dataset[T], batches: Iterable[list[Any]], workers: int) -> Iterator[list[T]]:
    """The items of each batch of keys, fetched by ``workers`` processes, one a core at most (0: by this one)."""
    loader = DataLoader(
        _Guarded(dataset),
        batch_sampler=batches,
        num_workers=min(workers, os.cpu_count() or 1),
        collate_fn=list,
        worker_init_fn=_single_threaded,
    )
    for items in loader:
        for item in items:
            if isinstance(item, PanopticBlendError):
                raise item
        yield items


def _single_threaded(worker: int) -> None:
    """Workers share the processor with training: each keeps to one core."""
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
