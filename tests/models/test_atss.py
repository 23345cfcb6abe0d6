"""ATSS: which locations learn an instance, worked out by hand, and by a slow version of the algorithm."""

from __future__ import annotations

from statistics import fmean, stdev

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from panoptic_blend.models import atss
from panoptic_blend.models.atss import assign, nearest_cells, strongest
from panoptic_blend.models.fcos_targets import Grid

C = 9
SIZES, STRIDES = [(8, 12), (4, 6), (2, 3)], [8, 16, 32]

Box = tuple[int, int, int, int]


def assigned(*images: list[Box]) -> list[Tensor]:
    """Labels (N, h, w) of every level; instance i of an image has the label i."""
    boxes = [torch.tensor(image, dtype=torch.float64).reshape(-1, 4) for image in images]
    found = assign(boxes, [torch.arange(len(image)) for image in images], SIZES, STRIDES, C)
    areas = [len(images) * h * w for h, w in SIZES]
    return [part.view(len(images), *size) for part, size in zip(found.labels.split(areas), SIZES, strict=True)]


def slowly(boxes: list[Box], number: int = 9) -> list[list[list[int]]]:
    """Labels of one image by algorithm 1, as its lines say it."""
    anchors = [
        (level, row, column, column * s + s // 2, row * s + s // 2, s)
        for level, ((h, w), s) in enumerate(zip(SIZES, STRIDES, strict=True))
        for row in range(h)
        for column in range(w)
    ]
    best: dict[tuple[int, int, int], tuple[float, int]] = {}
    for label, (left, top, right, bottom) in enumerate(boxes):
        x, y = (left + right) / 2, (top + bottom) / 2
        overlaps = {}
        for level in range(len(SIZES)):
            own = [anchor for anchor in anchors if anchor[0] == level]
            for anchor in sorted(own, key=lambda a: (a[3] - x) ** 2 + (a[4] - y) ** 2)[:number]:
                px, py, s = anchor[3:]
                width = max(0, min(px + 4 * s, right) - max(px - 4 * s, left))
                height = max(0, min(py + 4 * s, bottom) - max(py - 4 * s, top))
                common = width * height
                overlaps[anchor] = common / ((8 * s) ** 2 + (right - left) * (bottom - top) - common)
        threshold = fmean(overlaps.values()) + stdev(overlaps.values())
        for anchor, overlap in overlaps.items():
            is_inside = left < anchor[3] < right and top < anchor[4] < bottom
            if overlap >= threshold and is_inside and overlap > best.get(anchor[:3], (0.0, 0))[0]:
                best[anchor[:3]] = overlap, label
    return [
        [[best.get((level, row, column), (0, C))[1] for column in range(w)] for row in range(h)]
        for level, (h, w) in enumerate(SIZES)
    ]


def test_one_candidate_of_each_level_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    """Anchors of 8, 16 and 32 pixels in the middle of a box of 16 pixels overlap it by 1/4, 1 and 1/4: mean 1/2 and
    deviation sqrt(3)/4 = 0.43, so that the second alone is positive."""
    monkeypatch.setattr(atss, "_ANCHOR", 1)
    boxes = [torch.tensor([[0.0, 0.0, 16.0, 16.0]])]
    found = assign(boxes, [torch.tensor([5])], [(1, 1)] * 3, [8, 16, 32], C, candidates=1)
    # their centers are at 4, 8 and 16: the first anchor lies in the box, the third holds it
    assert found.labels.tolist() == [C, 5, C]
    assert found.instances.tolist()[1] == 0
    assert found.distances[1].tolist() == [0.5] * 4


def test_levels_follow_from_the_size() -> None:
    """Anchors have sides of 64, 128 and 256 pixels."""
    small, large = assigned([(20, 8, 76, 60)]), assigned([(-16, -32, 112, 96)])
    assert [bool((labels != C).any()) for labels in small] == [True, False, False]
    assert [bool((labels != C).any()) for labels in large] == [False, True, False]


def test_no_instances_and_boxes_without_area() -> None:
    cases: list[list[list[Box]]] = [[[]], [[], []], [[(0, 0, 0, 0)]]]
    for images in cases:
        assert all((labels == C).all() for labels in assigned(*images))


def test_images_do_not_see_each_other() -> None:
    first, second = [(4, 4, 60, 60), (30, 20, 90, 64)], [(0, 0, 96, 64)]
    together = assigned(first, [], second)
    for number, image in ((0, first), (2, second)):
        for found, alone in zip(together, assigned(image), strict=True):
            assert torch.equal(found[number], alone[0])
    assert all((labels[1] == C).all() for labels in together)


box = st.tuples(st.integers(0, 80), st.integers(0, 50), st.integers(4, 96), st.integers(4, 64)).map(
    lambda x: (x[0], x[1], min(x[0] + x[2], 96), min(x[1] + x[3], 64))
)


@settings(deadline=None, max_examples=60)
@given(st.lists(box, max_size=4))
def test_it_is_the_algorithm_of_the_paper(boxes: list[Box]) -> None:
    found = [labels[0].tolist() for labels in assigned(boxes)]
    assert found == slowly(boxes)


def test_few_boxes_at_once_are_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    boxes = [(4, 4, 60, 60), (30, 20, 90, 64), (0, 0, 96, 64)]
    expected = assigned(boxes)
    monkeypatch.setattr(atss, "AT_ONCE", 1)
    assert all(torch.equal(a, b) for a, b in zip(assigned(boxes), expected, strict=True))


def test_nearest_cells_of_a_level_that_has_few() -> None:
    """The center (8, 4) is as near to the cells at 4 and 12; of the second level both cells are candidates."""
    grid = Grid.of([(1, 3), (1, 2)], [8, 16], torch.zeros(1))
    assert nearest_cells(grid, torch.tensor([[0.0, 0.0, 16.0, 8.0]]), 2).tolist() == [[0, 1, 3, 4]]


def test_the_strongest_box_of_a_cell() -> None:
    """Two images of four cells: a higher score wins, of equal ones the first box, and a score of 0 nothing."""
    scores = torch.tensor([[0.5, 0.2], [0.5, 0.3], [0.9, 0.0]])
    cells = torch.tensor([[1, 2], [1, 2], [1, 3]])
    found = strongest(scores, cells, torch.tensor([0, 0, 1]), (2, 4))
    assert found.tolist() == [[3, 0, 1, 3], [3, 2, 3, 3]]
    assert strongest(torch.zeros(0, 2), torch.zeros(0, 2).long(), torch.zeros(0).long(), (1, 3)).tolist() == [[0] * 3]
