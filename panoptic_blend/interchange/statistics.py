"""What is in a data set: pictures, segments and pixels, in all and by class."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from rich.table import Table
from rich.text import Text

from panoptic_blend.files import printable, without_nan
from panoptic_blend.interchange.source import MapSource
from panoptic_blend.machine import cores, overlapped
from panoptic_blend.structures import PanopticMap, Progress
from panoptic_blend.table_formats import NOTHING
from panoptic_blend.terminal import percent, right_aligned


@dataclass(frozen=True)
class ClassStatistics:
    """Figures of one class; crowds count for ``pictures``, ``crowds`` and ``pixels`` only.

    ``pixels`` is the share of all pixels, and ``median_area`` is in pixels, NaN without a segment.
    """

    name: str
    is_thing: bool
    pictures: int
    segments: int
    crowds: int
    pixels: float
    median_area: float


@dataclass(frozen=True)
class SplitStatistics:
    """Figures of a split; sizes are the smallest and the largest, as height and width, by the number of pixels.

    ``things`` are the median and the largest number of things in a picture, without crowds; ``void`` is the share of
    all pixels, and ``empty`` pictures have no segment.
    """

    split: str
    pictures: int
    smallest: tuple[int, int]
    largest: tuple[int, int]
    segments: int
    things: tuple[float, int]
    void: float
    empty: int
    classes: tuple[ClassStatistics, ...]

    def record(self) -> dict[str, Any]:
        """The figures for JSON, with null for a figure over nothing."""
        classes = {each.name: {k: v for k, v in vars(each).items() if k != "name"} for each in self.classes}
        record: dict[str, Any] = without_nan({**vars(self), "classes": classes})
        return record


def split_statistics(source: MapSource, progress: Progress) -> SplitStatistics:
    """Measure all maps of a split."""
    counts: dict[str, Counter[int]] = {key: Counter() for key in ("pictures", "crowds", "pixels")}
    areas: dict[int, list[int]] = {category.id: [] for category in source.categories}
    sizes, things, empty, segments = [], [], 0, 0
    for done, panoptic in enumerate(_maps(source), start=1):
        height, width = panoptic.id_runs().shape
        sizes.append((height, width))
        things.append(sum(segment.is_thing and not segment.is_crowd for segment in panoptic.segments))
        empty += not panoptic.segments
        segments += len(panoptic.segments)
        counts["pictures"].update({segment.category for segment in panoptic.segments})
        for segment in panoptic.segments:
            counts["pixels"][segment.category] += segment.area
            counts["crowds"][segment.category] += segment.is_crowd
            if not segment.is_crowd:
                areas[segment.category].append(segment.area)
        progress(done, len(source.places))
    total = sum(height * width for height, width in sizes)
    classes = tuple(
        ClassStatistics(
            category.name,
            category.is_thing,
            counts["pictures"][category.id],
            len(areas[category.id]),
            counts["crowds"][category.id],
            counts["pixels"][category.id] / total,
            median(areas[category.id]) if areas[category.id] else math.nan,
        )
        for category in source.categories
    )
    by_pixels = sorted(sizes, key=math.prod)
    return SplitStatistics(
        source.split,
        len(sizes),
        by_pixels[0],
        by_pixels[-1],
        segments,
        (median(things), max(things)),
        1 - counts["pixels"].total() / total,
        empty,
        classes,
    )


def _maps(source: MapSource) -> Iterable[PanopticMap]:
    threads = cores()
    return overlapped(source.places, lambda place: place, source.read_map, finishers=threads, queue_depth=2 * threads)


def tables(splits: Iterable[SplitStatistics]) -> list[Table]:
    """A table of the splits, and one of the classes of each."""
    found = list(splits)
    whole = right_aligned(
        "split", "pictures", "smallest", "largest", "segments", "things: median", "most", "void %", "empty"
    )
    for split in found:
        sizes = [f"{width} x {height}" for height, width in (split.smallest, split.largest)]
        things = [f"{split.things[0]:g}", str(split.things[1])]
        counted = [f"{split.segments:,}", *things, percent(split.void), f"{split.empty:,}"]
        whole.add_row(Text(printable(split.split)), f"{split.pictures:,}", *sizes, *counted)
    return [whole, *map(_class_table, found)]


def _class_table(split: SplitStatistics) -> Table:
    table = right_aligned(
        "class",
        "kind",
        "pictures",
        "segments",
        "crowds",
        "pixels %",
        "median area",
        title=printable(split.split),
        words=2,
    )
    for each in split.classes:
        kind = "thing" if each.is_thing else "stuff"
        area = NOTHING if math.isnan(each.median_area) else f"{each.median_area:,.0f}"
        counted = [f"{count:,}" for count in (each.pictures, each.segments, each.crowds)]
        table.add_row(Text(printable(each.name)), kind, *counted, percent(each.pixels), area)
    return table
