"""Data sets are merged, split and filtered into new ones, which the doctor finds sound."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.convert.writing import ConversionOptions, write
from panoptic_blend.doctor.checkup import check
from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.coco_panoptic import read_panoptic_json
from panoptic_blend.formats.images import write_picture
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.interchange.data_sets import Edit, edited_splits, parse_renames
from panoptic_blend.interchange.source import open_source
from panoptic_blend.interchange.statistics import split_statistics, tables
from panoptic_blend.structures import Category, PanopticMap, Segment

Refused = Callable[..., str]
CAR, DOG, SKY = Category(1, "car", True, (1, 2, 3)), Category(2, "dog", True), Category(5, "sky", False)
FIRST = np.array([[1, 1, 2, 5], [1, 1, 2, 0]], np.int32)
SECOND = np.array([[0, 3], [5, 5]], np.int32)


def data_set(root: Path, maps: Sequence[np.ndarray], categories: Sequence[Category] = (CAR, DOG, SKY)) -> Path:
    """Two cars, 1 and the crowd 2, a dog 3, and sky 5 in gray pictures of different values."""
    first, second, stuff = (category.id for category in categories[:3])
    segments = [
        *(Segment(n, first, categories[0].is_thing, None, 0, None, n == 2) for n in (1, 2)),
        Segment(3, second, True, None, 0, None),
        Segment(5, stuff, False, None, 0, None),
    ]
    with PanopticWriter(root / "annotations/panoptic_train.json", categories=categories) as writer:
        for number, ids in enumerate(maps, start=7):
            gray = 20 * len(str(root)) % 200 + number
            write_picture(root / f"train/{number}.png", np.full((*ids.shape, 3), gray, np.uint8))
            writer.add(number, f"{number}.png", PanopticMap.measured(ids, segments))
    return root


def written(roots: Sequence[Path], out: Path, edit: Edit | None = None, **options: object) -> Path:
    for name, source in edited_splits(roots, edit or Edit()).items():
        write(source, ConversionOptions(out, name, **options), lambda *_: None)  # type: ignore[arg-type]
    return out


def contents(root: Path) -> dict[str, list[tuple[str, int, bool]]]:
    """Class, area and crowd of the segments of each picture, sorted; all pixels of the maps are looked at."""
    path = root / "annotations/panoptic_train.json"
    content = read_panoptic_json(path)
    names = {category.id: category.name for category in content.categories}
    found = {}
    for image in content.images:
        panoptic = image.annotation.read(path, Folder(path.with_suffix("")), image.size)
        found[image.file_name] = sorted((names[s.category], s.area, s.is_crowd) for s in panoptic.segments)
    return found


BOTH = [("car", 2, True), ("car", 4, False), ("sky", 1, False)]


def test_merged_data_sets_share_classes_by_name(tmp_path: Path, refused: Refused) -> None:
    one = data_set(tmp_path / "one", [FIRST])
    two = data_set(tmp_path / "other", [SECOND], [Category(4, "cat", True), Category(1, "dog", True), SKY])
    assert f"lies in the input folder {two}" in refused(written, [one, two], two / "out")
    out = written([one, two], tmp_path / "out", keep_empty=True)
    assert contents(out) == {"one/7.png": BOTH, "other/7.png": [("dog", 1, False), ("sky", 2, False)]}
    categories = read_panoptic_json(out / "annotations/panoptic_train.json").categories
    assert [(c.id, c.name, c.color) for c in categories] == [
        (1, "car", (1, 2, 3)),
        (2, "dog", None),
        (4, "cat", None),
        (5, "sky", None),
    ]
    assert check(out).is_sound and contents(one) == {"7.png": BOTH}
    stuff = data_set(tmp_path / "third", [FIRST], [Category(1, "car", False), DOG, SKY])
    assert "'car' is a thing in" in refused(edited_splits, [one, stuff], Edit())


def test_renaming_comes_first_then_classes_then_the_condition(tmp_path: Path, refused: Refused) -> None:
    root = data_set(tmp_path / "root", [FIRST, SECOND, np.zeros((2, 2), np.int32)])
    renamed = written([root], tmp_path / "renamed", Edit({"dog": "car", "sky": "air"}))
    assert contents(renamed) == {
        "7.png": [("air", 1, False), ("car", 2, True), ("car", 4, False)],
        "8.png": [("air", 2, False), ("car", 1, False)],
    }
    only = written([root], tmp_path / "only", Edit({"dog": "car"}, ["car"], "car = 1 and width > 2"))
    assert contents(only) == {"7.png": [("car", 2, True), ("car", 4, False)]} and check(only).is_sound
    for edit, problem in [
        (Edit({"dig": "a"}), "--rename: no class is called dig; did you mean dog?"),
        (Edit({}, ["dig"]), "--classes: no class is called dig"),
        (Edit({"dog": "car"}, ["dog"]), "--classes: no class is called dog; --rename makes it car, so name that"),
        (Edit({}, [], "things > 3"), "no picture of train is like that"),
        (Edit({}, [], "wolf"), "'wolf' is neither a number of a picture nor a class"),
    ]:
        assert problem in refused(edited_splits, [root], edit)
    assert parse_renames(["a=b", " c = d=e"]) == {"a": "b", "c": "d=e"}
    for pairs in (["a"], ["a="], ["a=b", "a=c"]):
        assert "is not OLD=NEW with an OLD of its own" in refused(parse_renames, pairs)


@pytest.mark.parametrize(
    ("where", "names"),
    [("crowds", ["7"]), ("dog", ["8"]), ("stuff and things = 1", ["7", "8"]), ("segments = 0 or height > 2", ["9"])],
)
def test_conditions_count_what_a_picture_has(tmp_path: Path, where: str, names: list[str]) -> None:
    root = data_set(tmp_path / "root", [FIRST, SECOND, np.zeros((2, 2), np.int32)])
    assert [item.name for item in edited_splits([root], Edit(where=where))["train"].items] == [
        f"{n}.png" for n in names
    ]


def test_a_list_keeps_pictures_of_one_split(tmp_path: Path, refused: Refused) -> None:
    root, path = data_set(tmp_path / "root", [FIRST, SECOND]), tmp_path / "list.txt"
    path.write_text("8.png\n")
    assert [item.image_id for item in edited_splits([root], Edit(), None, path)["train"].items] == [8]
    assert "names pictures of one split" in refused(edited_splits, [root, root], Edit(), None, path)
    assert "has no annotations/panoptic_val.json" in refused(edited_splits, [root], Edit(), "val")


def test_a_data_set_is_divided_by_names(tmp_path: Path) -> None:
    root = data_set(tmp_path / "root", [FIRST, SECOND] * 3)
    out = written([root], tmp_path / "out", keep_empty=True, val_share=0.34)
    splits = [json.loads((out / f"annotations/panoptic_{name}.json").read_text()) for name in ("train", "val")]
    assert [len(content["images"]) for content in splits] == [4, 2]
    assert sorted(image["id"] for content in splits for image in content["images"]) == [7, 8, 9, 10, 11, 12]


def test_statistics_are_those_of_the_pixels(tmp_path: Path) -> None:
    root = data_set(tmp_path / "root", [FIRST, SECOND, np.zeros((2, 2), np.int32)])
    found = split_statistics(open_source(root), lambda *_: None)
    assert (found.pictures, found.smallest, found.largest, found.segments) == (3, (2, 2), (2, 4), 5)
    assert (found.things, found.empty) == ((1, 1), 1) and abs(found.void - 6 / 16) < 1e-12
    classes = {each.name: each for each in found.classes}
    car, dog, sky = (classes[name] for name in ("car", "dog", "sky"))
    assert (car.pictures, car.segments, car.crowds, car.pixels, car.median_area) == (1, 1, 1, 6 / 16, 4)
    assert (dog.pictures, dog.segments, dog.crowds, dog.pixels, dog.median_area) == (1, 1, 0, 1 / 16, 1)
    assert (sky.pictures, sky.segments, sky.median_area) == (2, 2, 1.5)
    nothing = data_set(tmp_path / "nothing", [np.zeros((2, 2), np.int32)])
    record = split_statistics(open_source(nothing), lambda *_: None).record()
    assert record["classes"]["car"]["median_area"] is None and record["void"] == 1
    assert [table.row_count for table in tables([found])] == [1, 3]
