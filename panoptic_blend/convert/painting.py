"""Paint labels that may overlap into one panoptic map.

Things lie above stuff, whatever the order of the labels. Among things, crowds lie below instances, so that a separately
outlined instance keeps its pixels. A void region hides stuff and is hidden by things. Where two things or two stuff
classes overlap, a rule decides which keeps the pixel. Unlabeled pixels are void.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from panoptic_blend.convert.notes import Notes
from panoptic_blend.structures import Category, Cutout, PanopticMap, Segment

Overlap = Literal["smaller", "later", "earlier"]
"""Which region keeps a pixel that two things or two stuff classes claim: the smaller, the later or the earlier one."""

_VOID = -1  # the number of pixels labeled as void, as opposed to 0 for unlabeled ones


@dataclass(frozen=True, eq=False)
class LabeledRegion:
    """A region with one label: an instance of a thing, a part of stuff, or void if ``category`` is None."""

    category: Category | None
    cutout: Cutout
    is_crowd: bool = False


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels of a picture of ``size`` (height, width), in the order of the file.

    ``notes`` are about labels that were skipped or look wrong.
    """

    size: tuple[int, int]
    regions: Sequence[LabeledRegion]
    notes: Notes = field(default_factory=Notes)


@dataclass(frozen=True, eq=False)
class Painted:
    """A map in which every segment has pixels, and counts of the conflicts.

    ``contested`` pixels were claimed by two things, or by two regions of different stuff or void. ``hidden`` segments
    are completely covered by others. ``empty`` regions have no pixel in the picture.
    """

    panoptic: PanopticMap
    contested: int
    hidden: int
    empty: int


def paint(labels: Labels, overlap: Overlap, rest: Category | None = None) -> Painted:
    """Paint regions over one another; ``rest`` is the stuff class of unlabeled pixels, None for void."""
    drawn = [region for region in labels.regions if region.cutout.mask.any()]
    numbers: dict[Hashable, int] = {}
    segments: list[Segment] = []
    layers = {False: _Layer(labels.size), True: _Layer(labels.size)}
    numbered = [(region, _number(region, i, numbers, segments)) for i, region in enumerate(drawn)]
    if overlap == "earlier":
        numbered.reverse()
    numbered.sort(key=lambda pair: _painting_order(pair[0], overlap))  # stable: ties keep the order of the file
    for region, number in numbered:
        layers[_is_thing(region)].add(region.cutout, number)
    ids = np.where(layers[True].ids != 0, layers[True].ids, layers[False].ids)
    if rest is not None and (ids == 0).any():
        region = LabeledRegion(rest, Cutout.from_mask(ids == 0))
        ids[ids == 0] = _number(region, len(drawn), numbers, segments)
    ids[ids == _VOID] = 0
    panoptic = PanopticMap.measured(ids, segments)
    kept = [segment for segment in panoptic.segments if segment.area]
    return Painted(
        PanopticMap(ids, kept),
        contested=sum(layer.contested for layer in layers.values()),
        hidden=len(segments) - len(kept),
        empty=len(labels.regions) - len(drawn),
    )


def union(cutouts: Sequence[Cutout]) -> Cutout:
    """The union of all cutouts."""
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
    """The segment numbers (H, W) of either all stuff or all things of a picture."""

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
    """The number of a region's segment: a new one for a thing, one per class for stuff; appends new segments."""
    category = region.category
    if category is None:
        return _VOID
    key = ("thing", index) if category.is_thing else ("stuff", category.id)
    if key not in numbers:
        number = numbers[key] = len(segments) + 1
        is_crowd = region.is_crowd and category.is_thing
        segments.append(Segment(number, category.id, category.is_thing, None, 0, None, is_crowd))
    return numbers[key]


def _is_thing(region: LabeledRegion) -> bool:
    return region.category is not None and region.category.is_thing


def _painting_order(region: LabeledRegion, overlap: Overlap) -> tuple[bool, bool, int]:
    """The sort key of the regions of a layer, from the lowest to the highest."""
    is_void = region.category is None
    area = int(np.count_nonzero(region.cutout.mask)) if overlap == "smaller" else 0
    return is_void, not region.is_crowd, -area
