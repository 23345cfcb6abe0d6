"""PQ over settings of fusion, from a `FusionCache`: the order of events."""

from __future__ import annotations

import math
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from torch.utils.data import DataLoader, Dataset

from panoptic_blend.config.experiment import Config
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.formats.categories import Categories
from panoptic_blend.machine import cores
from panoptic_blend.metrics.details import Tallies
from panoptic_blend.metrics.panoptic_quality import GROUPS
from panoptic_blend.metrics.resampling import compare_results
from panoptic_blend.structures import Progress
from panoptic_blend.sweep.cache import FusionCache
from panoptic_blend.sweep.grid import Grid, Outcomes, Setting, outcomes, usual_settings, usual_stuff_area

Floats = npt.NDArray[np.float64]

PRESENT, BEST = "present", "best"
RESAMPLES = 2000

_CHUNK = 8
"""Images that a worker does at a time."""


@dataclass(frozen=True)
class Mark:
    """A setting that is looked at closely; ``pq`` by `GROUPS`, fractions.

    ``gain`` is its PQ less that of the present setting, in the group of `Sweep`, and ``low`` to ``high`` the interval
    of 95 % around it.
    """

    name: str
    setting: Setting
    pq: tuple[float, float, float]
    gain: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Sweep:
    """PQ over a grid: ``pq`` (confidences, overlaps, stuff areas, 3) by `GROUPS`, fractions.

    ``group`` is the one by which the best is chosen: All, or Things for a model without semantics. ``held_out`` is the
    gain over the present setting if each half of the images is fused with the setting that is best on the other half.
    """

    grid: Grid
    pq: Floats
    marks: list[Mark]
    group: str
    images: int
    held_out: float

    def mark(self, name: str) -> Mark:
        """The mark of that name; KeyError where there is none."""
        return {mark.name: mark for mark in self.marks}[name]


def sweep(
    cache: FusionCache,
    dataset: PanopticDataset,
    config: Config,
    workers: int | None = None,
    progress: Progress | None = None,
    grid: Grid | None = None,
) -> Sweep:
    """PQ of every setting of a grid, which one is best, and how sure that is.

    Args:
        config: of the model; its ``model.fusion`` is the present setting.
        workers: processes; by default, and at most, one for each core. 1: this one alone.
        progress: called with the images done and their number.
        grid: what to try, the present setting included; by default `Grid.around` it.
    """
    categories, has_stuff = dataset.categories, config.model.semantic.enabled
    present, area = Setting.from_options(config.model.fusion), usual_stuff_area(dataset.images.sizes)
    grid = grid or Grid.around(present, area, has_stuff)
    settings, group = grid.settings(), 0 if has_stuff else 1
    home = settings.index(present)

    halves = np.zeros((2, len(settings), len(categories), 5))
    crew = _Crew(cache, categories, workers or cores())
    parts = 2 * math.ceil(len(cache) / (2 * _CHUNK))
    chunks = [range(start, len(cache), parts) for start in range(parts)]
    for number, counts in enumerate(crew.run(settings, chunks, progress)):
        halves[number % 2] += counts
    pq = qualities(Outcomes(halves.sum(axis=0)).parts(), categories)
    best = best_of(pq[:, group], grid, home)

    marked = {PRESENT: present, **usual_settings(area), BEST: settings[best]}
    singles = [[index] for index in range(len(cache))]
    per_image = np.stack(list(crew.run(list(marked.values()), singles)))
    marks = _marks(marked, per_image, categories, group)
    held_out = held_out_pq(halves, categories, group, grid, home) - pq[home, group]
    return Sweep(grid, pq.reshape(*grid.shape, 3), marks, GROUPS[group], len(cache), float(held_out))


def qualities(parts: Floats, categories: Categories) -> Floats:
    """PQ (..., 3) by `GROUPS`, the very floats of `PanopticQuality`.

    Args:
        parts: sums of IoUs, TP, FP and FN (..., classes, 4).
    """
    iou_sum, tp, fp, fn = np.moveaxis(parts, -1, 0)
    weight = tp + fp / 2 + fn / 2
    is_seen = weight > 0
    of_class = iou_sum / np.where(is_seen, weight, 1)
    is_thing = np.array([category.is_thing for category in categories])
    columns = []
    for members in (np.ones_like(is_thing), is_thing, ~is_thing):
        rows = of_class[..., members].reshape(-1, members.sum()).tolist()
        sums = np.array([math.fsum(row) for row in rows]).reshape(is_seen.shape[:-1])
        columns.append(sums / np.maximum(is_seen[..., members].sum(axis=-1), 1))
    return np.stack(columns, axis=-1)


def gain_intervals(per_image: Floats, categories: Categories, group: int, seed: int = 0) -> Floats:
    """Intervals of 95 % (M, 2) of the gains in PQ of M settings over the first of them: see `compare_results`.

    Args:
        per_image: (images, M, classes, 4), as `qualities` takes them; the seed gives all settings the same resamples.
    """
    images = tuple(range(len(per_image)))
    tallies = [Tallies(images, tuple(categories), *np.moveaxis(parts, -1, 0)) for parts in np.moveaxis(per_image, 1, 0)]
    compared = [compare_results(tallies[0], other, resamples=RESAMPLES, seed=seed) for other in tallies]
    intervals = [comparison.groups[GROUPS[group]] for comparison in compared]
    return np.array([(interval.low, interval.high) for interval in intervals])


def _marks(marked: dict[str, Setting], per_image: Floats, categories: Categories, group: int) -> list[Mark]:
    pq = qualities(Outcomes(per_image.sum(axis=0)).parts(), categories)
    gains = pq[:, group] - pq[0, group]
    intervals = gain_intervals(Outcomes(per_image).parts(), categories, group)
    return [
        Mark(name, setting, (values[0], values[1], values[2]), gain, low, high)
        for (name, setting), values, gain, (low, high) in zip(
            marked.items(), pq.tolist(), gains.tolist(), intervals.tolist(), strict=True
        )
    ]


def best_of(pq: Floats, grid: Grid, home: int) -> int:
    """The number of the setting with the largest PQ (settings,); of equals that with the fewest steps from ``home``."""
    equals = np.flatnonzero(pq == pq.max())
    steps = np.array(np.unravel_index(equals, grid.shape)) - np.array(np.unravel_index([home], grid.shape))
    return int(equals[np.abs(steps).sum(axis=0).argmin()])


def held_out_pq(halves: Floats, categories: Categories, group: int, grid: Grid, home: int) -> float:
    """PQ of all images, each half of them with the setting that is best on the other half."""
    pq = qualities(Outcomes(halves).parts(), categories)[..., group]
    counts = halves[0, best_of(pq[1], grid, home)] + halves[1, best_of(pq[0], grid, home)]
    return float(qualities(Outcomes(counts).parts(), categories)[group])


@dataclass(frozen=True)
class _Crew:
    """Processes that count the outcomes of settings on images of the cache."""

    cache: FusionCache
    categories: Categories
    workers: int

    def run(
        self, settings: list[Setting], chunks: Sequence[Sequence[int]], progress: Progress | None = None
    ) -> Iterator[Floats]:
        """The sum of the counts (settings, classes, 5) of the images of each chunk."""
        workers = min(self.workers, cores())
        loader = DataLoader(
            _Chunks(self.cache, self.categories, settings, chunks),
            batch_size=None,
            num_workers=workers if workers > 1 else 0,
            collate_fn=_as_it_is,
            worker_init_fn=_leave_interrupts,
        )
        done = 0
        for chunk, counts in zip(chunks, loader, strict=True):
            done += len(chunk)
            if progress:
                progress(done, len(self.cache))
            yield counts


@dataclass(frozen=True)
class _Chunks(Dataset[Floats]):
    cache: FusionCache
    categories: Categories
    settings: list[Setting]
    chunks: Sequence[Sequence[int]] = field(repr=False)

    def __len__(self) -> int:
        return len(self.chunks)

    def __getitem__(self, number: int) -> Floats:
        counts = np.zeros((len(self.settings), len(self.categories), 5))
        for case in self.cache.read(self.chunks[number]):
            counts += outcomes(case, self.settings, self.categories).counts
        return counts


def _as_it_is(counts: Any) -> Any:
    return counts


def _leave_interrupts(worker: int) -> None:
    """Ctrl-C is for the process that workers work for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
