from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from panoptic_blend.models import fcos_targets
from panoptic_blend.models.fcos import locations
from panoptic_blend.models.fcos_targets import Assignment, assign, centerness, iou

C = 9
"""Classes, and so the label of background."""


def assign_one(boxes: list[list[float]], size: tuple[int, int] = (8, 8), stride: int = 8, **options: float) -> Tensor:
    """Labels (h, w) on one level that answers for everything; instance i has label i."""
    given_ = [torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)]
    found = assign(given_, [torch.arange(len(boxes))], [size], [stride], C, size_limits=[], **options)
    return found.labels.view(size)


def positives(labels: Tensor) -> set[tuple[int, int]]:
    """Row and column of everything that is not background."""
    return {(row, column) for row, column in (labels != C).nonzero().tolist()}


# --- one instance ----------------------------------------------------------------------------------------------------


def test_center_sampling() -> None:
    """Centers at 4, 12, 20, ...: those less than 12 pixels from (32, 32) are 28 and 36, and 20 is at the border."""
    assert positives(assign_one([[0, 0, 64, 64]])) == {(r, c) for r in (3, 4) for c in (3, 4)}


def test_border_of_the_center_is_outside() -> None:
    # around (28, 28) the locations 16 and 40 would be 12 away: 20, 28 and 36 are nearer
    assert positives(assign_one([[0, 0, 56, 56]])) == {(r, c) for r in (2, 3, 4) for c in (2, 3, 4)}
    # around (32, 28) columns 20 and 44 lie exactly 12 away
    assert positives(assign_one([[0, 0, 64, 56]])) == {(r, c) for r in (2, 3, 4) for c in (3, 4)}


def test_border_of_the_box_is_outside() -> None:
    # its sides run through the locations 12 and 28, so 20 alone lies inside
    assert positives(assign_one([[12, 12, 28, 28]])) == {(2, 2)}
    assert positives(assign_one([[11.75, 12, 28, 28]])) == {(2, 1), (2, 2)}


def test_radius_is_in_strides() -> None:
    assert positives(assign_one([[0, 0, 56, 56]], radius=0.5)) == {(3, 3)}
    assert positives(assign_one([[0, 0, 56, 56]], radius=1.0)) == {(3, 3)}
    assert len(positives(assign_one([[0, 0, 56, 56]], radius=2.25))) == 25


def test_box_between_locations_has_none() -> None:
    assert positives(assign_one([[5, 5, 11, 11]])) == set()


def test_box_without_area_has_none() -> None:
    assert positives(assign_one([[12, 4, 12, 60], [20, 20, 20, 20]])) == set()


def test_distances_in_strides() -> None:
    found = assign([torch.tensor([[0.0, 8.0, 20.0, 40.0]])], [torch.tensor([3])], [(6, 3)], [8], C, size_limits=[])
    at = 2 * 3 + 1  # the location (12, 20)
    assert found.labels[at] == 3
    assert found.distances[at].tolist() == [1.5, 1.5, 1.0, 2.5]


# --- several instances -----------------------------------------------------------------------------------------------


def test_smallest_box_wins() -> None:
    labels = assign_one([[0, 0, 56, 56], [20, 20, 36, 36], [12, 12, 44, 44]])
    assert labels[3, 3] == 1
    # the 3 x 3 around belongs to the second smallest, whose center is the same
    assert {labels[place].item() for place in positives(labels) - {(3, 3)}} == {2}


def test_smallest_by_area_not_by_side() -> None:
    labels = assign_one([[0, 20, 56, 36], [16, 16, 40, 40]])  # 56 x 16 = 896, 24 x 24 = 576
    assert labels[3, 3] == 1


def test_instances_count_over_the_batch() -> None:
    box = torch.tensor([[0.0, 0.0, 24.0, 24.0]])
    boxes = [torch.cat([box, box + 40]), torch.zeros(0, 4), box]
    labels = [torch.tensor([5, 6]), torch.zeros(0, dtype=torch.int64), torch.tensor([7])]
    found = assign(boxes, labels, [(8, 8)], [8], C, size_limits=[])
    shown = found.labels.view(3, 8, 8)
    assert shown[0, 1, 1] == 5
    assert shown[0, 6, 6] == 6
    assert (shown[1] == C).all()
    assert shown[2, 1, 1] == 7
    assert found.instances.view(3, 8, 8)[[0, 0, 2], [1, 6, 1], [1, 6, 1]].tolist() == [0, 1, 2]


def test_no_instances_at_all() -> None:
    none = torch.zeros(0, 4), torch.zeros(0, dtype=torch.int64)
    found = assign([none[0]] * 2, [none[1]] * 2, [(2, 3), (1, 1)], [8, 16], C, size_limits=[64])
    assert found.labels.tolist() == [C] * 14
    assert found.labels.dtype == found.instances.dtype == torch.int64
    assert found.distances.shape == (14, 4)


def test_what_is_compared_at_once_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    corners = 200 * torch.rand(2, 40, 2, generator=torch.Generator().manual_seed(0))
    boxes = torch.cat([corners.amin(0), corners.amax(0)], dim=1)
    boxes[20:] = boxes[:20]  # of equal boxes the first wins
    arguments = [boxes[:15], boxes[15:]], [torch.arange(15) % C, torch.arange(25) % C], [(25, 25), (13, 13)], [8, 16], C
    whole = assign(*arguments, size_limits=[64])
    assert (whole.labels != C).sum() > 50
    for pairs in (1, 40, 40 * 7, 40 * 793):
        monkeypatch.setattr(fcos_targets, "AT_ONCE", pairs)
        parts = assign(*arguments, size_limits=[64])
        assert all(torch.equal(getattr(parts, name), value) for name, value in vars(whole).items())


# --- levels ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "levels"),
    [(32, [0]), (128, [0, 1]), (128.5, [1]), (256, [1, 2]), (256.5, [2])],
)
def test_both_ends_of_a_range_are_included(side: float, levels: list[int]) -> None:
    """The location in the middle of a square box has its sides half a side away."""
    box = torch.tensor([[-side / 2, -side / 2, side / 2, side / 2]]) + 256
    strides = [512, 512, 512]  # one location per level, at (256, 256)
    found = assign([box], [torch.tensor([0])], [(1, 1)] * 3, strides, C, size_limits=[64, 128])
    assert (found.labels == 0).nonzero().squeeze(1).tolist() == levels


def test_the_last_level_has_no_end() -> None:
    box = torch.tensor([[-1e6, -1e6, 1e6, 1e6]])
    found = assign([box], [torch.tensor([0])], [(1, 1)] * 2, [8, 16], C, size_limits=[64])
    assert found.labels.tolist() == [C, 0]


def test_range_goes_by_the_largest_distance() -> None:
    """In the middle of 120 x 40 pixels all sides are within 64; towards its ends one of them is not."""
    box = torch.tensor([[4.0, 20.0, 124.0, 60.0]])
    found = assign([box], [torch.tensor([0])], [(8, 16), (4, 8)], [8, 16], C, size_limits=[64], radius=3.5)
    fine, coarse = found.labels.split([8 * 16, 4 * 8])
    assert {column for _, column in positives(fine.view(8, 16))} == {7, 8}  # x = 60, 68; from 52 and 76 it is 72
    assert {column for _, column in positives(coarse.view(4, 8))} == {1, 2, 3, 4, 5, 6}  # x = 24, 40, ..., 104


def test_one_limit_fewer_than_levels() -> None:
    with pytest.raises(ValueError, match="2 levels need 1 size limits, not 4"):
        assign([torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)], [(1, 1), (1, 1)], [8, 16], C)


# --- against a slow loop ---------------------------------------------------------------------------------------------


def assign_slowly(
    boxes: list[list[list[float]]], sizes: list[tuple[int, int]], strides: list[int], limits: list[float]
) -> list[tuple[int, int]]:
    """(label, instance) per location, written from the rule; label is the number within the image."""
    first = [sum(map(len, boxes[:i])) for i in range(len(boxes))]
    result = []
    for level, ((h, w), stride) in enumerate(zip(sizes, strides, strict=True)):
        lower, upper = [-1.0, *limits][level], [*limits, math.inf][level]
        for image, instances in enumerate(boxes):
            for x, y in locations(h, w, stride).tolist():
                best = (math.inf, C, 0)
                for g, (x0, y0, x1, y1) in enumerate(instances):
                    near = abs(x - (x0 + x1) / 2) < 1.5 * stride and abs(y - (y0 + y1) / 2) < 1.5 * stride
                    inside = x0 < x < x1 and y0 < y < y1
                    in_range = lower <= max(x - x0, y - y0, x1 - x, y1 - y) <= upper
                    if near and inside and in_range:
                        best = min(best, ((x1 - x0) * (y1 - y0), g, first[image] + g))
                result.append(best[1:])
    return result


coordinate = st.integers(0, 128).map(lambda quarter: quarter / 4 * 2)
box = st.tuples(coordinate, coordinate, coordinate, coordinate).map(
    lambda b: [min(b[0], b[2]), min(b[1], b[3]), max(b[0], b[2]), max(b[1], b[3])]
)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(box, max_size=4), min_size=1, max_size=2))
def test_agrees_with_the_rule_in_a_loop(boxes: list[list[list[float]]]) -> None:
    sizes, strides, limits = [(8, 7), (4, 4), (2, 2)], [8, 16, 32], [16.0, 32.0]
    tensors = [torch.tensor(image, dtype=torch.float64).reshape(-1, 4) for image in boxes]
    found: Assignment = assign(tensors, [torch.arange(len(image)) for image in boxes], sizes, strides, C, limits)
    expected = assign_slowly(boxes, sizes, strides, limits)
    assert found.labels.tolist() == [label for label, _ in expected]
    is_positive = found.labels != C
    assert found.instances[is_positive].tolist() == [instance for label, instance in expected if label != C]


# --- center-ness -----------------------------------------------------------------------------------------------------


def test_iou_by_hand() -> None:
    """2 x 2 in 4 x 4; 2 x 4 across 4 x 2, with 4 of 12 in common; either side of the point; no box; the same."""
    predicted = [[1.0, 1, 1, 1], [1, 2, 1, 2], [2, 1, 0, 1], [0, 0, 0, 0], [3, 1, 2, 5]]
    truth = torch.tensor([[2.0, 2, 2, 2], [2, 1, 2, 1], [0, 1, 2, 1], [1, 1, 1, 1], [3, 1, 2, 5]])
    found = iou(torch.tensor(predicted, requires_grad=True), truth)
    assert found.tolist() == pytest.approx([1 / 4, 1 / 3, 0, 0, 1]) and not found.requires_grad
    assert iou(torch.zeros(0, 4), torch.zeros(0, 4)).shape == (0,)


def test_centerness() -> None:
    distances = torch.tensor([[1.0, 1.0, 1.0, 1.0], [1.0, 2.0, 4.0, 2.0], [1.0, 9.0, 4.0, 1.0], [2.0, 3.0, 2.0, 3.0]])
    torch.testing.assert_close(centerness(distances), torch.tensor([1.0, 0.5, 1 / 6, 1.0]))
    assert centerness(torch.zeros(0, 4)).shape == (0,)
