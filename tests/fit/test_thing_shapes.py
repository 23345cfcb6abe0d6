"""Shapes of things, worked out by hand on a few pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch
from pycocotools import mask as coco

from panoptic_blend.data.protocol import Sample
from panoptic_blend.fit.thing_shapes import thickness, thing_shapes
from panoptic_blend.instances import TrueInstances
from panoptic_blend.structures import PanopticMap, Segment


def sample(ids: npt.NDArray[np.int32], *segments: tuple[int, int, bool, bool]) -> Sample:
    """A sample of a map whose segments are given as id, category, whether they are things and whether crowds."""
    listed = [Segment(i, category, is_thing, None, 0, None, is_crowd) for i, category, is_thing, is_crowd in segments]
    image = torch.zeros(3, *ids.shape, dtype=torch.uint8)
    return Sample(1, "a.png", image, PanopticMap.measured(ids, listed))


def test_sides_areas_and_thicknesses_of_things_only() -> None:
    ids = np.zeros((20, 110), dtype=np.int32)
    ids[2:6, 4:104] = 5  # a bar of 4 x 100
    ids[10:12, 0:2] = 9  # a square of 2 at the edge of the picture
    ids[15:, 50:] = 7  # stuff
    ids[15:, :20] = 8  # a crowd
    shapes = thing_shapes(
        sample(ids, (5, 1, True, False), (7, 2, False, False), (8, 1, True, True), (9, 3, True, False))
    )
    assert shapes.category_ids.tolist() == [1, 3]
    assert shapes.areas.tolist() == [400, 4]
    assert shapes.long_sides.tolist() == [100, 2]
    assert shapes.short_sides.tolist() == [4, 2]
    # distances in the columns of the bar are 1, 2, 2, 1, and all 1 in the first and the last one
    assert shapes.thicknesses.tolist() == pytest.approx([4 * ((98 * 6 + 2 * 4) / 400 - 0.5), 2])
    assert not shapes.touching.any()
    assert not shapes.overlapping.any()


def test_the_thickness_of_a_disc_and_of_a_ring() -> None:
    y, x = np.mgrid[-50:51, -50:51]
    radius = np.hypot(x, y)
    assert thickness(radius <= 50) == pytest.approx(2 / 3 * 100, rel=0.02)
    assert thickness((radius <= 50) & (radius > 40)) == pytest.approx(10, rel=0.1)


@pytest.mark.parametrize(("gap", "touches"), [(0, True), (1, True), (2, False)])
@pytest.mark.parametrize("turned", [False, True])
def test_things_of_one_class_touch_up_to_a_gap_of_one_pixel(gap: int, touches: bool, turned: bool) -> None:
    ids = np.zeros((10, 30), dtype=np.int32)
    ids[2:8, 2:6], ids[2:8, 6 + gap : 12], ids[2:8, 12:20] = 1, 2, 3  # the third is of another class
    listed = (1, 1, True, False), (2, 1, True, False), (3, 4, True, False)
    shapes = thing_shapes(sample(ids.T.copy() if turned else ids, *listed))
    assert shapes.touching.tolist() == [touches, touches, False]


def test_instances_that_overlap() -> None:
    masks = np.zeros((4, 20, 20), dtype=np.uint8, order="F")
    masks[0, 2:10, 2:10] = masks[1, 8:12, 8:12] = masks[2, 15:18, 15:18] = masks[3] = 1
    encoded = [coco.encode(np.asfortranarray(mask))["counts"] for mask in masks]
    truth = TrueInstances(
        (20, 20), np.array([1, 2, 1, 1]), np.zeros((4, 4)), encoded, np.zeros(4), np.array([False, False, False, True])
    )
    shapes = thing_shapes(Sample(1, "a.png", torch.zeros(3, 20, 20, dtype=torch.uint8), None, truth))
    assert shapes.areas.tolist() == [64, 16, 9]
    assert shapes.overlapping.tolist() == [True, True, False]  # the crowd under all of them does not count
    assert shapes.touching.tolist() == [False, False, False]  # the first two are of different classes


def test_no_things() -> None:
    shapes = thing_shapes(sample(np.zeros((4, 4), dtype=np.int32)))
    assert len(shapes) == 0
    assert shapes.thicknesses.shape == shapes.touching.shape == (0,)
