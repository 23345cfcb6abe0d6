"""The segments of an image, painted into maps that can be transformed and pasted into one another."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Any

import numpy as np
import numpy.typing as npt

from panoptic_blend.data.protocol import Sample
from panoptic_blend.data.transforms import Geometry
from panoptic_blend.formats.run_lengths import counts_of
from panoptic_blend.instances import TrueInstances
from panoptic_blend.structures import PanopticMap, Runs, Segment

Ids = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class Regions:
    """Segments of an image in one or more maps (H, W): the value i + 1 stands for ``segments[i]``, 0 for none.

    Segments that overlap are in different ``layers``. Areas and boxes of ``segments`` need not be those of the maps.
    """

    layers: Sequence[Ids]
    segments: Sequence[Segment]

    @classmethod
    def of_panoptic(cls, panoptic: PanopticMap) -> Regions:
        """All segments of a panoptic map, in one layer."""
        return cls([panoptic.index()], panoptic.segments)

    @classmethod
    def of_instances(cls, instances: TrueInstances) -> Regions:
        """The instances of an image, crowds included, in the layers of `paint_layers`."""
        kinds = zip(instances.category_ids.tolist(), instances.is_crowd.tolist(), strict=True)
        segments = [Segment(i, category, True, None, 0, None, crowd) for i, (category, crowd) in enumerate(kinds, 1)]
        return cls(paint_layers(instances), segments)

    @classmethod
    def of_things(cls, sample: Sample) -> Regions:
        """The instances of a sample, or its panoptic map, whose things are the instances then."""
        if sample.instances is not None:
            return cls.of_instances(sample.instances)
        return cls.of_panoptic(sample.panoptic_truth())

    def transformed(self, geometry: Geometry) -> Regions:
        """The regions of the transformed image."""
        return Regions([geometry.ids(layer) for layer in self.layers], self.segments)

    def flat(self) -> Ids:
        """All layers in one map (H, W): the last segment that covers a pixel wins."""
        return reduce(np.maximum, self.layers)

    @cached_property
    def runs(self) -> list[Runs]:
        """Run lengths of each layer."""
        return [Runs.from_pixels(layer) for layer in self.layers]

    def areas_and_boxes(self) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        """Areas (n,) and tight boxes (n, 4) of the n segments; the box of one without pixels is 0."""
        areas, boxes = np.zeros(len(self.segments), np.intp), np.zeros((len(self.segments), 4), np.intp)
        for runs in self.runs:
            own, tight = runs.areas_and_boxes(len(self.segments))
            areas += own
            boxes[own > 0] = tight[own > 0]
        return areas, boxes

    def instances(self) -> list[int]:
        """Positions of the things that are no crowds."""
        return [i for i, segment in enumerate(self.segments) if segment.is_thing and not segment.is_crowd]

    def only(self, kept: Sequence[int]) -> Regions:
        """The segments at the positions ``kept`` alone."""
        table = renumbered(kept, len(self.segments))
        return Regions([table[layer] for layer in self.layers], [self.segments[i] for i in kept])

    def covered(self, top: Regions, window: tuple[slice, slice]) -> Regions:
        """These regions with those of ``top`` over them, in rows and columns ``window``.

        Nothing shows through: a segment of these that is wholly hidden has no pixel left.
        """
        count, is_hidden = len(self.segments), top.flat() > 0
        dtype: type[np.integer[Any]] = smallest(count + len(top.segments))
        empty = [np.zeros_like(self.layers[0])] * (len(top.layers) - len(self.layers))
        layers: list[Ids] = [layer.astype(dtype) for layer in (*self.layers, *empty)]
        for layer in layers:
            layer[window][is_hidden] = 0
        for layer, own in zip(layers, top.layers, strict=False):
            layer[window][own > 0] = own[own > 0] + dtype(count)
        return Regions(layers, [*self.segments, *top.segments])


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
            layer = np.zeros(height * width, dtype=smallest(len(instances)))
            flat.append(layer)
        layer[span][mask] = number
    empty: Ids = np.zeros((height, width), dtype=np.uint8)
    return [np.ascontiguousarray(layer.reshape(width, height).T) for layer in flat] or [empty]


def renumbered(kept: Sequence[int], count: int) -> Ids:
    """A table of ``count`` + 1 values: 1, 2, ... for the values i + 1 of the ``kept`` items i, 0 for all others."""
    numbers: Ids = np.zeros(count + 1, dtype=smallest(len(kept)))
    numbers[[i + 1 for i in kept]] = np.arange(1, len(kept) + 1)
    return numbers


def smallest(count: int) -> type[np.uint8 | np.int32]:
    """The type that holds the numbers up to ``count``."""
    return np.uint8 if count < 256 else np.int32
