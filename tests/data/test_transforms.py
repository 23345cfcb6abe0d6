"""Transforms keep picture and map aligned, and training targets follow from the map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from golden_weights import GOLDEN
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage
from torch import Tensor
from torchvision.transforms.v2 import functional

from panoptic_blend.data.regions import Regions
from panoptic_blend.data.targets import semantic_map, target_of_segments
from panoptic_blend.data.transforms import (
    Augmentation,
    Resizing,
    resize_ids,
    resize_image,
)
from panoptic_blend.deploy.resizing import size_for
from panoptic_blend.formats.categories import Categories
from panoptic_blend.models.targets import instance_masks
from panoptic_blend.structures import IGNORE, Category, PanopticMap, Segment, Target

Ids = npt.NDArray[np.integer[Any]]

CATEGORIES = Categories(
    [Category(2, "cat", True), Category(4, "dog", True), Category(3, "grass", False), Category(9, "sky", False)]
)
CAT, DOG, GRASS, SKY = 2, 4, 3, 9
SIDES = st.integers(1, 40)


def target_of(panoptic: PanopticMap) -> Target:
    return target_of_segments(Regions.of_panoptic(panoptic), CATEGORIES)


def segment(id: int, category: int, is_crowd: bool = False) -> Segment:
    return Segment(id, category, category in (CAT, DOG), None, 0, None, is_crowd)


def colored(ids: Ids) -> Tensor:
    """A picture (3, H, W) whose color identifies the id of each pixel of a map; ids are below 256."""
    colors = np.random.default_rng(0).permutation(256)[:, None] * [1, 3, 7] % 256
    return torch.from_numpy(colors.astype(np.uint8)[ids].transpose(2, 0, 1).copy())


def augmented(augmentation: Augmentation, image: Tensor, ids: Ids, seed: int) -> tuple[Tensor, Ids]:
    geometry = augmentation.draw((ids.shape[0], ids.shape[1]), np.random.default_rng(seed))
    return geometry.image(image), geometry.ids(ids)


def blocks(rows: int = 5, columns: int = 7, side: int = 12) -> npt.NDArray[np.int32]:
    """Squares of ids 1, 2, ... from the top left on."""
    return np.arange(1, rows * columns + 1, dtype=np.int32).reshape(rows, columns).repeat(side, 0).repeat(side, 1)


@pytest.mark.parametrize(
    ("size", "short", "long", "expected"),
    [
        ((480, 640), 800, 1333, (800, 1067)),  # 640 * 800 / 480 = 1066.7
        ((640, 480), 800, 1333, (1067, 800)),
        ((427, 640), 800, 1333, (800, 1199)),
        ((100, 1000), 800, 1333, (133, 1333)),  # the long side is the limit
        ((1000, 100), 800, 1333, (1333, 133)),
        ((1, 1), 800, 1333, (800, 800)),
        ((1, 1000), 10, 50, (1, 50)),  # at least one pixel
        ((300, 300), 300, 300, (300, 300)),
    ],
)
def test_sizes_by_hand(size: tuple[int, int], short: int, long: int, expected: tuple[int, int]) -> None:
    assert size_for(size, short, long) == expected


@given(st.tuples(st.integers(1, 5000), st.integers(1, 5000)), st.integers(1, 1000), st.integers(1, 2000))
def test_sizes_stay_within_their_limits(size: tuple[int, int], short: int, long: int) -> None:
    found = size_for(size, short, long)
    assert min(found) == short or max(found) == long
    assert 1 <= min(found) <= short and max(found) <= max(long, 1)
    scale = min(short / min(size), long / max(size))
    assert all(abs(new - old * scale) <= 0.5 or new == 1 for new, old in zip(found, size, strict=True))


def test_ids_are_sampled_at_pixel_centers() -> None:
    ids = np.array([[1, 2, 3, 4], [5, 6, 7, 8]], np.int32)
    assert resize_ids(ids, (1, 2)).tolist() == [[6, 8]]
    assert resize_ids(ids, (2, 3)).tolist() == [[1, 3, 4], [5, 7, 8]]  # centers at 0.67, 2, 3.33
    assert resize_ids(ids, (4, 4)).tolist() == [[1, 2, 3, 4]] * 2 + [[5, 6, 7, 8]] * 2
    assert resize_ids(ids, (2, 4)).tolist() == ids.tolist()


@given(arrays(np.int32, array_shapes(min_dims=2, max_dims=2), elements=st.integers(0, 2**24 - 1)), SIDES, SIDES)
def test_resizing_invents_no_ids(ids: Ids, height: int, width: int) -> None:
    resized = resize_ids(ids, (height, width))
    assert resized.shape == (height, width) and resized.dtype == np.int32
    assert np.isin(resized, ids).all()
    enlarged = resize_ids(ids, (3 * ids.shape[0], 2 * ids.shape[1]))
    assert (enlarged == ids.repeat(3, axis=0).repeat(2, axis=1)).all()
    assert (resize_ids(enlarged, (ids.shape[0], ids.shape[1])) == ids).all()


def test_pictures_are_antialiased_where_they_shrink() -> None:
    stripes = torch.tensor([0, 0, 0, 200], dtype=torch.uint8).repeat(3, 32, 8)
    assert resize_image(stripes, (8, 8))[:, :, 1:-1].float().sub(50).abs().max() <= 1  # each pixel sees every fourth
    assert (resize_image(stripes, (32, 32)) == stripes).all()
    assert resize_image(stripes[:, :1, :1], (5, 7)).shape == (3, 5, 7)


@settings(max_examples=50)
@given(SIDES, SIDES, st.integers(2, 40), SIDES, st.integers(0, 5))
def test_the_memory_layout_changes_no_value(height: int, width: int, to_height: int, to: int, cut: int) -> None:
    planes = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, height + cut, width + cut), np.uint8))
    interleaved = planes.permute(1, 2, 0).contiguous().permute(2, 0, 1)
    expected = functional.resize(planes[:, cut:, cut:].contiguous(), [to_height, to], antialias=True)
    for image in (planes, interleaved):
        assert (resize_image(image[:, cut:, cut:], (to_height, to)) == expected).all()


def test_a_picture_may_shrink_to_one_pixel() -> None:
    """Torch refuses this for a picture in three planes."""
    assert resize_image(torch.full((3, 4, 5), 7, dtype=torch.uint8), (1, 1)).tolist() == [[[7]]] * 3


def test_resizing_as_mmdetection() -> None:
    """Sizes to the pixel, and values to the rounding of OpenCV's versions, in either layout of memory."""
    with np.load(GOLDEN / "M1.npz") as golden:
        sizes, given_, expected = (golden[f"unit_resize_{name}"] for name in ("sizes", "image_in", "image_out"))
    assert len(sizes) == 32
    for height, width, new_height, new_width, *scales in sizes.tolist():
        found = size_for((int(height), int(width)), 800, 1333)
        assert found == (new_height, new_width)
        assert [found[1] / width, found[0] / height] == scales
    image = torch.from_numpy(given_).permute(2, 0, 1)
    for layout in (image, image.contiguous()):
        found_image = Resizing(80, 133, "opencv")(layout)
        assert found_image.shape == (3, 80, 113) and found_image.dtype == torch.uint8
        assert (found_image.permute(1, 2, 0).int() - torch.from_numpy(expected).int()).abs().max() <= 1
    small = Resizing(32, 64, "opencv")(image)  # smaller is where it differs from antialiasing
    assert torch.equal(Resizing(32, 64)(image), resize_image(image, (32, 45)))
    assert (small.int() - resize_image(image, (32, 45)).int()).abs().max() > 20


def inner(ids: Ids, margin: int) -> npt.NDArray[np.bool_]:
    """Mask (H, W) of the pixels without another id within ``margin`` rows and columns."""
    size = 2 * margin + 1
    return np.asarray(ndimage.minimum_filter(ids, size) == ndimage.maximum_filter(ids, size))


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    short_sides=st.lists(st.integers(40, 130), min_size=1, max_size=3),
    long_side=st.integers(60, 200),
    flip=st.sampled_from([0.0, 0.5, 1.0]),
    crop=st.sampled_from([1.0, 0.8, 0.5]),
)
def test_picture_and_map_stay_aligned(
    seed: int, short_sides: Sequence[int], long_side: int, flip: float, crop: float
) -> None:
    ids, augmentation = blocks(), Augmentation(short_sides, long_side, flip, crop)
    image, new = augmented(augmentation, colored(ids), ids, seed)
    assert image.shape == (3, *new.shape) and image.dtype == torch.uint8
    assert new.flags.c_contiguous and new.dtype == np.int32
    assert min(new.shape) in short_sides or max(new.shape) == long_side
    assert min(new.shape) <= max(short_sides) and max(new.shape) <= long_side
    sure = inner(new, 2)
    assert sure.mean() > 0.15
    assert (image.numpy()[:, sure] == colored(new).numpy()[:, sure]).all()


@settings(max_examples=30)
@given(st.integers(0, 2**32 - 1), st.sampled_from([0.3, 0.5, 0.9]))
def test_crops_keep_their_fraction_and_their_aspect_ratio(seed: int, crop: float) -> None:
    ids = np.arange(1, 200 * 150 + 1, dtype=np.int32).reshape(200, 150)
    image, new = augmented(Augmentation([300], 9000, 0.0, crop), torch.zeros(3, 200, 150, dtype=torch.uint8), ids, seed)
    assert image.shape == (3, *new.shape)
    rows, columns = (new - 1) // 150, (new - 1) % 150
    height, width = int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1)
    assert int(crop * 200) <= height <= 200 and int(crop * 150) <= width <= 150
    assert size_for((height, width), 300, 9000) == new.shape
    assert (np.diff(rows, axis=0) >= 0).all() and (np.diff(columns, axis=1) >= 0).all()


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.sampled_from([(0.25, 0.5), (0.5, 3.0), (1.0, 1.0), (2.0, 4.0)]))
def test_jitter_scales_by_its_factors_and_crops_to_the_size_without_it(seed: int, jitter: tuple[float, float]) -> None:
    """The source of each pixel gives the scale, which is the same along both sides but for rounding."""
    ids = np.arange(1, 200 * 150 + 1, dtype=np.int32).reshape(200, 150)
    augmentation = Augmentation([300], 9000, 0.0, jitter=jitter)
    image, new = augmented(augmentation, torch.zeros(3, 200, 150, dtype=torch.uint8), ids, seed)
    assert image.shape == (3, *new.shape)
    rows, columns = (new - 1) // 150, (new - 1) % 150
    height, width = int(rows.max() - rows.min() + 1), int(columns.max() - columns.min() + 1)
    factors = [new.shape[0] / height / 2, new.shape[1] / width / 2]  # without jitter everything is doubled
    assert jitter[0] * 0.97 <= min(factors) and max(factors) <= jitter[1] * 1.03
    assert factors[0] == pytest.approx(factors[1], rel=0.03)
    is_whole = height > 200 - 4 and width > 150 - 4  # at half the size each pixel stands for two
    assert new.shape == (400, 300) or (is_whole and new.shape[0] < 400)


def test_half_and_double_size_are_equally_likely() -> None:
    augmentation, rng = Augmentation([100], 100, jitter=(0.5, 2.0)), np.random.default_rng(0)
    drawn = [augmentation.draw((100, 100), rng) for _ in range(400)]
    assert 170 <= sum(geometry.size[0] < 100 for geometry in drawn) <= 230
    assert 70 <= sum(geometry.size[0] < 71 for geometry in drawn) <= 130  # below the root of 1/2: a quarter
    tops = {geometry.window[0].start for geometry in drawn}
    assert min(tops) == 0 and max(tops) > 40


def test_crops_lie_anywhere() -> None:
    ids = np.arange(10_000, dtype=np.int32).reshape(100, 100)
    image, augmentation = torch.zeros(3, 100, 100, dtype=torch.uint8), Augmentation([100], 100, 0.0, 0.5)
    corners = np.array([augmented(augmentation, image, ids, seed)[1][0, 0] for seed in range(60)])
    assert len(set(corners.tolist())) > 50
    assert (corners // 100).min() < 5 and (corners % 100).min() < 5
    assert (corners // 100).max() > 20 and (corners % 100).max() > 20


def test_a_flip_is_a_mirror_image() -> None:
    ids = blocks(2, 3, 4)
    image = torch.arange(3 * 8 * 12, dtype=torch.uint8).reshape(3, 8, 12)
    flipped, mirrored = augmented(Augmentation([8], 100, flip=1.0), image, ids, 0)
    assert (flipped == image.flip(2)).all() and (mirrored == ids[:, ::-1]).all()
    same, as_before = augmented(Augmentation([8], 100, flip=0.0), image, ids, 0)
    assert (same == image).all() and (as_before == ids).all()
    augmentation = Augmentation([8], 100, flip=0.5)
    flips = [(augmented(augmentation, image, ids, i)[1] != ids).any() for i in range(200)]
    assert 70 <= sum(flips) <= 130


def test_all_randomness_comes_from_the_generator() -> None:
    ids, augmentation = blocks(), Augmentation([40, 50, 60], 200, 0.5, 0.5)
    results: list[tuple[Tensor, Ids]] = []
    for seed in (1, 1, 2):
        np.random.seed(len(results))  # noqa: NPY002
        torch.manual_seed(len(results))
        results.append(augmented(augmentation, colored(ids), ids, seed))
    assert (results[0][0] == results[1][0]).all() and (results[0][1] == results[1][1]).all()
    assert results[0][1].shape != results[2][1].shape or (results[0][1] != results[2][1]).any()
    short_sides = [min(augmented(augmentation, colored(ids), ids, i)[1].shape) for i in range(30)]
    assert set(short_sides) == {40, 50, 60}


def test_a_target_by_hand() -> None:
    ids = np.array([[7, 7, 0, 5, 5], [7, 6, 6, 5, 5], [9, 6, 6, 8, 8]], np.int32)
    segments = [segment(5, SKY), segment(6, DOG), segment(7, CAT), segment(8, DOG, True), segment(9, GRASS)]
    target = target_of(PanopticMap.measured(ids, segments))
    assert target["boxes"].tolist() == [[1, 1, 3, 3], [0, 0, 2, 2]] and target["boxes"].dtype == torch.float32
    assert target["labels"].tolist() == [1, 0] and target["labels"].dtype == torch.int64
    assert target["instance_map"].tolist() == [[2, 2, 0, 0, 0], [2, 1, 1, 0, 0], [0, 1, 1, 0, 0]]
    assert instance_masks(target).dtype == torch.bool
    assert instance_masks(target).int().tolist() == [
        [[0, 0, 0, 0, 0], [0, 1, 1, 0, 0], [0, 1, 1, 0, 0]],
        [[1, 1, 0, 0, 0], [1, 0, 0, 0, 0], [0, 0, 0, 0, 0]],
    ]
    assert target["semantic"].tolist() == [[0, 0, 255, 2, 2], [0, 0, 0, 2, 2], [1, 0, 0, 0, 0]]
    assert target["thing_semantic"].tolist() == [[1, 1, 255, 0, 0], [1, 2, 2, 0, 0], [0, 2, 2, 2, 2]]


def test_a_target_of_a_map_without_segments() -> None:
    for shape in ((1, 1), (4, 6)):
        target = target_of(PanopticMap.measured(np.zeros(shape, np.int32), []))
        assert target["boxes"].shape == (0, 4) and target["boxes"].dtype == torch.float32
        assert target["labels"].shape == (0,) and target["labels"].dtype == torch.int64
        assert instance_masks(target).shape == (0, *shape) and instance_masks(target).dtype == torch.bool
        assert (target["semantic"] == 255).all() and (target["thing_semantic"] == 255).all()
        assert target["semantic"].shape == target["thing_semantic"].shape == shape


def test_more_instances_than_a_byte_can_count() -> None:
    ids = np.arange(1, 301, dtype=np.int32).reshape(15, 20)
    for count, expected in ((255, torch.uint8), (256, torch.int32)):
        panoptic = PanopticMap.measured(ids, [segment(i, CAT) for i in range(1, count + 1)])
        target = target_of(panoptic)
        assert target["instance_map"].dtype == expected and panoptic.index().max() == count
        assert len(target["boxes"]) == count and target["boxes"][-1].tolist() == [(count - 1) % 20, 12, count % 20, 13]
        assert (instance_masks(target).sum(dim=(1, 2)) == 1).all()
        assert bool(instance_masks(target)[count - 1, 12, count % 20 - 1])


def test_instances_that_were_cropped_away_are_left_out() -> None:
    ids = blocks(1, 3, 4)
    segments = [segment(1, CAT), segment(2, DOG), segment(3, GRASS)]
    cropped = PanopticMap.measured(ids[:, 4:], PanopticMap.measured(ids, segments).segments)
    target = target_of(cropped)
    assert target["labels"].tolist() == [1] and target["boxes"].tolist() == [[0, 0, 4, 4]]
    assert instance_masks(target).shape == (1, 4, 8)


@st.composite
def maps(draw: st.DrawFn) -> PanopticMap:
    """Maps of up to six segments of any kind, some without pixels."""
    count = draw(st.integers(0, 6))
    ids = draw(arrays(np.int32, array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.integers(0, count)))
    categories = draw(st.lists(st.sampled_from([CAT, DOG, GRASS, SKY]), min_size=count, max_size=count))
    crowds = draw(st.lists(st.booleans(), min_size=count, max_size=count))
    segments = [segment(100 * (i + 1), *kind) for i, kind in enumerate(zip(categories, crowds, strict=True))]
    return PanopticMap.measured(100 * ids, draw(st.permutations(segments)))


@given(maps())
def test_targets_agree_with_their_map(panoptic: PanopticMap) -> None:
    target = target_of(panoptic)
    instances = [s for s in panoptic.segments if s.is_thing and not s.is_crowd and s.area > 0]
    masks = instance_masks(target)
    assert len(target["boxes"]) == len(target["labels"]) == len(masks) == len(instances)
    assert (masks.sum(dim=0) <= 1).all()
    for box, label, mask, source in zip(
        target["boxes"].tolist(), target["labels"].tolist(), masks.numpy(), instances, strict=True
    ):
        assert (mask == (panoptic.segment_ids == source.id)).all()
        rows, columns = np.nonzero(mask)
        assert box == [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        assert CATEGORIES.thing_ids[label] == source.category
    kinds = {s.id: s for s in panoptic.segments}
    semantic, things = target["semantic"].numpy(), target["thing_semantic"].numpy()
    assert (semantic_map(panoptic, CATEGORIES) == semantic).all()
    for (y, x), id in np.ndenumerate(panoptic.segment_ids):
        if id == 0:
            assert semantic[y, x] == things[y, x] == IGNORE
        elif kinds[int(id)].is_thing:
            assert semantic[y, x] == 0
            assert things[y, x] == CATEGORIES.thing_ids.index(kinds[int(id)].category) + 1
        else:
            assert semantic[y, x] == CATEGORIES.stuff_ids.index(kinds[int(id)].category) + 1
            assert things[y, x] == 0


def test_short_sides_from_a_range() -> None:
    """Exactly the whole numbers from the first to the last occur."""
    augmentation, rng = Augmentation([40, 43], 200, side_sampling="range"), np.random.default_rng(0)
    assert {augmentation.draw((40, 60), rng).size[0] for _ in range(60)} == {40, 41, 42, 43}
