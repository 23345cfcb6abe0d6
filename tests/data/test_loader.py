"""Batches depend only on the seed and their number, and errors reach the caller unchanged."""

from __future__ import annotations

import shutil
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from instance_files import write_instances

from panoptic_blend.config.options import Data
from panoptic_blend.data.blocks import shared_block
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.instances import CocoInstances
from panoptic_blend.data.loader import (
    Batch,
    _AspectRatioBatches,
    _prefetched,
    evaluation_samples,
    training_batches,
)
from panoptic_blend.data.transforms import Augmentation, Resizing
from panoptic_blend.deploy.resizing import size_for
from panoptic_blend.models.inputs import Doubts
from panoptic_blend.models.targets import Classes, checked_targets
from panoptic_blend.prediction.sharing import Shard
from panoptic_blend.structures import PanopticBlendError

Refused = Callable[..., str]

AUGMENTATION = Augmentation([48, 56, 64], 80, 0.5, 0.7, color=0.5, degrade=0.3, copy_paste=0.5)


@pytest.fixture(scope="module")
def dataset(generated: Path) -> CocoPanoptic:
    return CocoPanoptic(generated, "train2017")


def first(batches: Iterator[Batch], count: int) -> list[Batch]:
    return list(islice(batches, count))


def is_same(one: Batch, other: Batch) -> bool:
    if one.names != other.names:
        return False
    tensors = [
        [*batch.images, *(value for target in batch.targets for value in target.values())] for batch in (one, other)
    ]
    return all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(*tensors, strict=True))


def test_batches_hold_images_targets_and_names_that_belong_together(dataset: CocoPanoptic) -> None:
    for batch in first(training_batches(dataset, AUGMENTATION, 3, seed=1), 4):
        assert len(batch.images) == len(batch.targets) == len(batch.names) == 3
        for image, target in zip(batch.images, batch.targets, strict=True):
            size = image.shape[1:]
            assert image.dtype == torch.uint8 and len(image) == 3
            assert min(size) in AUGMENTATION.short_sides or max(size) == 80
            assert target["semantic"].shape == target["thing_semantic"].shape == size
            assert target["instance_map"].shape == size and int(target["instance_map"].max()) == len(target["labels"])
            assert len(target["boxes"]) == len(target["labels"])
        assert set(batch.names) <= {image.file_name for image in dataset.images}


@pytest.mark.parametrize("has_instances", [False, True])
def test_the_model_need_not_check_targets(generated: Path, tmp_path: Path, has_instances: bool) -> None:
    """Training takes the targets of the loader as they are."""
    root = tmp_path / "data"
    shutil.copytree(generated, root)
    write_instances(root, "train2017")
    panoptic = CocoPanoptic(root, "train2017")
    data = CocoInstances(root, "train2017", panoptic) if has_instances else panoptic
    classes = Classes(len(data.categories.thing_ids), len(data.categories.stuff_ids))
    for batch in first(training_batches(data, AUGMENTATION, 3, seed=1), 4):
        doubts, sizes = Doubts(), [(image.shape[1], image.shape[2]) for image in batch.images]
        checked = checked_targets(batch.targets, sizes, classes, torch.device("cpu"), doubts)
        doubts.settle()
        for one, other in zip(batch.targets, checked, strict=True):
            assert one.keys() == other.keys()
            values: list[Any] = [dict(one), dict(other)]
            assert all(torch.equal(values[0][key], values[1][key]) for key in one)


@pytest.mark.parametrize("workers", [0, 1])
def test_batches_for_a_gpu_are_the_same_in_one_block(
    dataset: CocoPanoptic, workers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("panoptic_blend.data.workers.pinned_block", shared_block)  # there may be no GPU
    monkeypatch.setattr(torch.Tensor, "pin_memory", torch.Tensor.clone)
    usual = first(training_batches(dataset, AUGMENTATION, 3, seed=1), 2)
    pinned = first(training_batches(dataset, AUGMENTATION, 3, seed=1, workers=workers, pin=True), 2)
    for one, other in zip(usual, pinned, strict=True):
        assert is_same(one, other)
        assert [target.keys() for target in one.targets] == [target.keys() for target in other.targets]
        assert [image.stride() for image in one.images] == [image.stride() for image in other.images]
        tensors = [*other.images, *(value for target in other.targets for value in target.values())]
        assert len({torch.as_tensor(x).untyped_storage().data_ptr() for x in tensors}) == 1


def test_batches_depend_on_seed_and_number_alone(dataset: CocoPanoptic) -> None:
    torch.manual_seed(1)
    expected = first(training_batches(dataset, AUGMENTATION, 2, seed=3), 9)
    torch.manual_seed(2)
    np.random.seed(2)  # noqa: NPY002
    with_workers = first(training_batches(dataset, AUGMENTATION, 2, seed=3, workers=2), 9)
    later = first(training_batches(dataset, AUGMENTATION, 2, seed=3, start=4), 5)
    for batches, start in ((with_workers, 0), (later, 4)):
        assert all(is_same(a, b) for a, b in zip(batches, expected[start:], strict=True))
    other = first(training_batches(dataset, AUGMENTATION, 2, seed=4), 9)
    assert not any(is_same(a, b) for a, b in zip(other, expected, strict=True))
    assert not is_same(expected[0], expected[1])


def test_options_of_the_config_are_those_of_the_augmentation() -> None:
    data = Data(
        short_sides=(48,),
        long_side=80,
        flip=0.1,
        side_sampling="range",
        jitter=(0.5, 2),
        color=0.2,
        degrade=1,
        copy_paste=0.3,
    )
    assert Augmentation.from_options(data) == Augmentation((48,), 80, 0.1, 1.0, "range", (0.5, 2.0), 0.2, 1.0, 0.3)
    assert Augmentation.from_options(Data(crop=0.3)).crop == 0.3


def test_an_image_looks_different_in_every_epoch(dataset: CocoPanoptic) -> None:
    batches = first(training_batches(dataset, AUGMENTATION, 1, seed=3), 4 * len(dataset))
    name = dataset.images[0].file_name
    seen = [batch.images[0] for batch in batches if batch.names == [name]]
    assert len(seen) == 4
    assert not any(torch.equal(a, b) for i, a in enumerate(seen) for b in seen[:i])


def test_wide_and_tall_images_never_share_a_batch(dataset: CocoPanoptic) -> None:
    is_wide = {image.file_name: image.size[1] > image.size[0] for image in dataset.images}
    kinds = [
        {is_wide[name] for name in batch.names}
        for batch in first(training_batches(dataset, AUGMENTATION, 2, seed=0), 12)
    ]
    assert all(len(kind) == 1 for kind in kinds)
    assert {True} in kinds and {False} in kinds


SIZES = st.lists(st.sampled_from([(3, 4), (4, 3), (4, 4)]), min_size=1, max_size=9)


@given(sizes=SIZES, batch_size=st.integers(1, 5), seed=st.integers(0, 2**32), start=st.integers(0, 20))
def test_every_image_occurs_in_every_epoch(
    sizes: list[tuple[int, int]], batch_size: int, seed: int, start: int
) -> None:
    count = max((3 + batch_size) * len(sizes), start + 5)  # enough to use up every image of three epochs
    batches = list(islice(_AspectRatioBatches(sizes, batch_size, seed, 0), count))
    assert batches[start : start + 5] == list(islice(_AspectRatioBatches(sizes, batch_size, seed, start), 5))
    assert all(len(batch) == batch_size for batch in batches)
    assert all(len({sizes[index][1] > sizes[index][0] for _, index in batch}) == 1 for batch in batches)
    seen = Counter(item for batch in batches for item in batch)
    assert max(seen.values()) == 1
    for epoch in range(3):
        indices = [index for position, index in seen if position // len(sizes) == epoch]
        assert sorted(indices) == list(range(len(sizes)))


def test_every_epoch_has_a_new_order() -> None:
    batches = islice(_AspectRatioBatches([(3, 4)] * 20, 20, 0, 0), 5)
    orders = [[index for _, index in batch] for batch in batches]
    assert len({tuple(order) for order in orders}) == 5
    assert [*range(20)] not in orders


def test_a_data_set_smaller_than_a_batch_repeats_its_images(shapes: Path) -> None:
    dataset = CocoPanoptic(shapes, "val2017")
    [batch] = first(training_batches(dataset, AUGMENTATION, 8, seed=0), 1)
    assert len(batch.images) == 8 and len(set(batch.names)) < 8
    assert len({image.numpy().tobytes() for image in batch.images}) == 8


@pytest.mark.parametrize("workers", [0, 2])
def test_errors_reach_the_caller_unchanged(shapes: Path, refused: Refused, workers: int) -> None:
    dataset = CocoPanoptic(shapes, "val2017")
    path = shapes / "val2017" / dataset.images[1].file_name
    path.write_bytes(path.read_bytes()[:500])
    expected = f"{path}: cannot be decoded; it is cut short or not a picture, so fetch it again"
    assert refused(first, training_batches(dataset, AUGMENTATION, 1, seed=0, workers=workers), 3) == expected
    samples = evaluation_samples(dataset, Resizing(64, 80), workers)
    assert next(samples).image_id == dataset.images[0].id  # images before the broken one are not lost
    assert refused(next, samples) == expected


def test_evaluation_samples_are_every_image_once_in_order_and_unchanged(dataset: CocoPanoptic) -> None:
    expected = [dataset[index] for index in range(len(dataset))]
    for workers in (0, 2):
        samples = list(evaluation_samples(dataset, Resizing(50, 70), workers))
        assert [sample.image_id for sample in samples] == [image.id for image in dataset.images]
        for sample, source in zip(samples, expected, strict=True):
            assert sample.file_name == source.file_name and torch.equal(sample.original, source.image)
            height, width = source.panoptic_truth().segment_ids.shape
            assert sample.image.shape == (3, *size_for((height, width), 50, 70))
            assert (sample.panoptic_truth().segment_ids == source.panoptic_truth().segment_ids).all()
            assert sample.panoptic_truth().segments == source.panoptic_truth().segments


def test_a_broken_image_of_a_later_batch_does_not_stop_an_earlier_one(shapes: Path) -> None:
    dataset = CocoPanoptic(shapes, "val2017")
    last = shapes / "annotations" / "panoptic_val2017" / dataset.images[2].annotation.png
    last.unlink()
    samples = evaluation_samples(dataset, Resizing(64, 80), workers=1)
    assert [next(samples).image_id for _ in range(2)] == [image.id for image in dataset.images[:2]]
    with pytest.raises(PanopticBlendError, match=f"^{last}: no such file; check the path\n"):  # a note
        next(samples)


def test_prefetched_batches_are_the_same_and_errors_keep_their_position() -> None:
    def made() -> Iterator[Batch]:
        for i in range(3):
            yield Batch([torch.full((1,), i)], [], [str(i)], [])
        raise PanopticBlendError("the fourth")

    found = _prefetched(made())
    assert [batch.names for batch in islice(found, 3)] == [["0"], ["1"], ["2"]]
    with pytest.raises(PanopticBlendError, match="the fourth"):
        next(found)
    assert list(_prefetched(iter([]))) == []


@pytest.mark.parametrize("processes", [1, 2, 3, 5])
def test_shards_add_up_to_the_whole(dataset: CocoPanoptic, processes: int) -> None:
    """Training batches and evaluation samples are the same for any number of processes."""
    whole = first(training_batches(dataset, AUGMENTATION, 5, seed=2), 3)
    shards = [
        first(training_batches(dataset, AUGMENTATION, 5, seed=2, shard=Shard(rank, processes)), 3)
        for rank in range(processes)
    ]
    for i, batch in enumerate(whole):
        assert [name for shard in shards for name in shard[i].names] == batch.names
        assert all(map(torch.equal, [image for shard in shards for image in shard[i].images], batch.images))
    samples = [evaluation_samples(dataset, Resizing(64, 80), shard=Shard(rank, processes)) for rank in range(processes)]
    assert [sample.image_id for shard in samples for sample in shard] == list(dataset.images.ids)


def test_parts_of_a_batch_add_up_to_it() -> None:
    batch = Batch([torch.full((1,), i) for i in range(5)], [{} for _ in range(5)], list("abcde"), [])  # type: ignore[typeddict-item]
    assert [[int(image) for image in images] for images, _ in batch.parts(2)] == [[0, 1], [2, 3, 4]]
    assert [len(targets) for _, targets in batch.parts(5)] == [1] * 5
