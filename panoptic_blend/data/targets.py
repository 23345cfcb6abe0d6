"""Training targets derived from annotations: from a segment map, or from instances that may overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

import numpy as np
import numpy.typing as npt
import torch

from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.run_lengths import counts_of
from panoptic_blend.instances import TrueInstances
from panoptic_blend.structures import IGNORE, PanopticMap, Runs, Segment, Target

Ids = npt.NDArray[np.integer[Any]]

Coded = tuple[Runs, Ids]
"""A map as run lengths, and a table that translates the values of the runs to those of the map."""


def paint_layers(instances: TrueInstances) -> list[Ids]:
    """Paint the masks of G instances into maps (H, W): instance g has the value g + 1 in one of them, and 0 is empty.

    An instance goes into the first layer in which it overlaps with no other, so that most images need one or two. There
    is always one layer. They are uint8 for fewer than 256 instances, else int32.
    """
    height, width = instances.size
    flat: list[Ids] = []  # layers by columns, as run lengths are
    for number, counts in enumerate(counts_of(instances.masks), start=1):
        inner = counts[1 : len(counts) // 2 * 2]  # between the void at both ends
        span = slice(int(counts[0]), int(counts[0] + inner.sum()))
        mask = np.repeat(np.arange(len(inner)) % 2 == 0, inner)
        for layer in flat:
            if not layer[span][mask].any():
                break
        else:
            layer = np.zeros(height * width, dtype=_smallest(len(instances)))
            flat.append(layer)
        layer[span][mask] = number
    empty: Ids = np.zeros((height, width), dtype=np.uint8)
    return [np.ascontiguousarray(layer.reshape(width, height).T) for layer in flat] or [empty]


@dataclass(frozen=True)
class PackedTarget:
    """A `Target` as it is sent between processes: its maps are run lengths, which are much smaller than pixels.

    ``boxes`` (G, 4) float32 and ``labels`` (G,) int64 are those of the target. ``maps`` holds its maps by name, one of
    several layers as several.
    """

    boxes: npt.NDArray[np.float32]
    labels: npt.NDArray[np.int64]
    maps: Mapping[str, Sequence[Coded]]

    @classmethod
    def from_runs(cls, runs: Runs, segments: Sequence[Segment], categories: Categories) -> PackedTarget:
        """Derive a target from the runs of a map (see `PanopticMap.runs`) and its ``segments`` with dataset ids.

        Crowds are not instances, but their pixels have their class in the semantic maps; void is ignored there.
        Areas and boxes are measured from the map; those of ``segments`` are not used.
        """
        areas, boxes = runs.areas_and_boxes(len(segments))
        labels = [categories.label(segment.category) for segment in segments]
        instances = [i for i, s in enumerate(segments) if s.is_thing and not s.is_crowd and areas[i]]
        things = [IGNORE, *(0 if label is None else label + 1 for label in labels)]
        maps: dict[str, Sequence[Coded]] = {
            "instance_map": [(runs, _renumbered(instances, len(segments)))],
            "semantic": [(runs, _classes(segments, categories))],
            "thing_semantic": [(runs, np.array(things, dtype=np.uint8))],
        }
        found = np.array([labels[i] for i in instances], dtype=np.int64)
        return cls(boxes[instances].astype(np.float32), found, maps)

    @classmethod
    def from_layers(
        cls,
        layers: Sequence[Ids],
        instances: TrueInstances,
        boxes: npt.NDArray[np.float64] | None,
        categories: Categories,
        segments: tuple[Runs, Sequence[Segment]] | None = None,
    ) -> PackedTarget:
        """Derive a target from the layers of `paint_layers` and from ``boxes`` (G, 4), all transformed.

        Crowds are not instances, nor are those without pixels or with an empty box. In ``thing_semantic`` every pixel
        has the class of the last annotation of the file that covers it, of crowds too, and 0 is background, as in the
        official BlendMask.

        Args:
            boxes: None takes the tight boxes of the masks.
            segments: the runs of a transformed panoptic map and its segments; the semantic map is derived from them.
        """
        runs = [Runs.from_pixels(layer) for layer in layers]
        measured = [layer.areas_and_boxes(len(instances)) for layer in runs]
        areas = np.sum([areas for areas, _ in measured], axis=0)
        if boxes is None:
            boxes = np.zeros((len(instances), 4))
            for own, tight in measured:
                boxes[own > 0] = tight[own > 0]
        labels = np.array([categories.label(i) for i in instances.category_ids.tolist()], dtype=np.int64)
        kept = np.flatnonzero(~instances.is_crowd & (areas > 0) & (boxes[:, 2:] > boxes[:, :2]).all(axis=1))
        top = runs[0] if len(runs) == 1 else Runs.from_pixels(reduce(np.maximum, layers))
        numbers = _renumbered(kept.tolist(), len(instances))
        maps: dict[str, Sequence[Coded]] = {
            "instance_map": [(layer, numbers) for layer in runs],
            "thing_semantic": [(top, np.array([0, *(labels + 1)], dtype=np.uint8))],
        }
        if segments:
            maps["semantic"] = [(segments[0], _classes(segments[1], categories))]
        return cls(boxes[kept].astype(np.float32), labels[kept], maps)

    def unpack(self) -> Target:
        """Decode the target."""
        target = {"boxes": torch.from_numpy(self.boxes), "labels": torch.from_numpy(self.labels)}
        for name, layers in self.maps.items():
            decoded = [runs.paint(table[runs.values]) for runs, table in layers]
            target[name] = torch.from_numpy(decoded[0] if len(decoded) == 1 else np.stack(decoded))
        return cast(Target, target)


def semantic_map(panoptic: PanopticMap, categories: Categories) -> npt.NDArray[np.uint8]:
    """The semantic classes (H, W) uint8 of a map with dataset category ids: 0 thing, 1..S stuff, 255 void."""
    runs = panoptic.runs()
    return runs.paint(_classes(panoptic.segments, categories)[runs.values])


def _classes(segments: Sequence[Segment], categories: Categories) -> npt.NDArray[np.uint8]:
    """The semantic class of void, then that of each segment."""
    return np.array([IGNORE, *(categories.semantic_class(segment.category) for segment in segments)], dtype=np.uint8)


def _renumbered(kept: Sequence[int], count: int) -> Ids:
    """A table of ``count`` + 1 values: 1, 2, ... for the values i + 1 of the ``kept`` items i, 0 for all others."""
    numbers: Ids = np.zeros(count + 1, dtype=_smallest(len(kept)))
    numbers[[i + 1 for i in kept]] = np.arange(1, len(kept) + 1)
    return numbers


def _smallest(count: int) -> type[np.uint8 | np.int32]:
    """The type that holds the numbers up to ``count``."""
    return np.uint8 if count < 256 else np.int32
