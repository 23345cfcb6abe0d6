"""Images with rare classes come more often, by the numbers of the paper and by the seed alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.loader import _AspectRatioBatches, training_batches
from panoptic_blend.data.repeats import factors, repeat_factors, rounded
from panoptic_blend.data.transforms import Augmentation
from panoptic_blend.prediction.sharing import Shard

Refused = Callable[..., str]
WIDE, TALL = (3, 4), (4, 3)


def test_factors_by_hand() -> None:
    # of 16 images all have the first class, four the second, one the third, and none the fourth
    counts = np.zeros((16, 4), np.int32)
    counts[:, 0], counts[:4, 1], counts[3, 2] = 5, 1, 30
    assert factors(counts, 1.0).tolist() == [2.0, 2.0, 2.0, 4.0, *[1.0] * 12]  # sqrt(1 / (4 / 16)), sqrt(1 / (1 / 16))
    assert factors(counts, 0.25).tolist() == [1.0, 1.0, 1.0, 2.0, *[1.0] * 12]
    assert factors(counts, 1 / 16).tolist() == [1.0] * 16
    assert factors(np.array([[0, 0], [2, 0]], np.int32), 0.5).tolist() == [
        1.0,
        1.0,
    ]  # nothing is in one image: it comes once


@given(st.lists(st.floats(1, 20), min_size=1, max_size=20), st.integers(0, 99))
def test_an_image_comes_as_often_as_its_factor_says_within_one(means: list[float], seed: int) -> None:
    found = rounded(np.array(means), np.random.default_rng(seed))
    assert all(int(mean) <= number <= np.ceil(mean) for mean, number in zip(means, found, strict=True))


def test_fractions_are_kept_on_average() -> None:
    found = rounded(np.full(20000, 1.25), np.random.default_rng(0))
    assert Counter(found.tolist()).keys() == {1, 2} and found.mean() == pytest.approx(1.25, abs=0.01)


@given(
    images=st.lists(st.tuples(st.sampled_from([WIDE, TALL]), st.floats(1, 4)), min_size=1, max_size=9),
    batch_size=st.integers(1, 5),
    seed=st.integers(0, 2**32),
    start=st.integers(0, 20),
)
def test_batches_are_those_of_seed_and_number(
    images: list[tuple[tuple[int, int], float]], batch_size: int, seed: int, start: int
) -> None:
    sizes, means = [size for size, _ in images], np.array([mean for _, mean in images])

    def batches(begin: int, shard: Shard, end: int) -> list[list[tuple[int, int]]]:
        stream = _AspectRatioBatches(sizes, batch_size, seed, begin, shard, means)
        return list(islice(stream, end - begin))

    whole = batches(0, Shard(), start + 40)
    assert batches(start, Shard(), start + 5) == whole[start : start + 5]
    parts = [batches(0, Shard(rank, 2), 5) for rank in (0, 1)]
    assert [a + b for a, b in zip(*parts, strict=True)] == whole[:5]
    assert all(len({sizes[index] for _, index in batch}) == 1 for batch in whole)
    positions = [position for batch in whole for position, _ in batch]
    assert len(set(positions)) == len(positions)  # so an image that is repeated looks different each time


def test_whole_factors_repeat_images_in_every_epoch_in_a_new_order() -> None:
    stream = _AspectRatioBatches([WIDE] * 3, 6, 0, 0, factors=np.array([1.0, 3.0, 2.0]))
    orders = [[index for _, index in batch] for batch in islice(stream, 4)]  # six samples are an epoch and a batch
    assert all(sorted(order) == [0, 1, 1, 1, 2, 2] for order in orders)
    assert len({tuple(order) for order in orders}) > 1


def test_without_a_threshold_the_batches_are_those_of_earlier_versions() -> None:
    stream = islice(_AspectRatioBatches([WIDE, TALL, WIDE, WIDE, TALL], 2, 7, 0), 6)
    assert list(stream) == [
        [(0, 2), (1, 0)],
        [(2, 4), (3, 1)],
        [(4, 3), (5, 3)],
        [(6, 0), (7, 2)],
        [(8, 1), (9, 4)],
        [(10, 0), (11, 2)],
    ]


def test_training_repeats_images_as_their_annotation_asks(generated: Path) -> None:
    dataset = CocoPanoptic(generated, "train2017")
    means = repeat_factors(dataset, 1.0)
    assert means.max() > 1.1  # a class that some images lack
    seen: list[list[str]] = []
    for threshold in (0.0, 1.0):
        batches = training_batches(dataset, Augmentation([32], 32), 1, seed=1, repeat_threshold=threshold)
        seen.append([name for batch in islice(batches, 2 * len(dataset)) for name in batch.names])
    expected = islice(_AspectRatioBatches(dataset.images.sizes, 1, 1, 0, factors=means), 2 * len(dataset))
    assert seen[1] == [dataset.images.file_names[index] for [(_, index)] in expected]
    assert set(Counter(seen[0]).values()) == {2} != set(Counter(seen[1]).values())


def test_a_data_set_without_a_list_of_classes_is_refused(generated: Path, refused: Refused) -> None:
    class Unlisted:
        def __init__(self) -> None:
            whole = CocoPanoptic(generated, "train2017")
            self.name, self.images, self.categories = whole.name, whole.images, whole.categories

    def start() -> None:
        training_batches(Unlisted(), Augmentation([32], 32), 1, seed=0, repeat_threshold=0.1)  # type: ignore[arg-type]

    assert refused(start) == (
        "panoptic_train2017.json: lacks `class_counts` and `picture_path`, which list the classes in its images "
        "for data.repeat_threshold; add them, or set data.repeat_threshold=0"
    )
