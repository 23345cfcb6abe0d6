"""Fusion of instances and semantics into one panoptic map (Panoptic-FPN, section 3.2; BlendMask, appendix A)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from panoptic_blend.structures import (
    IGNORE,
    THING_CLASS,
    Array,
    Cutout,
    Detections,
    PanopticMap,
    Runs,
    Segment,
    as_array,
)

if TYPE_CHECKING:
    from torch import Tensor

_PAINTED = 2**30
"""What is added to the numbers of instances where they share a map with semantic classes, which are smaller."""


def fuse(
    detections: Detections,
    semantic: Tensor | npt.NDArray[np.integer],
    *,
    confidence: float = 0.2,
    overlap: float = 0.4,
    stuff_area: int = 4096,
) -> PanopticMap:
    """Paint instances by descending score, then stuff on the pixels that are left.

    An instance is skipped if its score is below ``confidence``, if it has no pixels, or if more than the share
    ``overlap`` of its pixels is painted already. Stuff classes follow in ascending order; one with fewer than
    ``stuff_area`` free pixels is skipped.

    Args:
        detections: masks (D, H, W) bool, scores (D,) and labels (D,); boxes are not used.
        semantic: (H, W) integer: 0 for "some thing", a stuff class, or 255 for ignored pixels.

    Returns:
        Segments numbered from 1 in the order of painting; ``category`` is the thing label or stuff class.
    """
    cutouts = [Cutout.from_mask(mask) for mask in as_array(detections.masks).astype(bool)]
    return paint(
        cutouts,
        detections.scores,
        detections.labels,
        semantic,
        confidence=confidence,
        overlap=overlap,
        stuff_area=stuff_area,
    )


def paint(
    cutouts: Sequence[Cutout],
    scores: Tensor | Array,
    labels: Tensor | Array,
    semantic: Tensor | npt.NDArray[np.integer],
    *,
    confidence: float,
    overlap: float,
    stuff_area: int,
) -> PanopticMap:
    """`fuse` for masks that are cut out already: each is compared with the map within its window only."""
    classes, ranking = as_array(semantic), as_array(scores)
    # instances and the classes between them in one map, whose runs are enough for all that follows
    shared = classes.astype(np.int32)
    painted = paint_instances(cutouts, ranking, shared, _PAINTED + 1, confidence=confidence, overlap=overlap)
    things = list(zip(as_array(labels)[painted].tolist(), ranking[painted].tolist(), strict=True))
    runs = Runs.from_pixels(shared)
    is_free = runs.values < _PAINTED
    counts = np.bincount(runs.values[is_free], runs.lengths[is_free], minlength=IGNORE + 1)
    present = np.flatnonzero(counts) if stuff_area > 0 else np.unique(classes)
    stuff = present[becomes_stuff(present, counts[present], stuff_area)]
    numbers = np.zeros(len(counts), dtype=np.int32)
    numbers[stuff] = len(things) + 1 + np.arange(len(stuff))
    ids = np.where(is_free, numbers[np.where(is_free, runs.values, 0)], runs.values - _PAINTED)

    found = [*things, *((category, None) for category in stuff.tolist())]
    segments = [
        Segment(number, category, score is not None, score, area=0, box=None)
        for number, (category, score) in enumerate(found, start=1)
    ]
    measured = PanopticMap.from_runs(replace(runs, values=ids), segments).measure()
    return PanopticMap(measured.segment_ids, measured.segments)


def paint_instances(
    cutouts: Sequence[Cutout],
    scores: npt.NDArray[np.floating],
    segment_ids: npt.NDArray[np.int32],
    first: int = 1,
    *,
    confidence: float,
    overlap: float,
) -> list[int]:
    """Paint instances over ``segment_ids`` (H, W), and number them from ``first``.

    Later instances never change earlier ones, so a higher ``confidence`` paints the first of the same instances.

    Returns:
        The row in ``cutouts`` and ``scores`` of every painted instance, by descending score.
    """
    painted: list[int] = []
    is_painted = np.zeros(segment_ids.shape, dtype=np.bool_)
    ranked = zip(scores.tolist(), range(len(scores)), cutouts, strict=True)
    for score, row, cutout in sorted(ranked, key=lambda item: -item[0]):
        if score < confidence:
            break
        window = is_painted[cutout.window]
        free = np.greater(cutout.mask, window)
        area = np.count_nonzero(cutout.mask)
        if area > 0 and (area - np.count_nonzero(free)) / area <= overlap:
            np.copyto(segment_ids[cutout.window], first + len(painted), where=free)
            painted.append(row)
            window |= free
    return painted


def becomes_stuff(
    classes: npt.NDArray[np.integer], free: npt.NDArray[np.number], stuff_area: int
) -> npt.NDArray[np.bool_]:
    """Whether each of the semantic ``classes`` (n,) of an image makes a segment, given its ``free`` (n,) pixels."""
    return (classes != THING_CLASS) & (classes != IGNORE) & (free >= stuff_area)
