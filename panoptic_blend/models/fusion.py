"""Instances and semantics become one panoptic map (Panoptic-FPN, section 3.2; BlendMask, appendix A)."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from panoptic_blend.structures import IGNORE, THING_CLASS, Detections, PanopticMap, Segment


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
    classes, masks = _array(semantic), _array(detections.masks).astype(bool)
    scores, labels = _array(detections.scores).tolist(), _array(detections.labels).tolist()
    segment_ids = np.zeros(classes.shape, dtype=np.int32)
    segments: list[Segment] = []

    def add(mask: npt.NDArray[np.bool_], category: int, score: float | None) -> None:
        segment_id = len(segments) + 1
        segment_ids[mask] = segment_id
        box, area = _tight_box(mask), int(mask.sum())
        segments.append(Segment(segment_id, category, score is not None, score, area, box))

    for row in sorted(range(len(scores)), key=lambda i: -scores[i]):
        if scores[row] < confidence:
            break
        free = masks[row] & (segment_ids == 0)
        area = int(masks[row].sum())
        if area > 0 and (area - int(free.sum())) / area <= overlap:
            add(free, labels[row], scores[row])
    for stuff in np.unique(classes).tolist():
        free = (classes == stuff) & (segment_ids == 0)
        if stuff not in (THING_CLASS, IGNORE) and int(free.sum()) >= stuff_area:
            add(free, stuff, None)
    return PanopticMap(segment_ids, segments)


def _array(values: Tensor | npt.NDArray[Any]) -> npt.NDArray[Any]:
    return values.detach().cpu().numpy() if isinstance(values, Tensor) else np.asarray(values)


def _tight_box(mask: npt.NDArray[np.bool_]) -> tuple[int, int, int, int] | None:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return None
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
