"""Training batches and evaluation samples, loaded by worker processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain, count, pairwise

import numpy as np
import numpy.typing as npt
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from panoptic_blend.data.protocol import PanopticDataset, read_sample, require_panoptic
from panoptic_blend.data.repeats import repeat_factors, rounded
from panoptic_blend.data.training_samples import TrainingSample, TrainingSamples, named
from panoptic_blend.data.transforms import Augmentation, Resizing
from panoptic_blend.data.workers import ErrorsAsItems, Loaded, load
from panoptic_blend.instances import TrueInstances
from panoptic_blend.prediction.sharing import WHOLE, Shard
from panoptic_blend.structures import ImageId, PanopticMap, Size, Target

_MAX_SUBSTITUTES = 100
"""Maximum number of images that are tried instead of one that cannot be read."""


@dataclass(frozen=True)
class Batch:
    """A batch of training images (each (3, H, W) uint8) with their targets and file names.

    ``skipped`` has one line for each image that could not be read: another took its place, or nothing was pasted.
    """

    images: list[Tensor]
    targets: list[Target]
    names: list[str]
    skipped: list[str]

    def parts_of(self, most: int | None) -> list[tuple[list[Tensor], list[Target]]]:
        """Split images and targets into as few parts of at most ``most`` images as possible; None does not split."""
        return self.parts(-(-len(self.images) // (most or len(self.images))))

    def parts(self, number: int) -> list[tuple[list[Tensor], list[Target]]]:
        """Split images and targets into ``number`` parts of about equal size."""
        ends = [len(self.images) * i // number for i in range(number + 1)]
        return [(self.images[a:b], self.targets[a:b]) for a, b in pairwise(ends)]


@dataclass(frozen=True)
class EvaluationSample:
    """One evaluation image with its ground truth.

    ``image`` (3, h, w) uint8 is resized for the network, ``original`` (3, H, W) uint8 is the image as read.
    ``truth`` and ``instances`` are ``panoptic`` and ``instances`` of the `Sample`.
    """

    image_id: ImageId
    file_name: str
    image: Tensor
    original: Tensor
    truth: PanopticMap | None
    instances: TrueInstances | None = None

    @property
    def size(self) -> Size:
        """Height and width of the image as read."""
        return self.original.shape[1], self.original.shape[2]

    def panoptic_truth(self) -> PanopticMap:
        """``truth``, for what cannot do without.

        Raises:
            PanopticBlendError: the data set has no panoptic annotation.
        """
        return require_panoptic(self.truth, self.file_name)


def training_batches(
    dataset: PanopticDataset,
    augmentation: Augmentation,
    batch_size: int,
    seed: int,
    *,
    workers: int = 0,
    start: int = 0,
    shard: Shard = WHOLE,
    repeat_threshold: float = 0.0,
    skip: bool = False,
    pin: bool = False,
) -> Iterator[Batch]:
    """Endless training batches, starting at batch number ``start``; only this process's ``shard`` of each batch.

    The content of a batch depends only on the data set, the augmentation, ``batch_size``, ``seed``,
    ``repeat_threshold`` and the number of the batch, not on the workers.

    Args:
        workers: number of loading processes, at most one per core; 0 loads in this process.
        repeat_threshold: that of `repeat_factors`; 0 takes every image once per epoch.
        skip: replace an image that cannot be read by another one; if its things were to be pasted, paste nothing.
        pin: for training on a GPU: prefetch one batch, with images and targets in pinned memory.

    Raises:
        PanopticBlendError: an image cannot be read and ``skip`` is false, or its substitutes cannot be read either; a
            loading process fails; or the data set lists no classes and ``repeat_threshold`` is not 0.
    """
    sizes = dataset.images.sizes
    factors = repeat_factors(dataset, repeat_threshold) if repeat_threshold else None
    batches = _AspectRatioBatches(sizes, batch_size, seed, start, shard, factors)
    samples = TrainingSamples(dataset, augmentation, seed, skip)
    source = ErrorsAsItems(samples, _Substitutes(seed, len(sizes)) if skip else None)
    loaded = map(_to_batch, load(source, batches, workers, pin=pin))
    return _prefetched(loaded) if pin else loaded


def _to_batch(loaded: Sequence[Loaded[TrainingSample]]) -> Batch:
    images, targets, names, problems = zip(*(x.value for x in loaded), strict=True)
    skipped = [line for x, own in zip(loaded, problems, strict=True) for line in (*x.problems, *own)]
    return Batch(list(images), list(targets), list(names), skipped)


def _prefetched(batches: Iterator[Batch]) -> Iterator[Batch]:
    """The same batches; a thread fetches the next one while the caller uses the current one."""
    with ThreadPoolExecutor(1) as thread:
        upcoming = thread.submit(next, batches, None)
        while batch := upcoming.result():
            upcoming = thread.submit(next, batches, None)
            yield batch


def evaluation_samples(
    dataset: PanopticDataset, resizing: Resizing, workers: int = 0, shard: Shard = WHOLE
) -> Iterator[EvaluationSample]:
    """Every image of the ``shard`` of a data set once, in order, resized for the network.

    Raises:
        PanopticBlendError: an image cannot be read, or a loading process fails.
    """
    singles = [[index] for index in shard.range_of(len(dataset))]
    for [loaded] in load(ErrorsAsItems(_EvaluationSamples(dataset, resizing)), singles, workers):
        yield loaded.value


class _AspectRatioBatches(Sampler[list[tuple[int, int]]]):
    """Batches in which all images are wide or none is; an item is (position in the stream of samples, image index).

    Every epoch is a new permutation of the images, each as often as `rounded` says of the ``factors`` (images,), or
    once. Images left over at its end go into batches of the next epoch.
    """

    def __init__(
        self,
        sizes: Sequence[tuple[int, int]],
        batch_size: int,
        seed: int,
        start: int,
        shard: Shard = WHOLE,
        factors: npt.NDArray[np.float64] | None = None,
    ) -> None:
        self._is_wide = np.array([width > height for height, width in sizes])
        self._batch_size, self._seed, self._start = batch_size, seed, start
        self._own, self._factors = shard.range_of(batch_size), factors

    def __iter__(self) -> Iterator[list[tuple[int, int]]]:
        buckets: dict[bool, list[tuple[int, int]]] = {False: [], True: []}
        number = 0
        for position, index in enumerate(chain.from_iterable(map(self._order, count()))):
            bucket = buckets[bool(self._is_wide[index])]
            bucket.append((position, index))
            if len(bucket) == self._batch_size:
                if number >= self._start:
                    yield bucket[self._own.start : self._own.stop]
                bucket.clear()
                number += 1

    def _order(self, epoch: int) -> list[int]:
        """The images of an epoch."""
        rng = np.random.default_rng([self._seed, epoch])
        images = np.arange(len(self._is_wide))
        if self._factors is not None:
            images = np.repeat(images, rounded(self._factors, rng))
        order: list[int] = rng.permutation(images).tolist()
        return order


class _EvaluationSamples(Dataset[EvaluationSample]):
    """Evaluation samples, by image index."""

    def __init__(self, dataset: PanopticDataset, resizing: Resizing) -> None:
        self._dataset, self._resizing = dataset, resizing

    def __getitem__(self, index: int) -> EvaluationSample:
        with named(self._dataset, index):
            sample = read_sample(self._dataset, index)
            truth = sample.panoptic, sample.instances
            resized = self._resizing(sample.image)
            return EvaluationSample(sample.image_id, sample.file_name, resized, sample.image, *truth)


@dataclass(frozen=True)
class _Substitutes:
    """Called with an item that cannot be read: yields items to try instead, from a data set of ``number`` images."""

    seed: int
    number: int

    def __call__(self, item: tuple[int, int]) -> Iterator[tuple[int, int]]:
        position, index = item
        order = np.random.default_rng([self.seed, position]).permutation(self.number).tolist()
        yield from ((position, other) for other in order[: _MAX_SUBSTITUTES + 1] if other != index)
