"""Near duplicates: variants of a picture are found, others are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.fit.near_duplicates import Gray, Hashes, NearDuplicates, find_near_duplicates
from panoptic_blend.formats.images import read_thumbnail, write_picture


def scene(seed: int) -> Gray:
    """A gray picture (96, 144) of random smooth spots."""
    small = np.random.default_rng(seed).integers(0, 256, (6, 9), dtype=np.uint8)
    return np.asarray(cv2.resize(small, (144, 96), interpolation=cv2.INTER_CUBIC), dtype=np.uint8)


def as_jpeg(picture: Gray) -> Gray:
    return np.asarray(cv2.imdecode(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 20])[1], 0), dtype=np.uint8)


VARIANTS: dict[str, Callable[[Gray], Gray]] = {
    "copy": lambda picture: picture,
    "low quality": as_jpeg,
    "half size": lambda picture: picture[::2, ::2],
    "brighter": lambda picture: np.clip(picture.astype(int) + 25, 0, 255).astype(np.uint8),
    "cropped": lambda picture: picture[2:-2, 2:-2],
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_variants_of_a_picture_are_near_duplicates(variant: str) -> None:
    scenes = [scene(seed) for seed in range(20)]
    others = Hashes.of(VARIANTS[variant](picture) for picture in scenes[::2])
    nearest = Hashes.of(scenes).nearest(others)
    assert nearest.tolist() == [i // 2 if i % 2 == 0 else -1 for i in range(20)]


def test_within_a_set_the_earlier_picture_is_named() -> None:
    scenes = [scene(0), scene(1), as_jpeg(scene(0)), scene(2), scene(0)]
    assert Hashes.of(scenes).nearest().tolist() == [-1, -1, 0, -1, 0]


def test_near_duplicates_among_some_pictures() -> None:
    hashes = Hashes.of([scene(0), scene(1), as_jpeg(scene(0)), scene(0)])
    assert hashes.alike(3, [0, 1, 2]) == [0, 2]
    assert hashes.alike(3, [1]) == hashes.alike(0, []) == []


def test_pictures_without_contrast_are_alike_unless_one_is_much_brighter() -> None:
    flat = [np.full((20, 20), gray, dtype=np.uint8) for gray in (10, 12, 240)]
    assert Hashes.of(flat).nearest().tolist() == [-1, 0, -1]


def test_no_pictures() -> None:
    none = Hashes.of([])
    assert none.nearest().tolist() == none.nearest(Hashes.of([scene(0)])).tolist() == []
    assert Hashes.of([scene(0)]).nearest(none).tolist() == [-1]


def test_many_equal_pictures_take_little_memory() -> None:
    bits, thumbnails = np.zeros(1200, dtype=np.uint64), np.zeros((1200, 32, 32), dtype=np.uint8)
    assert Hashes(bits, thumbnails).nearest().tolist() == [-1, *[0] * 1199]


def disc(seed: int) -> Gray:
    """A white picture with a dark disc somewhere."""
    rng = np.random.default_rng(seed)
    picture = np.full((96, 144), 250, dtype=np.uint8)
    cv2.circle(picture, (int(rng.integers(20, 124)), int(rng.integers(20, 76))), int(rng.integers(8, 20)), 40, -1)
    return picture


def test_pictures_with_little_in_them_are_not_all_alike() -> None:
    near = Hashes.of(map(disc, range(60))).nearest() >= 0
    assert near.mean() < 0.15


def test_only_the_pictures_of_a_data_set_are_read(shapes: Path) -> None:
    splits = CocoPanoptic(shapes, "train2017"), CocoPanoptic(shapes, "val2017")
    names = [split.images.file_names for split in splits]
    write_picture(splits[0].picture_path(5), splits[0].picture(2))
    write_picture(splits[1].picture_path(1), splits[0].picture(4)[2:, 2:])
    (shapes / "annotations").rename(shapes / "elsewhere")
    found = find_near_duplicates(*splits)
    assert found == NearDuplicates(7, 3, 1, 1, ((names[0][5], names[0][2]),), ((names[1][1], names[0][4]),))


@pytest.mark.parametrize(("side", "shape"), [(12, (12, 18)), (13, (24, 36)), (48, (48, 72)), (97, (96, 144))])
def test_the_smallest_size_that_suffices_is_read(tmp_path: Path, side: int, shape: tuple[int, int]) -> None:
    write_picture(tmp_path / "a.jpg", np.repeat(scene(0)[:, :, None], 3, axis=2))
    found = read_thumbnail(tmp_path / "a.jpg", side)
    assert found.shape == shape
    expected = cv2.resize(scene(0), shape[::-1], interpolation=cv2.INTER_AREA)
    assert np.abs(found.astype(int) - expected).mean() < 3
