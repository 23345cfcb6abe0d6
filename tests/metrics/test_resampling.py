"""Bootstrap intervals compared with a plain loop, and paired comparisons."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from panoptic_blend.metrics.details import Tallies
from panoptic_blend.metrics.resampling import compare_results, image_qualities, intervals
from panoptic_blend.structures import Category

Refused = Callable[..., str]

CATEGORIES = (
    Category(1, "cat", is_thing=True),
    Category(2, "dog", is_thing=True),
    Category(3, "sky", is_thing=False),
    Category(4, "sea", is_thing=False),
)


def tallies(seed: int, images: int = 40, base: Tallies | None = None) -> Tallies:
    """Random counts without any sea; with ``base``, counts for the same truth where some of its pairs are lost."""
    generator = np.random.default_rng(seed)
    shape = (images, len(CATEGORIES))
    tp = generator.integers(0, 3, shape) * np.array([1, generator.random(), 1, 0]).round()
    fn = generator.integers(0, 2, shape) * np.array([1, 1, 1, 0])
    if base is not None:
        tp = np.maximum(base.tp - generator.integers(0, 2, shape), 0)
        fn = base.tp + base.fn - tp
    fp = generator.integers(0, 2, shape) * np.array([1, 0, 1, 0])
    iou_sum = tp * generator.uniform(0.5, 1, shape)
    return Tallies(tuple(range(images)), CATEGORIES, iou_sum, *(a.astype(float) for a in (tp, fp, fn)))


def slow(t: Tallies, places: list[int]) -> tuple[list[float], dict[int, float]]:
    """PQ of All, Things and Stuff and of the classes that occur, for images drawn one by one."""
    per_class = {}
    for column, category in enumerate(t.categories):
        tp, fp, fn = (sum(a[place, column] for place in places) for a in (t.tp, t.fp, t.fn))
        if tp + fp + fn:
            per_class[category.id] = sum(t.iou_sum[place, column] for place in places) / (tp + fp / 2 + fn / 2)
    groups = []
    for kinds in ((True, False), (True,), (False,)):
        members = [pq for c, pq in per_class.items() if CATEGORIES[c - 1].is_thing in kinds]
        groups.append(sum(members) / max(len(members), 1))
    return groups, per_class


def drawn(images: int, resamples: int, seed: int) -> list[list[int]]:
    generator = np.random.default_rng(seed)
    return [list(places) for places in generator.integers(0, images, (resamples, images))]


def test_intervals_are_quantiles_of_a_plain_loop() -> None:
    data = tallies(0)
    found = intervals(data, resamples=60, level=0.8, seed=7)
    samples = [slow(data, places) for places in drawn(40, 60, 7)]
    groups, per_class = slow(data, list(range(40)))
    for place, name in enumerate(("All", "Things", "Stuff")):
        bounds = np.quantile([sample[0][place] for sample in samples], [0.1, 0.9])
        interval = found.groups[name]
        assert [interval.value, interval.low, interval.high] == pytest.approx([groups[place], *bounds])
        assert interval.low < interval.value < interval.high
    assert found.per_class.keys() == per_class.keys() == {1, 2, 3}
    for category in (1, 3):
        bounds = np.quantile([sample[1][category] for sample in samples], [0.1, 0.9])
        assert [found.per_class[category].low, found.per_class[category].high] == pytest.approx(list(bounds))


def test_seeds_are_reproducible_and_several_chunks_of_resamples_work() -> None:
    data = tallies(1)
    assert intervals(data, seed=3) == intervals(data, seed=3) != intervals(data, seed=4)
    samples = [slow(data, places)[0][0] for places in drawn(40, 100, 5)]
    assert intervals(data, resamples=100, seed=5).groups["All"].low == pytest.approx(np.quantile(samples, 0.025))
    assert intervals(data, resamples=230).groups["All"].value == pytest.approx(slow(data, list(range(40)))[0][0])


def test_the_interval_of_a_class_is_over_the_resamples_where_it_occurs() -> None:
    data = tallies(2, images=10)
    data.iou_sum[:, 3], data.tp[:, 3] = 0, 0
    data.iou_sum[4, 3], data.tp[4, 3] = 0.7, 1
    interval = intervals(data).per_class[4]
    assert [interval.value, interval.low, interval.high] == pytest.approx([0.7] * 3)


def test_a_comparison_uses_the_same_resamples_for_both() -> None:
    first = tallies(3)
    second = tallies(4, base=first)
    found = compare_results(first, second, resamples=80, level=0.9, seed=2)
    pairs = [(slow(first, places)[0], slow(second, places)[0]) for places in drawn(40, 80, 2)]
    for place, name in enumerate(("All", "Things", "Stuff")):
        differences = [b[place] - a[place] for a, b in pairs]
        low, high = np.quantile(differences, [0.05, 0.95])
        assert [found.groups[name].low, found.groups[name].high] == pytest.approx([low, high])
        assert found.better[name] == pytest.approx(np.mean([d > 0 for d in differences]))
    whole = [slow(t, list(range(40)))[0][0] for t in (first, second)]
    assert found.groups["All"].value == pytest.approx(whole[1] - whole[0])


def test_equal_results_do_not_differ() -> None:
    data = tallies(5)
    found = compare_results(data, data)
    assert {(i.value, i.low, i.high) for i in [*found.groups.values(), *found.per_class.values()]} == {(0, 0, 0)}
    assert set(found.better.values()) == {0.5}


def test_images_are_sorted_by_difference() -> None:
    first = tallies(6)
    second = tallies(7, base=first)
    images = compare_results(first, second).images
    assert len(images) == 40
    sizes = [abs(image.difference) for image in images]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] > 0
    worst = images[0]
    assert isinstance(worst.image, int)
    assert worst.first == pytest.approx(slow(first, [worst.image])[0][0])
    assert worst.difference == pytest.approx(slow(second, [worst.image])[0][0] - worst.first)


def test_no_images() -> None:
    data = tallies(8, images=0)
    found = intervals(data)
    assert (found.groups["All"].value, found.per_class) == (0, {})
    assert compare_results(data, data).images == []
    assert image_qualities(data).shape == (0,)


def test_an_image_with_nothing_to_score_has_no_quality_and_comes_last() -> None:
    first = tallies(11)
    second = tallies(12, base=first)
    for data in (first, second):
        for counts in (data.iou_sum, data.tp, data.fp, data.fn):
            counts[3] = 0
    found = image_qualities(first)
    assert np.isnan(found[3]) and np.isnan(found).sum() == 1
    images = compare_results(first, second).images
    assert images[-1].image == 3 and np.isnan(images[-1].difference)
    sizes = [abs(image.difference) for image in images[:-1]]
    assert sizes == sorted(sizes, reverse=True)


def test_results_for_different_images_or_truths_are_refused(refused: Refused) -> None:
    data = tallies(9)
    other = Tallies((*range(39), 77), CATEGORIES, data.iou_sum, data.tp, data.fp, data.fn)
    assert refused(compare_results, data, other).startswith("image 39 is in one result set only; ")
    assert refused(compare_results, data, tallies(10)).startswith("image 0 has a different truth in the second")
    less = Tallies(data.images, CATEGORIES[:2], *(a[:, :2] for a in (data.iou_sum, data.tp, data.fp, data.fn)))
    assert refused(compare_results, data, less).startswith("the result sets have different categories; ")
