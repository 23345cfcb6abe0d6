"""Measure how many training samples one worker process delivers on one core, and the time of each step.

    python -m evaluation.loader_speed --data datasets/coco

A split with panoptic and with instance annotation is measured with each. Exits non-zero below 90 samples per second of
CPU time, in this process or in one worker of a DataLoader. Wall time is also shown; on an idle machine the two agree.
Sizes, crops and flips are those of the configs for COCO.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import cv2
import torch
from rich.console import Console
from rich.table import Table

from panoptic_blend.config.experiment import Config
from panoptic_blend.data.dataset import CocoPanoptic, to_tensor
from panoptic_blend.data.instances import CocoInstances
from panoptic_blend.data.loader import Batch, training_batches
from panoptic_blend.data.regions import Regions
from panoptic_blend.data.targets import target_of_instances, target_of_segments
from panoptic_blend.data.transforms import Augmentation, resize_ids, resize_image
from panoptic_blend.deploy.resizing import size_for
from panoptic_blend.formats.images import read_segment_ids
from panoptic_blend.structures import PanopticMap
from panoptic_blend.terminal import right_aligned

T = TypeVar("T")

TARGET = 90
"""Samples per second that one core must deliver."""

KINDS = "panoptic", "instances"
"""The annotations of a split."""

_WARM_UP = 4
"""Batches that are not counted: more than a worker prepares in advance."""


@dataclass(frozen=True)
class Cost:
    """Seconds of CPU time and of wall time, per sample unless stated otherwise."""

    name: str
    cpu: float
    wall: float

    @property
    def rate(self) -> float:
        """Samples per second of CPU time."""
        return 1 / self.cpu


def main() -> None:
    """Measure, print, and exit non-zero if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("datasets/coco"), help="root of a COCO data set")
    parser.add_argument("--split", default="val2017")
    parser.add_argument("--batches", type=int, default=20)
    parser.add_argument("--batch-size", type=int, default=16)
    options = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    rates = [measure(dataset, options.batches, options.batch_size) for dataset in datasets(options.data, options.split)]
    sys.exit(int(min(rates) < TARGET))


def datasets(root: Path, split: str) -> list[CocoPanoptic | CocoInstances]:
    """The split with its panoptic annotation, with its instances, or both."""
    has_panoptic, has_instances = ((root / "annotations" / f"{kind}_{split}.json").exists() for kind in KINDS)
    found: list[CocoPanoptic | CocoInstances] = [CocoInstances(root, split)] if has_instances else []
    return [CocoPanoptic(root, split), *found] if has_panoptic or not found else found


def measure(dataset: CocoPanoptic | CocoInstances, batches: int, batch_size: int) -> float:
    """Measure one data set and print the figures; return the samples per second."""
    steps = measure_steps(dataset, batches * batch_size)
    alone, _ = measure_batches(dataset, batches, batch_size, workers=0)
    worker, main_process = measure_batches(dataset, batches, batch_size, workers=1)
    Console().print(table(steps, alone, worker, dataset.name))
    print(
        f"main process, per batch of {batch_size}: {1000 * main_process.cpu:.1f} ms to receive it from a worker and to "
        "read it once"
    )
    slowest = min(alone, worker, key=lambda cost: cost.rate)
    print(f"{dataset.name}: {slowest.name}: {slowest.rate:.0f} samples per second and core, target {TARGET}")
    return slowest.rate


def coco_augmentation() -> Augmentation:
    """The augmentation of the configs for COCO."""
    return Augmentation.from_options(Config().data)


class Stopwatch:
    """Adds up CPU and wall time of all calls with the same name."""

    def __init__(self) -> None:
        self.spent: dict[str, tuple[float, float]] = {}

    def __call__(self, name: str, run: Callable[[], T]) -> T:
        """Run a function and add its time."""
        cpu, wall = time.process_time(), time.perf_counter()
        result = run()
        before = self.spent.get(name, (0.0, 0.0))
        self.spent[name] = before[0] + time.process_time() - cpu, before[1] + time.perf_counter() - wall
        return result


def measure_steps(dataset: CocoPanoptic | CocoInstances, samples: int) -> list[Cost]:
    """The mean cost of every step that makes a sample, each timed by itself; the short sides are used in turn."""
    augmentation, watch = coco_augmentation(), Stopwatch()
    make: Any = _make_sample if isinstance(dataset, CocoPanoptic) else _make_sample_of_instances
    for number in range(len(dataset)):  # uncounted, so that the files are in the operating system's cache
        make(dataset, number, augmentation, Stopwatch())
    for number in range(samples):
        make(dataset, number, augmentation, watch)
    return [Cost(name, cpu / samples, wall / samples) for name, (cpu, wall) in watch.spent.items()]


def _make_sample(dataset: CocoPanoptic, number: int, augmentation: Augmentation, watch: Stopwatch) -> None:
    """Make sample ``number`` by the steps of the loader, each timed."""
    index = number % len(dataset)
    image, segments = dataset.images[index], dataset.images[index].annotation.segments
    short_side = augmentation.short_sides[number // 2 % len(augmentation.short_sides)]
    size = size_for(image.size, short_side, augmentation.long_side)
    picture = watch("read and decode the JPEG", lambda: to_tensor(dataset.picture(index)))
    ids = watch("read and decode the PNG", lambda: read_segment_ids(dataset.paths.maps / image.annotation.png))
    panoptic = watch("measure the segments", lambda: PanopticMap.measured(ids, segments))
    numbers = watch("number the segments", panoptic.index)
    resized = watch("resize the picture", lambda: resize_image(picture, size))
    large = watch("resize the map", lambda: resize_ids(numbers, size))
    watch("flip half of the samples", lambda: (resized.flip(2), cv2.flip(large, 1)) if number % 4 in (1, 2) else None)
    watch("target", lambda: target_of_segments(Regions([large], segments), dataset.categories))


def _make_sample_of_instances(
    dataset: CocoInstances, number: int, augmentation: Augmentation, watch: Stopwatch
) -> None:
    """Make sample ``number`` by the steps of the loader, each timed."""
    index = number % len(dataset)
    short_side = augmentation.short_sides[number // 2 % len(augmentation.short_sides)]
    size = size_for(dataset.images.sizes[index], short_side, augmentation.long_side)
    picture = watch("read and decode the JPEG", lambda: to_tensor(dataset.picture(index)))
    truth = watch("rasterize the masks", lambda: dataset.truth(index))
    regions = watch("paint the layers", lambda: Regions.of_instances(truth))
    resized = watch("resize the picture", lambda: resize_image(picture, size))
    large = watch("resize the layers", lambda: [resize_ids(layer, size) for layer in regions.layers])
    is_flipped = number % 4 in (1, 2)
    watch(
        "flip half of the samples",
        lambda: (resized.flip(2), [cv2.flip(layer, 1) for layer in large]) if is_flipped else None,
    )
    boxes = truth.corners()
    transformed = Regions(large, regions.segments)
    watch("target", lambda: target_of_instances(transformed, boxes, dataset.categories))


def measure_batches(
    dataset: CocoPanoptic | CocoInstances, count: int, batch_size: int, workers: int
) -> tuple[Cost, Cost]:
    """The cost of a sample in the process that makes it, and of a batch in this process, which reads it once."""
    batches = training_batches(dataset, coco_augmentation(), batch_size, seed=0, workers=workers)
    for _ in range(_WARM_UP):
        next(batches)
    [clock] = [_clock_of(child.pid) for child in multiprocessing.active_children()] or [time.CLOCK_PROCESS_CPUTIME_ID]
    cpu, own_cpu, wall = time.clock_gettime(clock), time.process_time(), time.perf_counter()
    for _ in range(count):
        batch = next(batches)
        if workers:
            _read(batch)
    cpu, own_cpu, wall = time.clock_gettime(clock) - cpu, time.process_time() - own_cpu, time.perf_counter() - wall
    samples = count * batch_size
    name = "in one DataLoader worker" if workers else "in this process"
    return Cost(name, cpu / samples, wall / samples), Cost("main process", own_cpu / count, wall / count)


def _read(batch: Batch) -> None:
    """Read every page of a batch, as moving it to a device would."""
    for image in batch.images:
        image.clone()
    for target in batch.targets:
        target["instance_map"].clone()
        target["thing_semantic"].clone()
        if "semantic" in target:
            target["semantic"].clone()


def _clock_of(process: int | None) -> int:
    """The id of Linux's clock of another process's CPU time, as ``clock_getcpuclockid`` computes it in C."""
    assert process is not None
    return (~process << 3) | 2


def table(steps: Sequence[Cost], alone: Cost, worker: Cost, source: str) -> Table:
    """A table of the steps and their shares, of a sample in one process, and of its transfer to another process."""
    rest = [getattr(alone, kind) - sum(getattr(step, kind) for step in steps) for kind in ("cpu", "wall")]
    transfer = Cost("transfer between processes", worker.cpu - alone.cpu, worker.wall - alone.wall)
    result = right_aligned(
        "", "CPU ms", "wall ms", "share", "samples/s", title=f"one training sample of {source}, one core"
    )
    for cost in (*steps, Cost("everything else", *rest), alone, transfer, worker):
        is_whole = cost in (alone, worker)
        times = f"{1000 * cost.cpu:.2f}", f"{1000 * cost.wall:.2f}", f"{cost.cpu / worker.cpu:.0%}"
        result.add_row(cost.name, *times, f"{cost.rate:.0f}" if is_whole else "", end_section=is_whole)
    return result


if __name__ == "__main__":
    main()
