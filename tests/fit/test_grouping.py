"""Pictures that belong together, by their names and by what they show."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_blend.fit.grouping import Grouping, Presence, group_pictures
from panoptic_blend.formats.images import Picture, write_picture


def enlarged(picture: Picture, width: int, height: int) -> Picture:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)


@pytest.fixture
def scenes(tmp_path: Path) -> list[Picture]:
    """Eight scenes of 80 x 100 smooth random pixels, which look different."""
    random = np.random.default_rng(0)
    return [enlarged(random.integers(0, 256, (6, 8, 3), np.uint8), 100, 80) for _ in range(8)]


def group(folder: Path, names: list[str], pictures: list[Picture], presence: Presence | None = None) -> Grouping:
    for name, picture in zip(names, pictures, strict=True):
        write_picture(folder / name, picture)
    classes = np.ones((len(names), 1), bool) if presence is None else presence
    return group_pictures(names, [folder / name for name in names], classes, 0.15)


def frames(scene: Picture, number: int) -> list[Picture]:
    """Frames of a burst: exposure and place change a little from one to the next."""
    return [np.roll(scene, i, axis=1) // 10 * (10 - i % 3) for i in range(number)]


def test_series_and_folders_are_groups(tmp_path: Path, scenes: list[Picture]) -> None:
    many = [*scenes, *(255 - scene for scene in scenes)]
    found = group(tmp_path, [f"clip{i // 8}_{i:04}.png" for i in range(16)], many)
    assert found.groups.tolist() == list(range(16)), "half of the pictures cannot be held back"
    clips = [f"clip{i // 2}_{i:04}.png" for i in range(16)]
    found = group(tmp_path, clips, many)
    assert found.groups.tolist() == [i // 2 for i in range(16)]
    assert found.by == "by series, as clip0_*"
    found = group(tmp_path, [f"day{i // 2}/{i % 2}x.png" for i in range(16)], many)
    assert found.groups.tolist() == [i // 2 for i in range(16)]
    assert found.by == "by folder, as day0"


def test_series_that_follow_the_classes_and_numbers_of_a_camera_are_no_groups(
    tmp_path: Path, scenes: list[Picture]
) -> None:
    many = [*scenes, *(255 - scene for scene in scenes)]
    names = [f"{'abcdefgh'[i // 2]}_{i:03}.png" for i in range(16)]
    presence = np.eye(8, dtype=bool).repeat(2, axis=0)
    assert group(tmp_path, names, many, presence).by == ""
    found = group(tmp_path, [f"IMG_{i}.png" for i in range(16)], many)
    assert (found.groups.tolist(), found.by) == (list(range(16)), "")


def test_a_burst_is_a_group_and_the_frames_of_one_video_are_cut_into_parts(
    tmp_path: Path, scenes: list[Picture]
) -> None:
    many = [*scenes, *(255 - scene for scene in scenes[:6]), *frames(255 - scenes[7], 2)]
    found = group(tmp_path, [f"IMG_{i}.png" for i in range(16)], many)
    assert found.groups.tolist() == [*range(15), 14]
    assert found.by == "by likeness, as 2 pictures nearly equal another one"
    found = group(tmp_path, [f"frame_{9 - i}.png" for i in range(10)], frames(scenes[0], 10))
    assert found.groups.tolist() == list(range(9, -1, -1)), "parts follow the numbers"
    assert found.by == "by place in a series, as its pictures nearly equal one another"


def test_copies_of_a_picture_that_roboflow_augmented_are_a_group(tmp_path: Path, scenes: list[Picture]) -> None:
    many = [*scenes, *(255 - scene for scene in scenes)]
    names = [f"x{i // 2}y_jpg.rf.{i:032x}.jpg" for i in range(16)]
    assert group(tmp_path, names, many).groups.tolist() == [i // 2 for i in range(16)]
