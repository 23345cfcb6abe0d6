"""Which region keeps an overlap when labels are painted, in numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from panoptic_blend.convert.painting import LabeledRegion, Labels, Overlap, paint, union
from panoptic_blend.structures import Category, Cutout

CAT, DOG = Category(1, "cat", True), Category(2, "dog", True)
SKY, ROAD = Category(3, "sky", False), Category(4, "road", False)
SIZE = (10, 12)


def block(category: Category | None, rows: slice, columns: slice, is_crowd: bool = False) -> LabeledRegion:
    mask = np.zeros(SIZE, bool)
    mask[rows, columns] = True
    return LabeledRegion(category, Cutout.from_mask(mask), is_crowd)


BIG = block(CAT, slice(0, 6), slice(0, 6))  # 36 pixels
SMALL = block(DOG, slice(4, 8), slice(4, 9))  # 20 pixels, 2 x 2 of them in BIG


@pytest.mark.parametrize(
    ("overlap", "order", "areas"),
    [
        ("smaller", [BIG, SMALL], {1: 32, 2: 20}),
        ("smaller", [SMALL, BIG], {1: 32, 2: 20}),
        ("later", [BIG, SMALL], {1: 32, 2: 20}),
        ("later", [SMALL, BIG], {1: 36, 2: 16}),
        ("earlier", [BIG, SMALL], {1: 36, 2: 16}),
        ("earlier", [SMALL, BIG], {1: 32, 2: 20}),
    ],
)
@pytest.mark.parametrize("crowd", [False, True])
def test_two_rectangles_overlap(
    overlap: Overlap, order: list[LabeledRegion], areas: dict[int, int], crowd: bool
) -> None:
    order = [LabeledRegion(region.category, region.cutout, crowd) for region in order]
    painted = paint(Labels(SIZE, order), overlap)
    assert {segment.category: segment.area for segment in painted.panoptic.segments} == areas
    assert [segment.is_crowd for segment in painted.panoptic.segments] == [crowd, crowd]
    assert (painted.contested, painted.hidden, painted.empty) == (4, 0, 0)
    assert np.count_nonzero(painted.panoptic.segment_ids) == 36 + 20 - 4


@pytest.mark.parametrize("overlap", ["smaller", "later", "earlier"])
def test_things_lie_over_crowds_and_crowds_over_void_and_void_over_stuff(overlap: Overlap) -> None:
    stack = [
        block(CAT, slice(0, 3), slice(0, 9)),  # 27
        block(DOG, slice(0, 5), slice(0, 2), is_crowd=True),  # 10, of which the cat hides 6
        block(None, slice(4, 7), slice(0, 9)),  # 27, of which the crowd hides 2
        block(SKY, slice(0, 10), slice(0, 12)),  # 120
    ]
    for order in (stack, stack[::-1]):
        painted = paint(Labels(SIZE, order), overlap)
        areas = {segment.category: segment.area for segment in painted.panoptic.segments}
        assert areas == {CAT.id: 27, DOG.id: 4, SKY.id: 120 - 27 - 4 - 25}
        assert (painted.panoptic.segment_ids[5:7, :9] == 0).all()
        assert painted.contested == 6 + 27


def test_a_stuff_class_is_one_segment_and_never_a_crowd() -> None:
    parts = [block(SKY, slice(0, 2), slice(0, 2)), block(SKY, slice(1, 4), slice(0, 2), is_crowd=True)]
    painted = paint(Labels(SIZE, parts), "smaller")
    [sky] = painted.panoptic.segments
    assert (sky.category, sky.area, sky.box, sky.is_crowd) == (SKY.id, 8, (0, 0, 2, 4), False)
    assert painted.contested == 0


def test_segments_without_a_visible_pixel_are_dropped_and_counted() -> None:
    nothing = LabeledRegion(DOG, Cutout(np.zeros((3, 3), bool), 2, 2))
    painted = paint(Labels(SIZE, [block(DOG, slice(1, 3), slice(1, 3)), BIG, nothing]), "later")
    assert [segment.category for segment in painted.panoptic.segments] == [CAT.id]
    assert (painted.hidden, painted.empty, painted.contested) == (1, 1, 4)
    assert set(np.unique(painted.panoptic.segment_ids)) == {0, painted.panoptic.segments[0].id}


def test_rest_fills_unlabeled_pixels_but_not_void() -> None:
    labels = Labels(SIZE, [block(None, slice(0, 1), slice(0, 12)), BIG])
    painted = paint(labels, "smaller", rest=ROAD)
    assert {s.category: s.area for s in painted.panoptic.segments} == {CAT.id: 36, ROAD.id: 120 - 36 - 6}
    assert (painted.panoptic.segment_ids[0, 6:] == 0).all()
    again = paint(Labels(SIZE, [block(ROAD, slice(9, 10), slice(0, 5))]), "smaller", rest=ROAD)
    assert [segment.area for segment in again.panoptic.segments] == [120]


def test_no_labels_make_an_empty_map() -> None:
    painted = paint(Labels((1, 1), []), "smaller")
    assert painted.panoptic.segments == []
    assert painted.panoptic.segment_ids.tolist() == [[0]]


@given(
    arrays(np.int8, array_shapes(min_dims=2, max_dims=2, max_side=9), elements=st.integers(0, 6)),
    st.permutations(range(7)),
    st.sampled_from(["smaller", "later", "earlier"]),
)
def test_a_map_cut_into_regions_is_rebuilt(ids: npt.NDArray[np.int8], order: list[int], overlap: Overlap) -> None:
    """Of the ids, 0 is unlabeled, 1 to 3 are cats, 4 and 5 are stuff, and 6 is void."""
    meaning = {4: SKY, 5: ROAD, 6: None}
    labels = Labels(ids.shape, [LabeledRegion(meaning.get(i, CAT), Cutout.from_mask(ids == i)) for i in order if i])
    painted = paint(labels, overlap)
    found = painted.panoptic.segment_ids
    assert painted.contested == painted.hidden == 0
    assert ((found == 0) == ((ids == 0) | (ids == 6))).all()
    pairs = {(int(a), int(b)) for a, b in zip(ids.ravel(), found.ravel(), strict=True) if b}
    assert len(pairs) == len({a for a, _ in pairs}) == len({b for _, b in pairs}) == len(painted.panoptic.segments)


def test_a_union_covers_exactly_its_parts() -> None:
    left, right = Cutout(np.ones((2, 3), bool), 1, 1), Cutout(np.ones((4, 2), bool), 2, 5)
    joined = union([left, right, Cutout(np.zeros((0, 0), bool), 0, 0)])
    assert (joined.top, joined.left, joined.mask.shape, int(joined.mask.sum())) == (1, 1, (5, 6), 6 + 8)
    assert union([left]) is left
    assert union([]).mask.size == 0
