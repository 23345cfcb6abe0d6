"""Instances and semantics become one panoptic map (Panoptic-FPN, section 3.2; BlendMask, appendix A)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from panoptic_blend.structures import IGNORE, THING_CLASS, Cutout, Detections, PanopticMap, Segment


def fuse(
    detections: Detections,
    semantic: Tensor | npt.NDArray[np.integer],
    *,
    confidence: float = 0.2,
    overlap: float = 0.4,
    stuff_area: int = 4096,
) -> PanopticMap:
    """Paint instances by falling score, then stuff where nothing is painted.

    Instances below ``confidence`` are left out; so is one without pixels, or of whose pixels more than
    the share ``overlap`` is taken. Stuff classes follow in rising order, each where it is the semantic
    class of at least ``stuff_area`` free pixels.

    Args:
        detections: masks (D, H, W) bool, scores (D,) and labels (D,); boxes are not used.
        semantic: (H, W) integer: 0 for "some thing", a stuff class, or 255 for nothing.

    Returns:
        Segments numbered from 1 in the order of painting; ``category`` is the thing label or stuff class.
    """
    cutouts = [Cutout.of(mask) for mask in _array(detections.masks).astype(bool)]
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
    scores: Tensor,
    labels: Tensor,
    semantic: Tensor | npt.NDArray[np.integer],
    *,
    confidence: float,
    overlap: float,
    stuff_area: int,
) -> PanopticMap:
    """`fuse`, of masks that are cut out already: each is compared with the map within its window only."""
    classes = _array(semantic)
    segment_ids = np.zeros(classes.shape, dtype=np.int32)
    segments: list[Segment] = []

    def add(category: int, score: float | None) -> int:
        segments.append(Segment(len(segments) + 1, category, score is not None, score, area=0, box=None))
        return len(segments)

    ranked = zip(_array(scores).tolist(), _array(labels).tolist(), cutouts, strict=True)
    for score, label, cutout in sorted(ranked, key=lambda row: -row[0]):
        if score < confidence:
            break
        window = segment_ids[cutout.window]
        free = cutout.mask & (window == 0)
        area = np.count_nonzero(cutout.mask)
        if area > 0 and (area - np.count_nonzero(free)) / area <= overlap:
            window[free] = add(label, score)

    free = segment_ids == 0
    unpainted = classes[free]
    counts = np.bincount(unpainted, minlength=IGNORE + 1)
    numbers = np.zeros(len(counts), dtype=np.int32)
    for stuff in np.flatnonzero(np.bincount(classes.ravel())).tolist():
        if stuff not in (THING_CLASS, IGNORE) and counts[stuff] >= stuff_area:
            numbers[stuff] = add(stuff, None)
    segment_ids[free] = numbers[unpainted]
    return PanopticMap.measured(segment_ids, segments)


def _array(values: Tensor | npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)
