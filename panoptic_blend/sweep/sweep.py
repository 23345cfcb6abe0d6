"""Evaluate a grid of fusion settings on a `FusionCache`, choose the best one, and estimate how certain its gain is."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import numpy.typing as npt
from torch.utils.data import Dataset

from panoptic_blend.config.experiment import Config
from panoptic_blend.data.protocol import PanopticDataset
from panoptic_blend.data.workers import ErrorsAsItems, WorkersOption, load
from panoptic_blend.failures import doing
from panoptic_blend.formats.categories import Categories
from panoptic_blend.machine import cores
from panoptic_blend.metrics.details import Tallies
from panoptic_blend.metrics.panoptic_quality import GROUPS
from panoptic_blend.metrics.resampling import compare_results
from panoptic_blend.structures import PanopticBlendError, Progress
from panoptic_blend.sweep.cache import FusionCache
from panoptic_blend.sweep.grid import Grid, MatchCounts, Setting, count_matches, published_settings, scaled_stuff_area

Floats = npt.NDArray[np.float64]
Objective = Literal["pq", "things", "stuff"]

CURRENT, BEST = "current", "best"
"""Names of the highlights that every sweep has."""

RESAMPLES = 2000
"""Number of bootstrap resamples of the images."""

_CHUNK = 8
"""Maximum number of images in a task of a worker."""

_WORKERS = WorkersOption("--workers", 1, "fusing process")


@dataclass(frozen=True)
class Highlight:
    """A setting of special interest, with its PQ, as fractions, in each of `GROUPS`; NaN where nothing is to be scored.

    ``gain`` is its PQ minus that of the current setting, in the ``group`` of the `Sweep`, and ``low`` to ``high`` the
    95 % bootstrap interval of the gain.
    """

    name: str
    setting: Setting
    pq: tuple[float, float, float]
    gain: float
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class Sweep:
    """The result of a sweep: ``pq`` (confidences, overlaps, stuff areas, 3), as fractions, in each of `GROUPS`.

    ``group`` is the one in which the best setting has the highest PQ, see `sweep`.
    ``images`` is the number of images. ``held_out_gain`` is the gain over the current setting if each half of the
    images is fused with the setting that is best on the other half.
    """

    grid: Grid
    pq: Floats
    highlights: list[Highlight]
    group: str
    images: int
    held_out_gain: float

    def highlight(self, name: str) -> Highlight:
        """The highlight with this name; KeyError if there is none."""
        return {highlight.name: highlight for highlight in self.highlights}[name]


def sweep(
    cache: FusionCache,
    dataset: PanopticDataset,
    config: Config,
    workers: int | None = None,
    progress: Progress | None = None,
    grid: Grid | None = None,
    objective: Objective = "pq",
) -> Sweep:
    """Compute PQ for every setting of a grid, and choose the best one.

    Args:
        config: the config of the model; its ``model.fusion`` is the current setting.
        workers: number of processes; by default, and at most, one per core. 1: only this process.
        progress: called with the number of images done and the total number.
        grid: the settings to try, which must include the current one; by default `Grid.around` it.
        objective: the best setting is that with the highest PQ of all classes (without a semantic head: of things), of
            things, or of stuff.

    Raises:
        PanopticBlendError: the objective is stuff, and the model has no semantic head, or no class is of the objective.
    """
    categories, has_stuff = dataset.categories, config.model.semantic.enabled
    if objective == "stuff" and not has_stuff:
        raise PanopticBlendError("objective stuff: the model has no semantic head; choose things")
    if objective != "pq" and not any(category.is_thing == (objective == "things") for category in categories):
        raise PanopticBlendError(f"objective {objective}: the data set has no class of {objective}; choose pq")
    current, area = Setting.from_options(config.model.fusion), scaled_stuff_area(dataset.images.sizes)
    grid = grid or Grid.around(current, area, has_stuff)
    settings, group = grid.settings(), {"pq": 0 if has_stuff else 1, "things": 1, "stuff": 2}[objective]
    current_index = settings.index(current)

    halves = np.zeros((2, len(settings), len(categories), 5))
    pool = _WorkerPool(cache, categories, workers or cores())
    number_of_chunks = 2 * math.ceil(len(cache) / (2 * _CHUNK))
    chunks = [range(start, len(cache), number_of_chunks) for start in range(number_of_chunks)]
    for number, counts in enumerate(pool.count(settings, chunks, progress)):
        halves[number % 2] += counts
    pq = qualities(MatchCounts(halves.sum(axis=0)).statistics(), categories)
    best = best_index(pq[:, group], grid, current_index)

    highlighted = {CURRENT: current, **published_settings(area), BEST: settings[best]}
    return Sweep(
        grid=grid,
        pq=pq.reshape(*grid.shape, 3),
        highlights=_highlights(pool, highlighted, group),
        group=GROUPS[group],
        images=len(cache),
        held_out_gain=float(held_out_pq(halves, categories, group, grid, current_index) - pq[current_index, group]),
    )


def qualities(statistics: Floats, categories: Categories) -> Floats:
    """PQ (..., 3) in each of `GROUPS`, equal to that of `PanopticQuality` to the last bit; NaN over nothing.

    Args:
        statistics: sum of IoUs, TP, FP and FN (..., classes, 4).
    """
    iou_sum, tp, fp, fn = np.moveaxis(statistics, -1, 0)
    weight = tp + fp / 2 + fn / 2
    is_seen = weight > 0
    of_class = iou_sum / np.where(is_seen, weight, 1)
    is_thing = np.array([category.is_thing for category in categories])
    outer, columns = is_seen.shape[:-1], []
    for members in (np.ones_like(is_thing), is_thing, ~is_thing):
        rows = of_class[..., members].reshape(math.prod(outer), members.sum()).tolist()
        sums = np.array([math.fsum(row) for row in rows]).reshape(outer)
        number = is_seen[..., members].sum(axis=-1)
        columns.append(np.where(number > 0, sums / np.maximum(number, 1), np.nan))
    return np.stack(columns, axis=-1)


def gain_intervals(per_image: Floats, categories: Categories, group: int, seed: int = 0) -> Floats:
    """95 % intervals (M, 2) of the gains in PQ of M settings over the first one, by `compare_results`.

    Args:
        per_image: statistics (images, M, classes, 4), as in `qualities`.
        group: index of the group in `GROUPS`.
        seed: seed of the resamples, which are the same for all settings.
    """
    tallies = [_tallies(statistics, categories) for statistics in np.moveaxis(per_image, 1, 0)]
    compared = [compare_results(tallies[0], other, resamples=RESAMPLES, seed=seed) for other in tallies]
    intervals = [comparison.groups[GROUPS[group]] for comparison in compared]
    return np.array([(interval.low, interval.high) for interval in intervals])


def _tallies(statistics: Floats, categories: Categories) -> Tallies:
    """The statistics (images, classes, 4) of one setting as `Tallies`."""
    iou_sum, tp, fp, fn = np.moveaxis(statistics, -1, 0)
    return Tallies(tuple(range(len(statistics))), tuple(categories), iou_sum, tp, fp, fn)


def judge(
    cache: FusionCache,
    dataset: PanopticDataset,
    settings: Mapping[str, Setting],
    group: str,
    workers: int | None = None,
) -> list[Highlight]:
    """PQ of a few settings by name, and what each gains over the first in ``group``, one of `GROUPS`."""
    return _highlights(_WorkerPool(cache, dataset.categories, workers or cores()), settings, GROUPS.index(group))


def _highlights(pool: _WorkerPool, highlighted: Mapping[str, Setting], group: int) -> list[Highlight]:
    categories = pool.categories
    singles = [[index] for index in range(len(pool.cache))]
    per_image = np.stack(list(pool.count(list(highlighted.values()), singles)))
    pq = qualities(MatchCounts(per_image.sum(axis=0)).statistics(), categories)
    gains = pq[:, group] - pq[0, group]
    intervals = gain_intervals(MatchCounts(per_image).statistics(), categories, group)
    return [
        Highlight(name, setting, (values[0], values[1], values[2]), gain, low, high)
        for (name, setting), values, gain, (low, high) in zip(
            highlighted.items(), pq.tolist(), gains.tolist(), intervals.tolist(), strict=True
        )
    ]


def best_index(pq: Floats, grid: Grid, current: int) -> int:
    """The index of the setting with the highest ``pq`` (settings,).

    Ties go to the setting that is the fewest grid steps away from that with index ``current``. NaN counts as 0.
    """
    pq = np.nan_to_num(pq)
    ties = np.flatnonzero(pq == pq.max())
    steps = np.array(np.unravel_index(ties, grid.shape)) - np.array(np.unravel_index([current], grid.shape))
    return int(ties[np.abs(steps).sum(axis=0).argmin()])


def held_out_pq(halves: Floats, categories: Categories, group: int, grid: Grid, current: int) -> float:
    """PQ of all images if each half is fused with the setting that is best on the other half.

    Args:
        halves: counts (2, settings, classes, 5) of the two halves, see `MatchCounts`.
        group: index of the group in `GROUPS`.
        current: index of the current setting, for ties.
    """
    pq = qualities(MatchCounts(halves).statistics(), categories)[..., group]
    counts = halves[0, best_index(pq[1], grid, current)] + halves[1, best_index(pq[0], grid, current)]
    return float(qualities(MatchCounts(counts).statistics(), categories)[group])


@dataclass(frozen=True)
class _WorkerPool:
    """Processes that count the matches of settings on images of the cache."""

    cache: FusionCache
    categories: Categories
    workers: int

    def count(
        self, settings: list[Setting], chunks: Sequence[Sequence[int]], progress: Progress | None = None
    ) -> Iterator[Floats]:
        """For each chunk of image indices, the counts (settings, classes, 5) summed over its images."""
        counts = ErrorsAsItems(_Chunks(self.cache, self.categories, settings, chunks))
        singles = [[number] for number in range(len(chunks))]
        loaded = load(counts, singles, min(self.workers, cores()), _WORKERS)
        done = 0
        for chunk, [item] in zip(chunks, loaded, strict=True):
            done += len(chunk)
            if progress:
                progress(done, len(self.cache))
            yield item.value


@dataclass(frozen=True)
class _Chunks(Dataset[Floats]):
    """The counts (settings, classes, 5) of each chunk, summed over its images."""

    cache: FusionCache
    categories: Categories
    settings: list[Setting]
    chunks: Sequence[Sequence[int]] = field(repr=False)

    def __getitem__(self, number: int) -> Floats:
        counts = np.zeros((len(self.settings), len(self.categories), 5))
        with doing("fusing", lower=_WORKERS.name):
            for sample in self.cache.read(self.chunks[number]):
                counts += count_matches(sample, self.settings, self.categories).counts
        return counts
