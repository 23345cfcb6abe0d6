"""Bootstrap intervals compared with a plain loop, and paired comparisons."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from panoptic_blend.metrics import resampling
from panoptic_blend.metrics.details import Tallies
from panoptic_blend.metrics.resampling import Interval, compare_results, image_qualities, intervals
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


def error(t: Tallies, places: list[int], other: Tallies | None = None) -> list[float]:
    """Standard errors of PQ of All, Things and Stuff, or of the difference, by nudging the weight of every image."""

    def quality(weights: list[float]) -> list[float]:
        scaled = [
            Tallies(x.images, x.categories, *(a * np.array(weights)[:, None] for a in (x.iou_sum, x.tp, x.fp, x.fn)))
            for x in (t, other or t)
        ]
        one, two = (slow(x, list(range(len(weights))))[0] for x in scaled)
        return [b - a for a, b in zip(one, two, strict=True)] if other else one

    weights = [float(places.count(image)) for image in range(len(t.images))]
    start, squares = quality(weights), [0.0] * 3
    for image, weight in enumerate(weights):
        if weight:
            nudged = quality([w + 1e-6 * (i == image) for i, w in enumerate(weights)])
            squares = [s + weight * ((b - a) / 1e-6) ** 2 for s, a, b in zip(squares, start, nudged, strict=True)]
    return [s**0.5 for s in squares]


def test_intervals_are_studentized_as_in_a_plain_loop() -> None:
    data, everything = tallies(0, images=12), list(range(12))
    found = intervals(data, resamples=40, level=0.8, seed=7)
    samples = drawn(12, 40, 7)
    groups, per_class = slow(data, everything)
    errors, own = [error(data, places) for places in samples], error(data, everything)
    for place, name in enumerate(("All", "Things", "Stuff")):
        deviations = [
            (slow(data, places)[0][place] - groups[place]) / errors[number][place]
            for number, places in enumerate(samples)
        ]
        low, high = groups[place] - np.quantile(deviations, [0.9, 0.1]) * own[place]
        interval = found.groups[name]
        assert [interval.value, interval.low, interval.high] == pytest.approx([groups[place], low, high], abs=1e-4)
        assert interval.low < interval.value < interval.high
    assert found.per_class.keys() == per_class.keys() == {1, 2, 3}
    sky, stuff = found.per_class[3], found.groups["Stuff"]  # the only stuff that occurs
    assert [sky.value, sky.low, sky.high] == pytest.approx([stuff.value, stuff.low, stuff.high])


def test_seeds_are_reproducible_and_several_chunks_of_resamples_work(monkeypatch: pytest.MonkeyPatch) -> None:
    data = tallies(1)
    whole = intervals(data, resamples=230, seed=3)
    assert whole == intervals(data, resamples=230, seed=3) != intervals(data, resamples=230, seed=4)
    monkeypatch.setattr(resampling, "_DRAWN_AT_ONCE", 40 * 100)
    chunks = intervals(data, resamples=230, seed=3)
    for name, interval in whole.groups.items():
        assert [interval.low, interval.high] == pytest.approx([chunks.groups[name].low, chunks.groups[name].high])


def once(images: int) -> Tallies:
    """Perfect results for 40 images of sky, and the sea in some of them, found in every second."""
    shape = 40, len(CATEGORIES)
    tp, fn = np.zeros(shape), np.zeros(shape)
    tp[:, 2] = 1
    tp[:images:2, 3], fn[1:images:2, 3] = 1, 1
    return Tallies(tuple(range(40)), CATEGORIES, tp.copy(), tp, np.zeros(shape), fn)


def test_a_class_in_fewer_than_six_images_is_too_rare_for_an_interval() -> None:
    found = intervals(once(5))
    assert found.too_rare == [4]
    assert found.per_class[4] == Interval(3 / 4, 0, 1)  # 3 / (3 + 2 / 2)
    enough = intervals(once(12))
    assert enough.too_rare == []
    assert enough.per_class[4].value == pytest.approx(6 / 9)
    assert 0 < enough.per_class[4].low < 6 / 9 < enough.per_class[4].high < 1
    compared = compare_results(once(5), once(5))
    assert compared.per_class[4] == Interval(0, -1, 1)


def test_fewer_than_six_images_have_no_interval() -> None:
    assert intervals(tallies(13, images=5)).groups["All"].low == 0
    assert intervals(tallies(13, images=5)).groups["All"].high == 1
    nine = intervals(tallies(13, images=9)).groups["Stuff"]
    assert 0 < nine.low < nine.value < nine.high < 1


def test_without_variation_an_interval_has_no_width() -> None:
    sky = intervals(once(0)).per_class[3]
    assert sky == Interval(1, 1, 1)


def test_few_errors_in_many_images_have_a_percentile_interval() -> None:
    """Most resamples of a set with one error lack it, and have no standard error to divide by."""
    data = once(0)
    data.tp[7, 2], data.iou_sum[7, 2], data.fn[7, 2] = 0, 0, 1
    sky = intervals(data, resamples=300, seed=1).per_class[3]
    lost = [places.count(7) for places in drawn(40, 300, 1)]
    low, high = np.quantile([(40 - n) / (40 - n / 2) for n in lost], [0.025, 0.975])
    assert [sky.value, sky.low, sky.high] == pytest.approx([39 / 39.5, low, high])


def test_bounds_are_ordered_within_all_that_pq_can_be_and_include_the_value() -> None:
    for seed in range(30):
        data = tallies(seed, images=6 + seed % 9)
        other = tallies(seed + 100, base=data, images=len(data.images))
        found, compared = intervals(data, resamples=50), compare_results(data, other, resamples=50)
        for interval in [*found.groups.values(), *found.per_class.values()]:
            assert 0 <= interval.low <= interval.value <= interval.high <= 1
        for interval in [*compared.groups.values(), *compared.per_class.values()]:
            assert -1 <= interval.low <= interval.value <= interval.high <= 1


def test_a_single_resample_works() -> None:
    for seed in range(20):
        assert intervals(once(6), resamples=1, seed=seed).groups["All"].value == pytest.approx((1 + 3 / 4.5) / 2)


def test_intervals_of_many_rare_classes_reach_the_truth_that_percentiles_miss() -> None:
    """Ten segments of each of 40 classes in 500 images, of which half are found: the expected PQ is 2/3."""
    categories = tuple(Category(id, str(id), is_thing=True) for id in range(40))
    generator, low, high = np.random.default_rng(0), [], []
    for seed in range(40):
        occurs = generator.random((500, 40)) < 0.02
        tp = (occurs & (generator.random((500, 40)) < 0.5)).astype(float)
        data = Tallies(tuple(range(500)), categories, tp.copy(), tp, np.zeros_like(tp), occurs - tp)
        interval = intervals(data, resamples=200, seed=seed).groups["All"]
        low.append(interval.low)
        high.append(interval.high)
    covered = (np.array(low) <= 2 / 3) & (np.array(high) >= 2 / 3)
    assert covered.sum() >= 36


def test_a_comparison_uses_the_same_resamples_for_both() -> None:
    first = tallies(3, images=14)
    second = tallies(4, base=first, images=14)
    found = compare_results(first, second, resamples=60, level=0.9, seed=2)
    whole = [slow(t, list(range(14)))[0] for t in (first, second)]
    own, samples = error(first, list(range(14)), second), drawn(14, 60, 2)
    errors = [error(first, places, second) for places in samples]
    pairs = [(slow(first, places)[0], slow(second, places)[0]) for places in samples]
    for place, name in enumerate(("All", "Things", "Stuff")):
        gain = whole[1][place] - whole[0][place]
        differences = [b[place] - a[place] for a, b in pairs]
        deviations = [(d - gain) / e[place] for d, e in zip(differences, errors, strict=True)]
        low, high = gain - np.quantile(deviations, [0.95, 0.05]) * own[place]
        interval = found.groups[name]
        assert [interval.value, interval.low, interval.high] == pytest.approx([gain, low, high], abs=1e-4)
        assert found.better[name] == pytest.approx(np.mean([d > 0 for d in differences]))


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
    assert np.isnan(found.groups["All"].value) and found.per_class == {}
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
