"""Labels that may overlap, painted into one panoptic map.

Things lie over stuff, whatever the order of the labels. Among things the crowds lie lowest, so that an instance
somebody outlined keeps its pixels; a region that is void hides stuff, and things hide it. Where two labels of one
kind claim a pixel, a rule says whose it is. Pixels nobody labelled are void.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from panoptic_blend.structures import Category, Cutout, PanopticMap, Segment

Overlap = Literal["smaller", "later", "earlier"]
"""Who keeps a pixel that two things, or two stuff classes, claim: the smaller, or the later or earlier in the file."""

_HOLE = -1  # a number of no segment: void on purpose


@dataclass(frozen=True, eq=False)
class LabeledRegion:
    """Pixels with one label; every region of a thing is an instance of its own. Without a category they are void."""

    category: Category | None
    cutout: Cutout
    is_crowd: bool = False


@dataclass(frozen=True, eq=False)
class Labels:
    """What somebody drew on a picture of ``size`` (height, width), in the order of the file.

    ``notes`` counts, by what to say about them, the things that were passed over.
    """

    size: tuple[int, int]
    regions: Sequence[LabeledRegion]
    notes: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, eq=False)
class Painted:
    """A map, all of whose segments have pixels, and what painting cost.

    ``contested`` pixels were claimed by more than one segment of a kind, ``hidden`` segments lie under others
    with every pixel, ``empty`` regions had no pixel within the picture.
    """

    panoptic: PanopticMap
    contested: int
    hidden: int
    empty: int


def paint(labels: Labels, overlap: Overlap, rest: Category | None = None) -> Painted:
    """Paint regions over one another; ``rest`` is the stuff of the pixels that nobody labelled, None for void."""
    drawn = [region for region in labels.regions if region.cutout.mask.any()]
    numbers: dict[Hashable, int] = {}
    segments: list[Segment] = []
    layers = {False: _Layer(labels.size), True: _Layer(labels.size)}
    numbered = [(region, _number(region, i, numbers, segments)) for i, region in enumerate(drawn)]
    if overlap == "earlier":
        numbered.reverse()
    for region, number in sorted(numbered, key=lambda pair: _height(pair[0], overlap)):  # stable, so ties stay in order
        layers[_is_thing(region)].add(region.cutout, number)
    ids = np.where(layers[True].ids != 0, layers[True].ids, layers[False].ids)
    if rest is not None and (ids == 0).any():
        region = LabeledRegion(rest, Cutout.from_mask(ids == 0))
        ids[ids == 0] = _number(region, len(drawn), numbers, segments)
    ids[ids == _HOLE] = 0
    panoptic = PanopticMap.measured(ids, segments)
    kept = [segment for segment in panoptic.segments if segment.area]
    return Painted(
        PanopticMap(ids, kept),
        contested=sum(layer.contested for layer in layers.values()),
        hidden=len(segments) - len(kept),
        empty=len(labels.regions) - len(drawn),
    )


def union(cutouts: Sequence[Cutout]) -> Cutout:
    """The pixels of all cutouts together."""
    parts = [cutout for cutout in cutouts if cutout.mask.size]
    if len(parts) <= 1:
        return parts[0] if parts else Cutout(np.zeros((0, 0), bool), 0, 0)
    top, left = min(part.top for part in parts), min(part.left for part in parts)
    bottom = max(part.window[0].stop for part in parts)
    right = max(part.window[1].stop for part in parts)
    mask = np.zeros((bottom - top, right - left), bool)
    for part in parts:
        mask[replace(part, top=part.top - top, left=part.left - left).window] |= part.mask
    return Cutout(mask, top, left)


class _Layer:
    """Either the stuff or the things of a picture, as numbers (H, W) of segments."""

    def __init__(self, size: tuple[int, int]) -> None:
        self.ids: npt.NDArray[np.int32] = np.zeros(size, np.int32)
        self._contested = np.zeros(size, bool)

    @property
    def contested(self) -> int:
        return int(np.count_nonzero(self._contested))

    def add(self, cutout: Cutout, number: int) -> None:
        below = self.ids[cutout.window]
        self._contested[cutout.window] |= cutout.mask & (below != 0) & (below != number)
        below[cutout.mask] = number


def _number(region: LabeledRegion, index: int, numbers: dict[Hashable, int], segments: list[Segment]) -> int:
    """The number of the segment that a region belongs to: a thing's own, or that of its stuff class."""
    category = region.category
    if category is None:
        return _HOLE
    key = ("thing", index) if category.is_thing else ("stuff", category.id)
    if key not in numbers:
        number = numbers[key] = len(segments) + 1
        is_crowd = region.is_crowd and category.is_thing
        segments.append(Segment(number, category.id, category.is_thing, None, 0, None, is_crowd))
    return numbers[key]


def _is_thing(region: LabeledRegion) -> bool:
    return region.category is not None and region.category.is_thing


def _height(region: LabeledRegion, overlap: Overlap) -> tuple[bool, bool, int]:
    """What sorts the regions of a layer from the lowest to the highest."""
    above_stuff = region.category is None
    is_single = not region.is_crowd
    return above_stuff, is_single, -int(np.count_nonzero(region.cutout.mask)) if overlap == "smaller" else 0
