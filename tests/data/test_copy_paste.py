"""Pasted things hide what lies below, in the image and in its annotation alike, and bring nothing else along."""

from __future__ import annotations

from collections.abc import Callable
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from panoptic_blend.data.copy_paste import Patch, cut_out
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.data.loader import training_batches
from panoptic_blend.data.protocol import Sample
from panoptic_blend.data.regions import Regions
from panoptic_blend.data.targets import target_of_segments
from panoptic_blend.data.training_samples import TrainingSamples
from panoptic_blend.data.transforms import Augmentation
from panoptic_blend.formats.categories import Categories
from panoptic_blend.structures import Category, PanopticBlendError, PanopticMap, Segment

CATEGORIES = Categories([Category(2, "cat", True), Category(4, "dog", True), Category(3, "grass", False)])
CAT, DOG, GRASS = 2, 4, 3
PASTING = Augmentation([48], 80, copy_paste=1.0)


def segment(id: int, category: int, is_crowd: bool = False) -> Segment:
    return Segment(id, category, category != GRASS, None, 0, None, is_crowd)


def sample_of(ids: npt.NDArray[np.int32], segments: list[Segment], colors: npt.NDArray[np.uint8]) -> Sample:
    """A sample whose pixels have the color of their segment id."""
    image = torch.from_numpy(np.ascontiguousarray(colors[ids])).permute(2, 0, 1)
    return Sample(1, "a.png", image, PanopticMap.measured(ids, segments))


def test_regions_over_others_by_hand() -> None:
    below = Regions([np.array([[1, 1, 2, 2], [3, 3, 0, 0]], np.uint8)], [segment(i, CAT) for i in (7, 8, 9)])
    top = Regions([np.array([[0, 1], [2, 0]], np.uint8), np.array([[3, 0], [0, 0]], np.uint8)], [segment(1, DOG)] * 3)
    joined = below.covered(top, (slice(0, 2), slice(1, 3)))
    assert [segment.category for segment in joined.segments] == [CAT] * 3 + [DOG] * 3
    assert joined.layers[0].tolist() == [[1, 0, 4, 2], [3, 5, 0, 0]]
    assert joined.layers[1].tolist() == [[0, 6, 0, 0], [0, 0, 0, 0]]
    assert joined.areas_and_boxes()[0].tolist() == [1, 1, 1, 1, 1, 1]
    assert below.layers[0].tolist() == [[1, 1, 2, 2], [3, 3, 0, 0]]  # unchanged


def test_hidden_things_and_stuff_are_gone_from_the_target() -> None:
    image = torch.zeros(3, 2, 4, dtype=torch.uint8)
    below = Regions(
        [np.array([[1, 1, 2, 2], [1, 3, 2, 2]], np.uint8)], [segment(7, GRASS), segment(8, CAT), segment(9, CAT)]
    )
    dog = Regions([np.array([[1, 1], [1, 1]], np.uint8)], [segment(5, DOG)])
    patch = Patch((slice(0, 2), slice(2, 4)), dog, np.full((2, 2, 3), 90, np.uint8), np.full((2, 2, 3), 255, np.uint8))
    target = target_of_segments(patch.over_panoptic(below), CATEGORIES)
    assert target["labels"].tolist() == [0, 1] and target["boxes"].tolist() == [[1, 1, 2, 2], [2, 0, 4, 2]]
    assert target["instance_map"].tolist() == [[0, 0, 2, 2], [0, 1, 2, 2]]
    assert target["semantic"].tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]
    assert target["thing_semantic"].tolist() == [[0, 0, 2, 2], [0, 1, 2, 2]]
    assert patch.over_image(image)[0].tolist() == [[0, 0, 90, 90], [0, 0, 90, 90]] and not image.any()


def test_more_segments_than_a_byte_can_count() -> None:
    below = Regions([np.arange(1, 201, dtype=np.uint8).reshape(10, 20)], [segment(i, CAT) for i in range(200)])
    top = Regions([np.arange(1, 101, dtype=np.uint8).reshape(10, 10)], [segment(i, DOG) for i in range(100)])
    joined = below.covered(top, (slice(0, 10), slice(10, 20)))
    assert joined.layers[0][0].tolist() == [*range(1, 11), *range(201, 211)]
    assert joined.layers[0].max() == 300 and len(joined.segments) == 300


@settings(max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    size=st.tuples(st.integers(20, 60), st.integers(20, 60)),
    jitter=st.sampled_from([None, (0.3, 0.6), (1.5, 3.0)]),
    flip=st.sampled_from([0.0, 1.0]),
)
def test_image_and_annotation_stay_aligned(
    seed: int, size: tuple[int, int], jitter: tuple[float, float] | None, flip: float
) -> None:
    """Blocks of one color each are pasted into an image of one color: each pixel tells what it belongs to."""
    rng = np.random.default_rng(seed)
    ids = np.arange(1, 13, dtype=np.int32).reshape(3, 4).repeat(15, 0).repeat(15, 1)
    kinds = [segment(i, GRASS if i % 4 == 0 else CAT, i % 4 == 1) for i in range(1, 13)]
    colors = np.array([[20 * i, 255 - 20 * i, 7 * i % 256] for i in range(13)], np.uint8)
    augmentation = Augmentation([45], 90, flip, jitter=jitter, copy_paste=1.0)
    patch = cut_out(sample_of(ids, kinds, colors), size, augmentation, rng)
    if patch is None:
        return
    canvas = torch.tensor([0, 0, 255], dtype=torch.uint8)[:, None, None].expand(3, *size)
    image = patch.over_image(canvas).permute(1, 2, 0).numpy()
    empty = Regions([np.zeros(size, np.uint8)], [])
    result = patch.over_panoptic(empty)
    assert {s.id % 4 for s in result.segments} <= {2, 3}  # neither stuff nor crowds
    expected = np.array([[0, 0, 255], *(colors[s.id] for s in result.segments)], np.uint8)[result.layers[0]]
    owners = np.pad(result.layers[0].astype(int), 2, constant_values=-1)  # what is cut off may end just outside
    sure = (ndimage.minimum_filter(owners, 5) == ndimage.maximum_filter(owners, 5))[2:-2, 2:-2]
    assert (abs(image[sure].astype(int) - expected[sure]) <= 1).all()
    assert patch.over_instances(empty).layers[0].tolist() == result.layers[0].tolist()


def test_no_color_from_around_a_thing_comes_along() -> None:
    """A gray disc on red, over black: every pixel of the result is a shade of gray, its edge between the two."""
    y, x = np.mgrid[:60, :60]
    ids = 1 + ((y - 30) ** 2 + (x - 30) ** 2 < 400).astype(np.int32)
    colors = np.array([[0, 0, 0], [255, 0, 0], [200, 200, 200]], np.uint8)
    sample = sample_of(ids, [segment(1, GRASS), segment(2, DOG)], colors)
    for seed in range(6):
        patch = cut_out(sample, (48, 48), PASTING, np.random.default_rng(seed))
        assert patch is not None
        image = patch.over_image(torch.zeros(3, 48, 48, dtype=torch.uint8)).int()
        assert (image - image[:1]).abs().max() <= 1 and image.max() <= 201
        shown = np.zeros((48, 48), np.bool_)
        shown[patch.window] = patch.things.flat() > 0
        assert image[0].numpy()[shown].mean() > 190 and image[0].numpy()[~shown].mean() < 10


def test_things_cut_off_by_their_own_border_are_pasted_only_at_a_border() -> None:
    ids = np.ones((40, 40), np.int32)
    ids[:, :10] = 2  # touches three sides
    sample = sample_of(ids, [segment(1, GRASS), segment(2, CAT)], np.zeros((3, 3), np.uint8))
    augmentation = Augmentation([40], 40, 0.0, jitter=(0.5, 2.0), copy_paste=1.0)
    patches = [cut_out(sample, (40, 40), augmentation, np.random.default_rng(seed)) for seed in range(40)]
    assert {patch is None for patch in patches} == {True, False}
    for patch in filter(None, patches):
        rows, columns = patch.window
        assert (rows.start, rows.stop, columns.start) == (0, 40, 0)


def test_a_sample_without_things_gives_nothing() -> None:
    sample = sample_of(np.ones((9, 9), np.int32), [segment(1, GRASS)], np.zeros((2, 3), np.uint8))
    assert cut_out(sample, (20, 20), PASTING, np.random.default_rng(0)) is None


def test_every_image_gets_things_of_others(generated: Path) -> None:
    dataset = CocoPanoptic(generated, "train2017")
    plain, pasted = (
        list(islice(training_batches(dataset, Augmentation([64], 80, copy_paste=share), 7, seed=0), 2))
        for share in (0.0, 1.0)
    )
    assert [batch.names for batch in plain] == [batch.names for batch in pasted]
    images = [[image for batch in batches for image in batch.images] for batches in (plain, pasted)]
    assert sum(not torch.equal(a, b) for a, b in zip(*images, strict=True)) >= 10
    for batch in pasted:
        for target in batch.targets:
            assert (target["semantic"][target["instance_map"] > 0] == 0).all()
            assert int(target["instance_map"].max()) == len(target["labels"])


def test_an_unreadable_second_image(shapes: Path) -> None:
    """It ends the run, or nothing of it is pasted."""
    dataset = CocoPanoptic(shapes, "train2017")
    broken = shapes / "train2017" / dataset.images[2].file_name
    samples = TrainingSamples(dataset, PASTING, seed=0)
    broken.write_bytes(b"")
    failing = next(position for position in range(50) if _error(samples, position) is not None)
    assert str(broken) in str(_error(samples, failing))
    plain, kept = (TrainingSamples(dataset, x, 0, skip=True)[failing, 0] for x in (Augmentation([48], 80), PASTING))
    assert kept.problems == [str(_error(samples, failing))] and not plain.problems
    assert kept.name == plain.name and torch.equal(kept.image, plain.image)
    [batch] = islice(training_batches(dataset, PASTING, 14, seed=0, skip=True), 1)
    assert len(batch.skipped) > 2 and all(str(broken) in line for line in batch.skipped)
    assert broken.name not in batch.names and len(batch.names) == 14


def _error(samples: TrainingSamples, position: int) -> PanopticBlendError | None:
    try:
        samples[position, 0]
    except PanopticBlendError as error:
        return error
    return None


def test_nothing_to_paste_is_refused(
    generated: Path, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = CocoPanoptic(generated, "val2017")
    monkeypatch.setattr(dataset, "instance_counts", lambda: [0, 0, 0])
    message = refused(training_batches, dataset, PASTING, 1, 0)
    assert message == "panoptic_val2017.json: no image has an instance to paste; set data.copy_paste=0"
