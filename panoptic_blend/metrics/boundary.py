"""Boundaries of segments for Boundary IoU (Cheng et al., CVPR 2021, arXiv 2103.16562)."""

from __future__ import annotations

import math

import cv2
import numpy as np
import numpy.typing as npt

from panoptic_blend.structures import PanopticMap

DILATION = 0.02
"""Width of a boundary as a fraction of the diagonal of the image (section 4.2)."""


def boundary_width(shape: tuple[int, ...]) -> int:
    """Width of the boundaries of an image (H, W), in pixels: 2% of its diagonal, at least 1."""
    return max(1, round(DILATION * math.hypot(*shape[:2])))


def boundary_indices(
    truth: PanopticMap, prediction: PanopticMap
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Number the boundaries of T truth and P predicted segments at every pixel of two maps (H, W).

    Returns two arrays (H * W,). In the first, 0 is void, ``i + 1`` the boundary of ``truth.segments[i]``, and T + 1 the
    interior of all truth segments; in the second, ``j + 1`` is the boundary of ``prediction.segments[j]``, and 0 is all
    other pixels.
    """
    rows, interior = _index(truth), _interior(truth)
    rows[interior & (rows > 0)] = len(truth.segments) + 1
    columns = _index(prediction)
    columns[_interior(prediction)] = 0
    return rows.ravel(), columns.ravel()


def _index(panoptic: PanopticMap) -> npt.NDArray[np.int64]:
    return panoptic.index().astype(np.int64)


def _interior(panoptic: PanopticMap) -> npt.NDArray[np.bool_]:
    """Pixels whose square window of one boundary width in each direction is in the image and in one segment."""
    index, width = panoptic.index(), boundary_width(panoptic.segment_ids.shape)
    if not index.size:
        return np.zeros(index.shape, dtype=np.bool_)
    # OpenCV has no such filters for int32; float32 holds these numbers exactly, because they are below 2**24
    outside = len(panoptic.segments) + 1
    values = index if outside < 256 else index.astype(np.float32)
    padded = cv2.copyMakeBorder(values, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=(float(outside),))
    kernel = np.ones((2 * width + 1, 2 * width + 1), dtype=np.uint8)
    is_uniform = cv2.erode(padded, kernel) == cv2.dilate(padded, kernel)
    return np.asarray(is_uniform[1:-1, 1:-1])
