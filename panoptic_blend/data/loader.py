"""Samplers, batching and worker processes."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from itertools import chain, pairwise
from typing import Any, Generic, NamedTuple, TypeVar

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.data.transforms import Augmentation, PackedTarget, resize_image, size_for
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Runs, Target

T = TypeVar("T")

_SUBSTITUTES = 100
"""Images that are tried in the place of one that cannot be read, each once."""


@dataclass(frozen=True)
class Batch:
    """Training images (each (3, H, W) uint8), their targets, the files they came from, and why others were skipped."""

    images: list[Tensor]
    targets: list[Target]
    names: list[str]
    skipped: list[str]

    def parts(self, number: int) -> list[tuple[list[Tensor], list[Target]]]:
        """Images and targets in ``number`` parts of about equal size."""
        ends = [len(self.images) * i // number for i in range(number + 1)]
        return [(self.images[a:b], self.targets[a:b]) for a, b in pairwise(ends)]


@dataclass(frozen=True)
class EvaluationSample:
    """One evaluation image: resized for the network (3, H, W) uint8, as read, and with its truth."""

    image_id: int
    file_name: str
    image: Tensor
    original: Tensor
    truth: PanopticMap


@dataclass(frozen=True)
class Shard:
    """One of the processes that divide work: its number, from 0, and how many there are."""

    rank: int = 0
    count: int = 1

    def range_of(self, number: int) -> range:
        """Which of ``number`` consecutive things are its; the shares together are all of them, in order."""
        return range(number * self.rank // self.count, number * (self.rank + 1) // self.count)


WHOLE = Shard()


def training_batches(
    dataset: PanopticDataset,
    augmentation: Augmentation,
    batch_size: int,
    seed: int,
    *,
    workers: int = 0,
    start: int = 0,
    shard: Shard = WHOLE,
    skip: bool = False,
    pin: bool = False,
) -> Iterator[Batch]:
    """The ``shard`` of batches without end, from batch number ``start`` on.

    What a batch holds depends on ``seed``, ``batch_size`` and its number alone, not on the workers.

    Args:
        skip: put another image in the place of one that cannot be read; else that raises PanopticBlendError.
        pin: for a GPU: batches are made ready while it computes, in memory from which it can copy meanwhile.
    """
    sizes = dataset.images.sizes
    batches = _AspectRatioBatches(sizes, batch_size, seed, start, shard)
    source = _Guarded(_Training(dataset, augmentation, seed), _Substitutes(seed, len(sizes)) if skip else None)
    made = map(partial(_batch, pin), _load(source, batches, workers, pin))
    return _ahead(made) if pin else made


def _batch(pin: bool, loaded: Sequence[_Loaded[tuple[Tensor, PackedTarget, str]]]) -> Batch:
    images, packed, names = zip(*(x.value for x in loaded), strict=True)
    targets: list[Any] = [target.unpack() for target in packed]
    if pin:
        targets = [{name: value.pin_memory() for name, value in target.items()} for target in targets]
    return Batch(list(images), targets, list(names), [problem for x in loaded for problem in x.problems])


def _ahead(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; each is made by a thread while the one before it is used."""
    with ThreadPoolExecutor(1) as thread:
        coming = thread.submit(next, batches, None)
        while batch := coming.result():
            coming = thread.submit(next, batches, None)
            yield batch


def evaluation_samples(
    dataset: PanopticDataset, short_side: int, long_side: int, workers: int = 0, shard: Shard = WHOLE
) -> Iterator[EvaluationSample]:
    """The ``shard`` of the data set's images, each once, in its order."""
    singles = [[index] for index in shard.range_of(len(dataset))]
    for [loaded] in _load(_Guarded(_Evaluation(dataset, short_side, long_side)), singles, workers):
        yield loaded.value


class _AspectRatioBatches(Sampler[list[tuple[int, int]]]):
    """The share of batches of (position in the stream, index) of images that are all wide or all tall.

    Every epoch is a fresh permutation; what fills no batch at its end waits for the next.
    """

    def __init__(
        self, sizes: Sequence[tuple[int, int]], batch_size: int, seed: int, start: int, shard: Shard = WHOLE
    ) -> None:
        self._is_wide = np.array([width > height for height, width in sizes])
        self._batch_size, self._seed, self._start = batch_size, seed, start
        self._own = shard.range_of(batch_size)

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        waiting: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
        epoch, number = 0, 0
        while True:
            order = np.random.default_rng([self._seed, epoch]).permutation(len(self._is_wide)).tolist()
            for i, index in enumerate(order):
                bucket = waiting[bool(self._is_wide[index])]
                bucket.append((epoch * len(order) + i, index))
                if len(bucket) == self._batch_size:
                    if number >= self._start:
                        yield bucket[self._own.start : self._own.stop]
                    bucket.clear()
                    number += 1
            epoch += 1


class _Training(Dataset[tuple[Tensor, PackedTarget, str]]):
    def __init__(self, dataset: PanopticDataset, augmentation: Augmentation, seed: int) -> None:
        self._dataset, self._augmentation, self._seed = dataset, augmentation, seed

    def __getitem__(self, item: tuple[int, int]) -> tuple[Tensor, PackedTarget, str]:
        position, index = item
        sample = self._dataset[index]
        rng = np.random.default_rng([self._seed, position, index])
        image, numbers = self._augmentation(sample.image, sample.panoptic.index(), rng)
        target = PackedTarget.from_runs(Runs.from_pixels(numbers), sample.panoptic.segments, self._dataset.categories)
        return image, target, sample.file_name


class _Evaluation(Dataset[EvaluationSample]):
    def __init__(self, dataset: PanopticDataset, short_side: int, long_side: int) -> None:
        self._dataset, self._sides = dataset, (short_side, long_side)

    def __getitem__(self, index: int) -> EvaluationSample:
        sample = self._dataset[index]
        size = sample.image.shape[1], sample.image.shape[2]
        resized = resize_image(sample.image, size_for(size, *self._sides))
        return EvaluationSample(sample.image_id, sample.file_name, resized, sample.image, sample.panoptic)


class _Loaded(NamedTuple, Generic[T]):
    """An item, or the error there was instead, and what was wrong with those it stands for."""

    value: T
    problems: list[str]
    error: PanopticBlendError | None = None


@dataclass(frozen=True)
class _Substitutes:
    """What to try in the place of an image that cannot be read, of ``number``."""

    seed: int
    number: int

    def __call__(self, item: tuple[int, int]) -> Iterator[tuple[int, int]]:
        position, index = item
        order = np.random.default_rng([self.seed, position]).permutation(self.number).tolist()
        yield from ((position, other) for other in order[: _SUBSTITUTES + 1] if other != index)


class _Guarded(Dataset[_Loaded[T]]):
    """Hands errors over as items, so that they reach the user as they are and not as a worker's traceback."""

    def __init__(self, dataset: Dataset[T], substitute: _Substitutes | None = None) -> None:
        self._dataset, self._substitute = dataset, substitute

    def __getitem__(self, item: Any) -> _Loaded[T]:
        problems: list[str] = []
        for key in chain([item], self._substitute(item) if self._substitute else ()):
            try:
                return _Loaded(self._dataset[key], problems)
            except PanopticBlendError as error:
                problems.append(str(error))
        message = problems[0]
        if self._substitute:
            message = f"{len(problems)} pictures in a row cannot be read; `data check` tells which ({message})"
        return _Loaded(None, problems, PanopticBlendError(message))  # type: ignore[arg-type]


def _load(
    dataset: _Guarded[T], batches: Iterable[list[Any]], workers: int, pin: bool = False
) -> Iterator[list[_Loaded[T]]]:
    """The items of each batch of keys, fetched by ``workers`` processes, one a core at most (0: by this one)."""
    loader = DataLoader(
        dataset,
        batch_sampler=batches,
        num_workers=min(workers, os.cpu_count() or 1),
        collate_fn=list,
        worker_init_fn=_prepare_worker,
        pin_memory=pin,
    )
    iterator = iter(loader)
    while True:
        try:
            items = next(iterator)
        except StopIteration:
            return
        except RuntimeError as error:
            if "DataLoader worker" not in str(error):
                raise
            raise PanopticBlendError(
                "a loading process was killed, for want of memory perhaps; lower data.workers"
            ) from error
        for item in items:
            if item.error:
                raise item.error
        yield items


def _prepare_worker(worker: int) -> None:
    """Workers share the processor with training: each keeps to one core. Ctrl-C is for the process they work for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(0)
    torch.set_num_threads(1)
