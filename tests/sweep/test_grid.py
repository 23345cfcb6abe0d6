"""The matches of all settings at once equal those of fusing and scoring with each setting, to the last bit."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from panoptic_blend.formats.categories import Categories
from panoptic_blend.metrics.panoptic_quality import PanopticQuality
from panoptic_blend.postprocessing.fusion import paint
from panoptic_blend.structures import IGNORE, Category, Cutout, PanopticMap, Runs, Segment
from panoptic_blend.sweep.cache import FusionSample
from panoptic_blend.sweep.grid import (
    Grid,
    MatchCounts,
    Setting,
    count_matches,
    published_settings,
    scaled_stuff_area,
    split_ious,
)

CATEGORIES = Categories(
    [
        Category(3, "cat", is_thing=True),
        Category(5, "sky", is_thing=False),
        Category(8, "dog", is_thing=True),
        Category(9, "sea", is_thing=False),
    ]
)


@st.composite
def samples(draw: st.DrawFn) -> FusionSample:
    """Predictions that resemble the truth more or less; scores are multiples of 0.1, so that there are ties."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    shape = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    number = draw(st.integers(0, 4))
    ids = rng.integers(0, number + 1, shape).astype(np.int32) if number else np.zeros(shape, np.int32)
    segments = []
    for i in range(1, number + 1):
        category = CATEGORIES[int(rng.integers(4))]
        is_crowd = category.is_thing and rng.random() < 0.3
        segments.append(Segment(i, category.id, category.is_thing, None, 0, None, is_crowd))
    masks = [ids == rng.integers(1, number + 1) if number else rng.random(shape) < 0.5 for _ in range(rng.integers(6))]
    masks = [mask ^ (rng.random(shape) < rng.choice([0, 0.1, 0.9])) for mask in masks]
    return FusionSample(
        (rng.integers(0, 11, len(masks)) / 10).astype(np.float32),
        rng.integers(0, 2, len(masks)),
        [Cutout.from_mask(mask) for mask in masks],
        Runs.from_pixels(rng.choice([0, 1, 1, 1, 2, IGNORE], shape)),
        PanopticMap(ids, segments).runs(),
        segments,
    )


def scored(sample: FusionSample, setting: Setting) -> list[tuple[float, int, int, int]]:
    """Fuse and score with one setting: (sum of IoUs, TP, FP, FN) of every class."""
    semantic = sample.semantic.paint(sample.semantic.values)
    scores, labels = torch.from_numpy(sample.scores), torch.from_numpy(sample.labels)
    fused = paint(sample.cutouts, scores, labels, semantic, **vars(setting))
    truth = PanopticMap(sample.truth.paint(sample.truth.values.astype(np.int32)), sample.segments)
    quality = PanopticQuality(CATEGORIES)
    quality.update(truth, CATEGORIES.to_dataset(fused))
    per_class = quality.compute().per_class.values()
    return [(q["iou_sum"], q["tp"], q["fp"], q["fn"]) for q in per_class]


GRID = Grid((0.0, 0.1, 0.5, 0.7, 1.0), (0.0, 0.2, 0.5, 1.0), (0, 1, 4, 30))


@settings(max_examples=40)
@given(samples())
def test_all_settings_at_once_equal_each_setting_alone(sample: FusionSample) -> None:
    combinations = GRID.settings()
    found = count_matches(sample, combinations, CATEGORIES).statistics()
    assert found.shape == (80, 4, 4)
    for setting, statistics in zip(combinations, found.tolist(), strict=True):
        assert [tuple(of_class) for of_class in statistics] == scored(sample, setting), setting


@given(samples())
def test_a_sample_survives_packing(sample: FusionSample) -> None:
    found = FusionSample.unpack(sample.pack())
    assert [s.category for s in found.segments] == [s.category for s in sample.segments]
    assert [(s.is_thing, s.is_crowd) for s in found.segments] == [(s.is_thing, s.is_crowd) for s in sample.segments]
    assert len(found.cutouts) == len(sample.cutouts)
    for ours, theirs in zip(found.cutouts, sample.cutouts, strict=True):
        assert (ours.top, ours.left, ours.mask.shape) == (theirs.top, theirs.left, theirs.mask.shape)
        assert np.array_equal(ours.mask, theirs.mask)
    assert np.array_equal(found.scores, sample.scores) and found.scores.dtype == np.float32
    assert np.array_equal(found.labels, sample.labels)
    for runs, same in ((found.semantic, sample.semantic), (found.truth, sample.truth)):
        assert np.array_equal(runs.paint(runs.values), same.paint(same.values))


@settings(max_examples=30)
@given(
    st.lists(st.integers(1, 10**6).flatmap(lambda n: st.tuples(st.integers(n // 2 + 1, n), st.just(n))), max_size=60)
)
def test_sums_of_ious_are_rounded_once(ratios: list[tuple[int, int]]) -> None:
    ious = np.array([part / whole for part, whole in ratios])
    counts = np.stack([*split_ious(ious), *np.zeros((3, len(ious)))], axis=-1).sum(axis=0)
    assert MatchCounts(counts[None]).iou_sum.tolist() == [float(sum(map(Fraction, ious.tolist())))]


def test_the_grid_includes_the_current_and_the_published_settings() -> None:
    current = Setting(0.23, 0.4, 100)
    grid = Grid.around(current, 256)
    assert grid.stuff_areas == (0, 64, 100, 128, 256, 512, 1024)
    assert grid.shape == (20, 11, 7) and len(grid.settings()) == 20 * 11 * 7 > 500
    assert {current, *published_settings(256).values()} <= set(grid.settings())
    assert Grid.around(current, 256, has_stuff=False).stuff_areas == (100,)
    assert current.overrides() == "model.fusion.confidence=0.23 model.fusion.overlap=0.4 model.fusion.stuff_area=100"


@pytest.mark.parametrize(
    ("sizes", "area"),
    [([(480, 640)], 4096), ([(427, 640), (640, 480), (333, 500)], 4096), ([(128, 128)], 256), ([(1024, 2048)], 32768)],
)
def test_the_stuff_area_scales_with_the_images(sizes: list[tuple[int, int]], area: int) -> None:
    assert scaled_stuff_area(sizes) == area
