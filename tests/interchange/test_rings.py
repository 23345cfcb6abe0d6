"""Outlines enclose their masks: exactly, or within the tolerance."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.outlines import within
from panoptic_blend.interchange.rings import center_rings, edge_rings, joined
from panoptic_blend.structures import Cutout

Mask = npt.NDArray[np.bool_]
masks = arrays(np.bool_, st.tuples(st.integers(1, 9), st.integers(1, 9)))


def filled(ring: npt.NDArray[np.float64], size: tuple[int, int]) -> Mask:
    """The pixels within one ring, as COCO fills it."""
    mask, cutout = np.zeros(size, bool), within(ring, size, "ring", Notes())
    mask[cutout.window] = cutout.mask
    return mask


@given(masks)
@example(np.ones((1, 1), bool))
@example(np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], bool))
@settings(max_examples=100)
def test_rings_along_edges_enclose_exactly_the_mask(mask: Mask) -> None:
    size = mask.shape[0] + 3, mask.shape[1] + 2
    whole = np.zeros(size, bool)
    whole[3:, 2:] = mask
    parts = edge_rings(Cutout(mask, 3, 2), 0)
    assert len(parts) == cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] - 1
    found = np.zeros(size, bool)
    for part in parts:
        for ring in (part.outer, *part.holes):
            found ^= filled(ring, size)
    assert (found == whole).all()
    if parts:
        assert (filled(joined(parts), size) == whole).all()


@given(masks)
@settings(max_examples=100)
def test_rings_through_centers_pass_through_the_outermost_pixels(mask: Mask) -> None:
    found = np.zeros(mask.shape, np.uint8)
    for part in center_rings(Cutout(mask, 0, 0), 0):
        cv2.fillPoly(found, [np.floor(part.outer).astype(np.int32)], 1)
        for hole in part.holes:
            assert mask[np.floor(hole[:, 1]).astype(int), np.floor(hole[:, 0]).astype(int)].all()
    background = cv2.connectedComponents(np.pad(~mask, 1, constant_values=True).astype(np.uint8), connectivity=4)[1]
    assert (found.astype(bool) == (background != background[0, 0])[1:-1, 1:-1]).all()


def test_a_square_with_a_hole_has_the_corners_of_both() -> None:
    mask = np.ones((4, 5), bool)
    mask[1:3, 1:4] = False
    [part] = edge_rings(Cutout(mask, 10, 20), 0)
    assert sorted(part.outer.tolist()) == [[20, 10], [20, 14], [25, 10], [25, 14]]
    assert [sorted(hole.tolist()) for hole in part.holes] == [[[21, 11], [21, 13], [24, 11], [24, 13]]]
    [part] = center_rings(Cutout(mask, 10, 20), 0)
    assert sorted(part.outer.tolist()) == [[20.5, 10.5], [20.5, 13.5], [24.5, 10.5], [24.5, 13.5]]


@pytest.mark.parametrize("tolerance", [1, 3])
def test_a_tolerance_saves_corners_and_moves_the_outline_by_no_more(tolerance: float) -> None:
    rows, columns = np.ogrid[:200, :200]
    radius = np.hypot(rows - 99.5, columns - 99.5)
    disk = radius < 90
    [exact], [simple] = edge_rings(Cutout(disk, 0, 0), 0), edge_rings(Cutout(disk, 0, 0), tolerance)
    assert len(simple.outer) < len(exact.outer) / 3
    changed = filled(simple.outer, disk.shape) != disk
    assert (np.abs(radius[changed] - 90) <= tolerance + 1).all()


def test_a_ring_that_would_vanish_is_kept() -> None:
    [part] = edge_rings(Cutout(np.ones((1, 3), bool), 5, 5), 2)
    assert filled(part.outer, (9, 9)).sum() == 3
