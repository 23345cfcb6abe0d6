"""Many settings of fusion on one image at once, and the grid of them that a sweep tries.

Fusion's rules are those of `models.fusion`; here is only what settings share. With one overlap threshold, a higher
confidence paints the first of the instances that a lower one paints. Stuff never changes an instance. So the pixels
that truth, painted instances and semantic classes have in common are counted once for each overlap threshold, and
every setting is a choice of rows of that table.
"""

from __future__ import annotations

import itertools
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from panoptic_blend.config.options import Fusion
from panoptic_blend.formats.categories import Categories
from panoptic_blend.metrics.overlaps import Comparison, match
from panoptic_blend.models.fusion import becomes_stuff, paint_instances
from panoptic_blend.structures import Segment
from panoptic_blend.sweep.cache import FusionSample

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]

_COCO_PIXELS = 640 * 480
_HIGH = 2.0**26
_LOW = 2.0**27


@dataclass(frozen=True)
class Setting:
    """The options of ``model.fusion``."""

    confidence: float
    overlap: float
    stuff_area: int

    @classmethod
    def from_options(cls, options: Fusion) -> Setting:
        """Those of a config."""
        return cls(options.confidence, options.overlap, options.stuff_area)

    def overrides(self) -> str:
        """As changes to a config, for the command line."""
        return " ".join(f"model.fusion.{name}={value}" for name, value in vars(self).items())


@dataclass(frozen=True)
class Grid:
    """All combinations of these values, each rising."""

    confidences: tuple[float, ...]
    overlaps: tuple[float, ...]
    stuff_areas: tuple[int, ...]

    @classmethod
    def around(cls, present: Setting, stuff_area: int, has_stuff: bool = True) -> Grid:
        """Steps of 0.05 and 0.1, and multiples of a usual ``stuff_area``; the present setting is one of them."""
        areas = (
            {0, stuff_area // 4, stuff_area // 2, stuff_area, 2 * stuff_area, 4 * stuff_area} if has_stuff else set()
        )
        return cls(
            tuple(sorted({*(i / 20 for i in range(1, 20)), present.confidence})),
            tuple(sorted({*(i / 10 for i in range(11)), present.overlap})),
            tuple(sorted({*areas, present.stuff_area})),
        )

    @property
    def shape(self) -> tuple[int, int, int]:
        """The number of confidences, overlaps and stuff areas."""
        return len(self.confidences), len(self.overlaps), len(self.stuff_areas)

    def settings(self) -> list[Setting]:
        """All of them, stuff areas changing fastest and confidences slowest."""
        return [Setting(*values) for values in itertools.product(self.confidences, self.overlaps, self.stuff_areas)]


def usual_stuff_area(sizes: Sequence[tuple[int, int]]) -> int:
    """COCO's 4096 pixels for images (height, width) of other sizes, in steps of a factor of two."""
    ratio = float(np.median([height * width for height, width in sizes])) / _COCO_PIXELS
    return max(1, round(4096 * 2.0 ** round(math.log2(ratio))))


def usual_settings(stuff_area: int) -> dict[str, Setting]:
    """What others use, with this stuff area in place of 4096: BlendMask's paper and code, detectron2's Panoptic-FPN."""
    return {
        "paper": Setting(0.2, 0.4, stuff_area),
        "official code": Setting(0.45, 0.4, stuff_area),
        "detectron2": Setting(0.5, 0.5, stuff_area),
    }


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What matching gave, per class of the data set, over one image or more: arrays (..., classes).

    A matched IoU is at least 1/2, so a float64 of it is a whole number of 2**-53, which is kept as two (`split`): their
    sums are exact in any order, and ``iou_sum`` is rounded once, as `PanopticQuality` does it.
    """

    counts: Floats
    """(..., classes, 5): high and low part of the IoUs, true positives, false positives, false negatives."""

    @property
    def iou_sum(self) -> Floats:
        return self.counts[..., 0] / _HIGH + self.counts[..., 1] / (_HIGH * _LOW)

    def parts(self) -> Floats:
        """(..., classes, 4): sum of IoUs, true positives, false positives, false negatives."""
        return np.concatenate([self.iou_sum[..., None], self.counts[..., 2:]], axis=-1)


def split(ious: Floats) -> tuple[Floats, Floats]:
    """IoUs from 1/2 to 1 as whole numbers: in 2**-26, and what remains in 2**-53."""
    high = np.floor(ious * _HIGH)
    return high, (ious * _HIGH - high) * _LOW


def outcomes(case: FusionSample, settings: Sequence[Setting], categories: Categories) -> Outcomes:
    """What each of the settings gives on one image: counts of shape (settings, classes, 5)."""
    lowest = min(setting.confidence for setting in settings)
    by_overlap: defaultdict[float, list[int]] = defaultdict(list)
    for number, setting in enumerate(settings):
        by_overlap[setting.overlap].append(number)
    counts = np.zeros((len(settings), len(categories), 5))
    known: dict[tuple[tuple[int, ...], bytes], Floats] = {}
    matching = _Matching.from_sample(case, categories)
    for overlap, numbers in by_overlap.items():
        painted = _Painted.from_sample(case, lowest, overlap)
        for number in numbers:
            setting = settings[number]
            things = painted.above(setting.confidence)
            is_stuff = becomes_stuff(painted.classes, painted.free[things].sum(axis=0), setting.stuff_area)
            key = painted.rows[:things], is_stuff.tobytes()
            if key not in known:
                known[key] = matching.counts(painted, things, is_stuff)
            counts[number] = known[key]
    return Outcomes(counts)


@dataclass(frozen=True, eq=False)
class _Painted:
    """The instances P that are painted at one overlap threshold, and the pixels that they share with the truth.

    ``rows`` and ``scores`` (P,) are those of the instances, ``classes`` (Q,) the semantic classes of the image.
    ``things`` (T + 1, P) counts the pixels of truth segment (0: void) and instance; ``free`` (P + 1, T + 1, Q) those of
    truth and class that the first 0, 1, ... instances leave.
    """

    rows: tuple[int, ...]
    scores: Floats
    classes: npt.NDArray[np.integer]
    things: Integers
    free: Integers

    @classmethod
    def from_sample(cls, case: FusionSample, confidence: float, overlap: float) -> _Painted:
        segment_ids = np.zeros(case.truth.shape, dtype=np.int32)
        rows = paint_instances(case.cutouts, case.scores, segment_ids, confidence=confidence, overlap=overlap)
        classes, class_of_run = np.unique(case.semantic.values, return_inverse=True)
        shape = len(rows) + 1, len(case.segments) + 1, len(classes)
        place_of_pixel = case.truth.paint(case.truth.values.astype(np.int64)) * shape[2]
        place_of_pixel += case.semantic.paint(class_of_run)
        place_of_pixel += segment_ids * np.int64(shape[1] * shape[2])
        table = np.bincount(place_of_pixel.ravel(), minlength=math.prod(shape)).reshape(shape)
        taken = np.cumsum(table[1:], axis=0)
        free = table.sum(axis=0) - np.concatenate([np.zeros_like(table[:1]), taken])
        scores = case.scores[rows].astype(np.float64)  # compared as `paint_instances` compares them
        return cls(tuple(rows), scores, classes, table[1:].sum(axis=2).T, free)

    def above(self, confidence: float) -> int:
        """How many of them are painted at that confidence."""
        return int(np.count_nonzero(self.scores >= confidence))


@dataclass(frozen=True, eq=False)
class _Matching:
    """An image with the positions of the data set's category ids, and those of its truth segments (T,)."""

    case: FusionSample
    categories: Categories
    positions: dict[int, int]
    truth: npt.NDArray[np.intp]

    @classmethod
    def from_sample(cls, case: FusionSample, categories: Categories) -> _Matching:
        positions = {category.id: position for position, category in enumerate(categories)}
        truth = np.array([positions[segment.category] for segment in case.segments], dtype=np.intp)
        return cls(case, categories, positions, truth)

    def counts(self, painted: _Painted, things: int, is_stuff: npt.NDArray[np.bool_]) -> Floats:
        """(classes, 5) of one panoptic map: the first ``things`` instances, and stuff (Q,) where it is kept."""
        free = painted.free[things]
        void = free[:, ~is_stuff].sum(axis=1, keepdims=True)
        table = np.concatenate([void, painted.things[:, :things], free[:, is_stuff]], axis=1)
        labels = self.case.labels[list(painted.rows[:things])].tolist()
        ids = [self.categories.thing_ids[label] for label in labels]
        ids += [self.categories.stuff_ids[number - 1] for number in painted.classes[is_stuff].tolist()]
        found = [Segment(i, category, i <= things, None, 0, None) for i, category in enumerate(ids, start=1)]
        matches = match(Comparison.from_table(table, self.case.segments, found))

        prediction = np.array([self.positions[category] for category in ids], dtype=np.intp)
        hits = self.truth[matches.truth]
        high, low = split(matches.iou)
        columns = (
            (hits, high),
            (hits, low),
            (hits, None),
            (prediction[matches.spurious], None),
            (self.truth[matches.missed], None),
        )
        size = len(self.positions)
        return np.stack([np.bincount(place, weights, size).astype(np.float64) for place, weights in columns], axis=1)
