"""The grid of fusion settings, and the matches of all settings on one image at once.

Fusion itself is in `postprocessing.fusion`; this module avoids repeated work. At one overlap threshold, the instances
painted at a higher confidence are the first of those painted at a lower one, and stuff never changes an instance. The
pixels that truth segments, painted instances and semantic classes have in common are therefore counted only once per
overlap threshold, and every setting is a selection from that table.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_blend.config.model_options import Fusion
from panoptic_blend.formats.categories import Categories
from panoptic_blend.metrics.overlaps import Comparison, match
from panoptic_blend.metrics.sparse import SparseTable
from panoptic_blend.postprocessing.fusion import becomes_stuff, paint_instances
from panoptic_blend.structures import Segment
from panoptic_blend.sweep.cache import FusionSample

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_COCO_PIXELS = 640 * 480
_HIGH = 2.0**26
_LOW = 2.0**27


@dataclass(frozen=True)
class Setting:
    """One combination of the options in ``model.fusion``."""

    confidence: float
    overlap: float
    stuff_area: int

    @classmethod
    def from_options(cls, options: Fusion) -> Setting:
        """The setting of a config."""
        return cls(options.confidence, options.overlap, options.stuff_area)

    def overrides(self) -> str:
        """The setting as overrides of a config, for the command line."""
        return " ".join(f"model.fusion.{name}={value}" for name, value in vars(self).items())


@dataclass(frozen=True)
class Grid:
    """All combinations of confidences, overlaps and stuff areas; the values of each rise."""

    confidences: tuple[float, ...]
    overlaps: tuple[float, ...]
    stuff_areas: tuple[int, ...]

    @classmethod
    def around(cls, current: Setting, stuff_area: int, has_stuff: bool = True) -> Grid:
        """The default grid, which includes the ``current`` setting.

        Confidences are 0.05, 0.1, ..., 0.95, overlaps 0, 0.1, ..., 1, and stuff areas multiples of ``stuff_area`` from
        0 to 4; without stuff only the current one.
        """
        areas = (
            {0, stuff_area // 4, stuff_area // 2, stuff_area, 2 * stuff_area, 4 * stuff_area} if has_stuff else set()
        )
        return cls(
            tuple(sorted({*(i / 20 for i in range(1, 20)), current.confidence})),
            tuple(sorted({*(i / 10 for i in range(11)), current.overlap})),
            tuple(sorted({*areas, current.stuff_area})),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """The number of confidences, overlaps and stuff areas."""
        return len(self.confidences), len(self.overlaps), len(self.stuff_areas)

    def settings(self) -> list[Setting]:
        """All combinations; stuff areas change fastest and confidences slowest."""
        return [Setting(*values) for values in itertools.product(self.confidences, self.overlaps, self.stuff_areas)]


def scaled_stuff_area(sizes: Sequence[tuple[int, int]]) -> int:
    """The stuff area of 4096 pixels, usual on COCO, scaled to images of other ``sizes`` by a power of two."""
    ratio = float(np.median([height * width for height, width in sizes])) / _COCO_PIXELS
    return max(1, round(4096 * 2.0 ** round(math.log2(ratio))))


def published_settings(stuff_area: int) -> dict[str, Setting]:
    """Settings of BlendMask's paper, its official code and detectron2, with ``stuff_area`` instead of 4096."""
    return {
        "paper": Setting(0.2, 0.4, stuff_area),
        "official code": Setting(0.45, 0.4, stuff_area),
        "detectron2": Setting(0.5, 0.5, stuff_area),
    }


@dataclass(frozen=True, eq=False)
class MatchCounts:
    """Matches and errors per class of the data set, summed over images.

    A matched IoU is at least 1/2, so as float64 it is a multiple of 2**-53. Sums of its two parts (see `split_ious`)
    are exact in any order, and ``iou_sum`` is rounded only once, as in `PanopticQuality`.
    """

    counts: Floats
    """(..., classes, 5): high and low part of the IoUs, true positives, false positives, false negatives."""

    @property
    def iou_sum(self) -> Floats:
        """Sums of the matched IoUs (..., classes)."""
        return self.counts[..., 0] / _HIGH + self.counts[..., 1] / (_HIGH * _LOW)

    def statistics(self) -> Floats:
        """(..., classes, 4): sum of IoUs, true positives, false positives, false negatives."""
        return np.concatenate([self.iou_sum[..., None], self.counts[..., 2:]], axis=-1)


def split_ious(ious: Floats) -> tuple[Floats, Floats]:
    """Split IoUs from 1/2 to 1 into two integers: the number of whole 2**-26, and the rest in units of 2**-53."""
    high = np.floor(ious * _HIGH)
    return high, (ious * _HIGH - high) * _LOW


def count_matches(sample: FusionSample, settings: Sequence[Setting], categories: Categories) -> MatchCounts:
    """Fuse one image with each of the settings and match it: counts of shape (settings, classes, 5)."""
    lowest = min(setting.confidence for setting in settings)
    by_overlap: defaultdict[float, list[int]] = defaultdict(list)
    for number, setting in enumerate(settings):
        by_overlap[setting.overlap].append(number)
    counts = np.zeros((len(settings), len(categories), 5))
    known: dict[tuple[tuple[int, ...], bytes], Floats] = {}
    matcher = _Matcher.from_sample(sample, categories)
    for overlap, numbers in by_overlap.items():
        painted = _PaintedInstances.from_sample(sample, lowest, overlap)
        for number in numbers:
            setting = settings[number]
            things = painted.count_at(setting.confidence)
            is_stuff = becomes_stuff(painted.classes, painted.free[things].sum(axis=0), setting.stuff_area)
            key = painted.rows[:things], is_stuff.tobytes()
            if key not in known:
                known[key] = matcher.counts(painted, things, is_stuff)
            counts[number] = known[key]
    return MatchCounts(counts)


@dataclass(frozen=True, eq=False)
class _PaintedInstances:
    """The P instances that are painted at one overlap threshold, and the pixels that they share with T truth segments.

    ``rows`` (P,) are their indices among the detections, ``scores`` (P,) their scores, and ``classes`` (Q,) the
    semantic classes in the image. ``things`` (T + 1, P) counts the pixels of each truth segment, or void at 0, in each
    instance. ``free[p]`` (T + 1, Q) counts those of each truth segment and class that the first p instances leave free.
    """

    rows: tuple[int, ...]
    scores: Floats
    classes: npt.NDArray[np.integer]
    things: Integers
    free: Integers

    @classmethod
    def from_sample(cls, sample: FusionSample, confidence: float, overlap: float) -> _PaintedInstances:
        segment_ids = np.zeros(sample.truth.shape, dtype=np.int32)
        rows = paint_instances(sample.cutouts, sample.scores, segment_ids, confidence=confidence, overlap=overlap)
        classes, class_of_run = np.unique(sample.semantic.values, return_inverse=True)
        shape = len(rows) + 1, len(sample.segments) + 1, len(classes)
        cell_of_pixel = sample.truth.paint(sample.truth.values.astype(np.int64)) * shape[2]
        cell_of_pixel += sample.semantic.paint(class_of_run)
        cell_of_pixel += segment_ids * np.int64(shape[1] * shape[2])
        table = np.bincount(cell_of_pixel.ravel(), minlength=math.prod(shape)).reshape(shape)
        taken = np.cumsum(table[1:], axis=0)
        free = table.sum(axis=0) - np.concatenate([np.zeros_like(table[:1]), taken])
        scores = sample.scores[rows].astype(np.float64)  # as `paint_instances` compares them
        return cls(tuple(rows), scores, classes, table[1:].sum(axis=2).T, free)

    def count_at(self, confidence: float) -> int:
        """The number of instances that are painted at this confidence."""
        return int(np.count_nonzero(self.scores >= confidence))


@dataclass(frozen=True, eq=False)
class _Matcher:
    """Matches panoptic maps of one image with its truth.

    ``positions`` are the positions of the category ids in ``categories``, ``truth`` (T,) those of the truth segments.
    """

    sample: FusionSample
    categories: Categories
    positions: dict[int, int]
    truth: npt.NDArray[np.intp]

    @classmethod
    def from_sample(cls, sample: FusionSample, categories: Categories) -> _Matcher:
        positions = {category.id: position for position, category in enumerate(categories)}
        truth = np.array([positions[segment.category] for segment in sample.segments], dtype=np.intp)
        return cls(sample, categories, positions, truth)

    def counts(self, painted: _PaintedInstances, things: int, is_stuff: npt.NDArray[np.bool_]) -> Floats:
        """Counts (classes, 5) of the map of the first ``things`` instances and the classes where ``is_stuff`` (Q,)."""
        free = painted.free[things]
        void = free[:, ~is_stuff].sum(axis=1, keepdims=True)
        table = np.concatenate([void, painted.things[:, :things], free[:, is_stuff]], axis=1)
        labels = self.sample.labels[list(painted.rows[:things])].tolist()
        ids = [self.categories.thing_ids[label] for label in labels]
        ids += [self.categories.stuff_ids[number - 1] for number in painted.classes[is_stuff].tolist()]
        found = [Segment(i, category, i <= things, None, 0, None) for i, category in enumerate(ids, start=1)]
        matches = match(Comparison.from_overlaps(SparseTable.from_dense(table), self.sample.segments, found))

        prediction = np.array([self.positions[category] for category in ids], dtype=np.intp)
        hits = self.truth[matches.truth]
        high, low = split_ious(matches.iou)
        columns = (
            (hits, high),
            (hits, low),
            (hits, None),
            (prediction[matches.spurious], None),
            (self.truth[matches.missed], None),
        )
        size = len(self.positions)
        return np.stack([np.bincount(index, weights, size).astype(np.float64) for index, weights in columns], axis=1)
