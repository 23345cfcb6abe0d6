"""Shapes is deterministic, consistent with its records, varied as documented, and written as COCO panoptic."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_blend.files import locked
from panoptic_blend.shapes import dataset as shapes
from panoptic_blend.shapes.dataset import CATEGORIES, VAL_START, Scene, generate, write_shapes
from panoptic_blend.shapes.painting import rasterize
from panoptic_blend.structures import PanopticBlendError

THINGS = {category.id for category in CATEGORIES if category.is_thing}


@pytest.fixture(scope="module")
def scenes() -> list[Scene]:
    return [generate(7, index) for index in range(200)]


def _digest(scene: Scene) -> str:
    content = scene.image.tobytes() + scene.panoptic.segment_ids.tobytes() + repr(scene.panoptic.segments).encode()
    return hashlib.sha256(content).hexdigest()


def _instances(scene: Scene) -> list[tuple[int, int, tuple[int, int, int, int]]]:
    """Category, area and box of every instance that is not a crowd."""
    return [
        (segment.category, segment.area, segment.box)
        for segment in scene.panoptic.segments
        if segment.is_thing and not segment.is_crowd and segment.box is not None
    ]


def test_categories_have_gaps_in_their_ids_and_distinct_colors() -> None:
    ids = [category.id for category in CATEGORIES]
    assert len(THINGS) == 6 and len(ids) == 10
    assert ids == sorted(set(ids)) and ids[0] == 1 and ids[-1] > len(ids)
    assert len({category.color for category in CATEGORIES} - {None}) == len(ids)


def test_a_scene_depends_only_on_seed_and_index(scenes: list[Scene]) -> None:
    assert _digest(generate(7, 3)) == _digest(scenes[3])
    others = [scenes[3], generate(7, 4), generate(3, 7), generate(8, 3), generate(7, VAL_START + 3)]
    assert len({_digest(scene) for scene in others}) == len(others)


def test_records_describe_the_map(scenes: list[Scene]) -> None:
    for scene in scenes:
        ids, segments = scene.panoptic.segment_ids, scene.panoptic.segments
        assert scene.image.shape == (*ids.shape, 3) and scene.image.dtype == np.uint8 and ids.dtype == np.int32
        assert set(np.unique(ids).tolist()) - {0} == {segment.id for segment in segments}
        assert len({segment.id for segment in segments}) == len(segments)
        for segment in segments:
            rows, columns = np.nonzero(ids == segment.id)
            assert segment.area == len(rows) >= shapes.MIN_PIXELS
            assert segment.box == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
            assert 0 < segment.id < 2**24 and segment.score is None
            assert segment.is_thing == (segment.category in THINGS)


def test_stuff_and_crowds_have_one_segment_per_class(scenes: list[Scene]) -> None:
    for scene in scenes:
        merged = [s.category for s in scene.panoptic.segments if not s.is_thing or s.is_crowd]
        assert len(set(merged)) == len(merged)
        assert all(s.is_thing for s in scene.panoptic.segments if s.is_crowd)


def test_every_class_is_common(scenes: list[Scene]) -> None:
    counts = Counter(segment.category for scene in scenes for segment in scene.panoptic.segments)
    assert set(counts) == {category.id for category in CATEGORIES}
    assert min(counts.values()) > 80


def test_crowds_and_voids_have_their_shares(scenes: list[Scene]) -> None:
    crowds = sum(any(segment.is_crowd for segment in scene.panoptic.segments) for scene in scenes)
    voids = sum(bool((scene.panoptic.segment_ids == 0).any()) for scene in scenes)
    assert 8 <= crowds <= 34  # 10% of 200, within 3 standard deviations
    assert 24 <= voids <= 58  # 20%


def test_things_vary_in_number_and_size(scenes: list[Scene]) -> None:
    numbers = Counter(len(_instances(scene)) for scene in scenes)
    assert set(numbers) == set(range(3, 10))
    boxes = np.array([box for scene in scenes for _, _, box in _instances(scene)])
    sizes = np.sqrt((boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1]))
    assert sizes.max() <= 100 and np.mean(sizes > 60) > 0.03
    assert np.mean(sizes < 12) < 0.05 and 0.1 < np.mean(sizes < 24) < 0.4


def test_hard_scenes_have_many_overlapping_and_thin_instances(scenes: list[Scene]) -> None:
    hard = [generate(7, index, "hard") for index in range(40)]
    plain = scenes[:40]
    assert _digest(hard[0]) != _digest(plain[0]) and _digest(generate(7, 0, "plain")) == _digest(plain[0])
    numbers = [len(_instances(scene)) for scene in hard]
    assert max(numbers) <= 20 and np.mean(numbers) > 10

    def overlapping(scene: Scene) -> int:
        """Pairs of instances of one class whose boxes share a tenth of the smaller box."""
        found, pairs = _instances(scene), 0
        for i, (category, _, a) in enumerate(found):
            for other, _, b in found[:i]:
                width, height = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
                smaller = min((box[2] - box[0]) * (box[3] - box[1]) for box in (a, b))
                pairs += category == other and min(width, height) > 0 and 10 * width * height > smaller
        return pairs

    assert np.mean([overlapping(scene) for scene in hard]) > 5 * np.mean([overlapping(scene) for scene in plain])

    def thin(scenes: list[Scene]) -> float:
        found = [category in (shapes.BAR, shapes.RING) for scene in scenes for category, _, _ in _instances(scene)]
        return float(np.mean(found))

    assert thin(hard) > 1.2 * thin(plain)


def test_images_have_many_sizes(scenes: list[Scene]) -> None:
    sides = np.array([scene.image.shape[:2] for scene in scenes])
    assert set(sides.ravel().tolist()) == set(shapes.SIDES)
    assert np.mean(sides[:, 0] > sides[:, 1]) > 0.25 and np.mean(sides[:, 0] < sides[:, 1]) > 0.25
    assert math.sqrt(sides.prod(axis=1).mean()) == pytest.approx(128, abs=6)


def test_color_identifies_stuff_but_not_things(scenes: list[Scene]) -> None:
    means: dict[int, list[np.ndarray]] = {category.id: [] for category in CATEGORIES}
    for scene in scenes:
        for segment in scene.panoptic.segments:
            means[segment.category].append(scene.image[scene.panoptic.segment_ids == segment.id].mean(axis=0))
    centers = {category: np.mean(colors, axis=0) for category, colors in means.items()}
    assert np.ptp([centers[category] for category in THINGS], axis=0).max() < 20
    stuff = sorted(set(centers) - THINGS)
    nearest = [
        category == min(stuff, key=lambda other: float(np.linalg.norm(color - centers[other])))
        for category in stuff
        for color in means[category]
    ]
    assert np.mean(nearest) > 0.95


def test_an_outline_is_rasterized_to_the_pixels_that_it_covers_by_half() -> None:
    outer = np.array([(2.25, 1.0), (10.25, 1.0), (10.25, 7.75), (2.25, 7.75)])
    hole = np.array([(4.0, 3.0), (7.0, 3.0), (7.0, 5.0), (4.0, 5.0)])
    expected = np.zeros((12, 12), bool)
    expected[1:8, 2:10] = True
    expected[3:5, 4:7] = False
    canvas = np.zeros((12, 12), bool)
    stamp = rasterize([outer, hole], canvas.shape)
    canvas[stamp.window] = stamp.mask
    assert (canvas == expected).all()
    outside = rasterize([outer + 20], canvas.shape)
    assert outside.mask.size == 0


def _with_crowd() -> int:
    """The first seed whose first scene has a crowd."""
    return next(s for s in range(100) if any(segment.is_crowd for segment in generate(s, 0).panoptic.segments))


def test_written_files_are_coco_panoptic(tmp_path: Path) -> None:
    seed, counts = _with_crowd(), list[int]()
    write_shapes(tmp_path, train=3, val=2, seed=seed, progress=counts.append)
    assert counts == [1, 2, 3, 4, 5]
    image_ids: list[int] = []
    for split, first, count in (("train", 0, 3), ("val", VAL_START, 2)):
        content = json.loads((tmp_path / f"annotations/panoptic_{split}2017.json").read_text())
        assert [category["id"] for category in content["categories"]] == [category.id for category in CATEGORIES]
        assert [bool(category["isthing"]) for category in content["categories"]] == [c.is_thing for c in CATEGORIES]
        assert len(content["images"]) == len(content["annotations"]) == count
        for index, image, annotation in zip(
            range(first, first + count), content["images"], content["annotations"], strict=True
        ):
            image_ids.append(image["id"])
            scene = generate(seed, index)
            picture = cv2.imread(str(tmp_path / f"{split}2017" / image["file_name"]))
            assert picture is not None and picture.shape == scene.image.shape == (image["height"], image["width"], 3)
            assert np.abs(picture[..., ::-1].astype(int) - scene.image).mean() < 8
            assert annotation["image_id"] == image["id"] and Path(image["file_name"]).suffix == ".jpg"
            _check_annotation(tmp_path / f"annotations/panoptic_{split}2017", annotation, scene)
    assert len(set(image_ids)) == 5


def _check_annotation(folder: Path, annotation: dict[str, object], scene: Scene) -> None:
    blue_green_red = cv2.imread(str(folder / str(annotation["file_name"])))
    assert blue_green_red is not None
    ids = blue_green_red[..., ::-1].astype(np.int64) @ [1, 256, 65536]
    assert (ids == scene.panoptic.segment_ids).all()
    records = annotation["segments_info"]
    assert isinstance(records, list) and len(records) == len(scene.panoptic.segments)
    by_id = {record["id"]: record for record in records}
    for segment in scene.panoptic.segments:
        assert segment.box is not None
        x0, y0, x1, y1 = segment.box
        assert by_id[segment.id]["category_id"] == segment.category
        assert by_id[segment.id]["bbox"] == [x0, y0, x1 - x0, y1 - y0]
        assert by_id[segment.id]["area"] == segment.area
        assert by_id[segment.id]["iscrowd"] == int(segment.is_crowd)


def test_writing_again_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two", "one"):
        write_shapes(tmp_path / name, train=2, val=1, seed=4)
        files = sorted(path for path in (tmp_path / name).rglob("*") if path.is_file())
        contents.append({str(path.relative_to(tmp_path / name)): path.read_bytes() for path in files})
    assert contents[0] == contents[1] == contents[2] and len(contents[0]) == 8


def test_a_split_of_zero_scenes_is_not_touched(tmp_path: Path) -> None:
    write_shapes(tmp_path, train=0, val=1)
    assert (tmp_path / "annotations/panoptic_val2017.json").is_file()
    assert not list(tmp_path.rglob("*train*"))


def test_an_interrupted_write_leaves_no_json(tmp_path: Path) -> None:
    def interrupt(written: int) -> None:
        if written == 2:
            raise KeyboardInterrupt

    write_shapes(tmp_path, train=2, val=2, seed=1)
    with pytest.raises(KeyboardInterrupt):
        write_shapes(tmp_path, train=3, val=2, seed=2, progress=interrupt)
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize(
    ("train", "val", "seed"), [(-1, 5, 0), (5, -1, 0), (0, 0, 0), (VAL_START + 1, 1, 0), (1, 1, -1)]
)
def test_impossible_counts_are_refused(tmp_path: Path, train: int, val: int, seed: int) -> None:
    with pytest.raises(PanopticBlendError, match=f"train={train}, val={val}, seed={seed}") as error:
        write_shapes(tmp_path / "new", train, val, seed)
    assert "\n" not in str(error.value) and not (tmp_path / "new").exists()


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PanopticBlendError, match="no kind 'easy'; take plain or hard"):
        write_shapes(tmp_path, 1, 1, kind="easy")


def test_another_data_set_is_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "annotations" / "panoptic_val2017.json"
    path.parent.mkdir()
    path.write_text('{"images": [], "annotations": [], "categories": [{"id": 1, "name": "cat", "isthing": 1}]}')
    before = path.read_bytes()
    with pytest.raises(PanopticBlendError, match=r"panoptic_val2017.json: belongs to another data set; choose"):
        write_shapes(tmp_path, train=1, val=1)
    assert path.read_bytes() == before
    assert [item.name for item in tmp_path.iterdir()] == ["annotations"]
    write_shapes(tmp_path, train=1, val=0)
    write_shapes(tmp_path, train=1, val=0, seed=1)  # Shapes may be generated again


def test_two_processes_do_not_mix_and_leftovers_are_removed(tmp_path: Path) -> None:
    write_shapes(tmp_path, train=1, val=0)
    left = tmp_path / "train2017" / ".000000000002.999999999.part.jpg"
    left.touch()
    with locked(tmp_path), pytest.raises(PanopticBlendError, match="another process is using this folder"):
        write_shapes(tmp_path, train=1, val=0)
    write_shapes(tmp_path, train=1, val=0)
    assert not left.exists()
