"""`--fix` repairs faults for which the PNGs have the answer, keeps and reports others, and never changes its input."""

from __future__ import annotations

import json
import random
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from small_set import (
    CAT,
    CAT_TOO,
    GRASS,
    SKY,
    SPLIT,
    content_of,
    edit,
    edit_annotation,
    edit_image,
    edit_segment,
    found,
    json_of,
    picture_of,
    png_of,
    repaint,
    write_small_set,
)

from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.doctor.checkup import check

Break = Callable[[Path], object]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "set"
    write_small_set(folder)
    return folder


def repaired_copy(root: Path) -> Path:
    """A copy of a data set, made of links, with the JSON that --fix writes; also checks that the input is unchanged."""
    out = root.parent / "fixed.json"
    before = json_of(root).read_bytes()
    report = check(root, fix=out)
    assert json_of(root).read_bytes() == before
    copy = root.parent / "copy"
    (copy / "annotations").mkdir(parents=True)
    (copy / SPLIT).symlink_to(root / SPLIT)
    png_of(copy).parent.symlink_to(png_of(root).parent)
    shutil.move(out, json_of(copy))
    again = check(copy, cases=1000)
    [split] = report.splits
    assert split.repair is not None
    assert [(p.kind, p.count) for p in split.repair.problems] == [(p.kind, p.count) for p in again.splits[0].problems]
    assert report.is_sound == again.is_sound
    return copy


def append_segment(**fields: object) -> Break:
    return edit(lambda content: content["annotations"][0]["segments_info"].append(fields))


def twice(key: str) -> Break:
    return edit(lambda content: content[key].append(dict(content[key][0])))


REPAIRABLE: list[Break] = [
    edit_segment(CAT, area=10**6),
    edit_segment(CAT, area=None),
    edit_segment(CAT_TOO, bbox=[1, 2, 3, "4"]),
    edit_segment(CAT_TOO, bbox=None),
    edit_segment(SKY, iscrowd=None),
    edit_image(height=1),
    edit_image(width="24"),
    append_segment(id=99, category_id=3, iscrowd=0, area=0, bbox=[0, 0, 0, 0]),
    append_segment(id=98, category_id=3, iscrowd=0, area=5, bbox=[0, 0, 5, 1]),
    append_segment(id=0, category_id=3, iscrowd=0, area=5, bbox=[0, 0, 5, 1]),
    append_segment(id=GRASS, category_id=21, iscrowd=0, area=1, bbox=[0, 0, 0, 0]),
    twice("images"),
    twice("annotations"),
    twice("categories"),
]
LOSSY: list[Break] = [
    edit(lambda content: content["images"].append({"id": 9, "file_name": "9.jpg", "height": 4, "width": 4})),
    edit(lambda content: content["annotations"].append({"image_id": 9, "file_name": "9.png", "segments_info": []})),
    lambda root: picture_of(root, 2).unlink(),
    lambda root: png_of(root, 2).unlink(),
    lambda root: picture_of(root, 2).write_bytes(b"no picture"),
    lambda root: png_of(root, 2).write_bytes(png_of(root, 1).read_bytes()[:60]),
]


@pytest.mark.parametrize("make", REPAIRABLE)
def test_a_repair_restores_the_original(root: Path, make: Break) -> None:
    before = content_of(root)
    make(root)
    assert found(root)
    copy = repaired_copy(root)
    assert content_of(copy) == before
    assert found(copy) == {}


@pytest.mark.parametrize("make", LOSSY)
def test_images_and_annotations_without_counterpart_are_removed(root: Path, make: Break) -> None:
    make(root)
    assert found(root)
    copy = repaired_copy(root)
    assert check(copy).is_sound
    dataset = CocoPanoptic(copy, SPLIT)
    assert {image.id for image in dataset.images} in ({1}, {1, 2})
    assert [len(dataset[i].panoptic_truth().segments) for i in range(len(dataset))] == [5] * len(dataset)


@settings(max_examples=30)
@given(st.lists(st.sampled_from([*REPAIRABLE, *LOSSY]), min_size=1, max_size=5, unique=True), st.randoms())
def test_several_breaks_at_once(
    tmp_path_factory: pytest.TempPathFactory, breaks: list[Break], chance: random.Random
) -> None:
    root = tmp_path_factory.mktemp("several") / "set"
    write_small_set(root)
    chance.shuffle(breaks)
    for make in breaks:
        make(root)
    is_repairable = set(found(root)) <= {
        "area", "bbox", "bbox-almost", "iscrowd-missing", "image-size", "segment-not-in-png", "segment-empty",
        "segment-id", "segment-duplicate",
    }  # fmt: skip
    copy = repaired_copy(root)
    assert not is_repairable or found(copy) == {}


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (repaint(0, 12345), "segment-not-in-json"),
        (edit_segment(CAT, category_id=77), "category-unknown"),
        (append_segment(id=CAT, category_id=4, iscrowd=0, area=12, bbox=[2, 9, 4, 3]), "segment-duplicate"),
        (edit(lambda content: content["categories"][0].pop("isthing")), "isthing-missing"),
        (edit(lambda content: content["images"][1].update(id=1)), "image-duplicate"),
        (edit_annotation(file_name="../1.png"), "name-outside"),
        (edit_segment(GRASS, iscrowd=1), "stuff-crowd"),
        (edit_segment(CAT, iscrowd=2), "field"),
    ],
)
def test_faults_that_need_a_guess_are_kept(root: Path, make: Break, kind: str) -> None:
    make(root)
    assert kind in found(root)
    assert kind in found(repaired_copy(root))


def test_a_png_of_another_size_is_not_used_for_repair(root: Path) -> None:
    shutil.copy(png_of(root), png_of(root, 2))
    edit_segment(CAT, area=1)(root)
    edit_image(height=15)(root)
    picture_of(root).unlink()
    assert found(root).keys() == {"png-size", "picture-missing"}
    copy = repaired_copy(root)
    assert [image["id"] for image in content_of(copy)["images"]] == [2]


def test_a_repair_keeps_other_fields(root: Path) -> None:
    def add(content: Any) -> None:
        content["info"] = {"year": 2018}
        content["images"][0]["license"] = content["annotations"][0]["segments_info"][0]["note"] = "ü"

    edit(add)(root)
    before = content_of(root)
    edit_segment(CAT, area=1)(root)
    assert content_of(repaired_copy(root)) == before


def test_outputs_inside_the_data_set_or_that_exist_are_refused(
    root: Path, refused: Callable[..., str], tmp_path: Path
) -> None:
    def fix(out: Path) -> str:
        return refused(lambda: check(root, fix=out))

    link = tmp_path / "link"
    link.symlink_to(root / "annotations")
    before = sorted(path for path in root.rglob("*"))
    for out in (json_of(root), root / "new.json", link / "new.json", link / json_of(root).name, root / SPLIT / "x"):
        assert "lies in the data set" in fix(out)
    (tmp_path / "mine.json").write_text("mine")
    assert "already exists" in fix(tmp_path / "mine.json")
    assert (tmp_path / "mine.json").read_text() == "mine"
    assert sorted(path for path in root.rglob("*")) == before


def test_data_sets_that_cannot_be_repaired_are_refused(root: Path, refused: Callable[..., str], tmp_path: Path) -> None:
    out = tmp_path / "out.json"
    shutil.move(png_of(root).parent, tmp_path / "elsewhere")
    assert "no PNGs, from which" in refused(lambda: check(root, fix=out))
    json_of(root).write_text(json.dumps({"images": []}))
    assert "lacks one of the lists" in refused(lambda: check(root, fix=out))
    json_of(root).write_text("{")
    assert "not valid JSON" in refused(lambda: check(root, fix=out))
    write_small_set(root, (SPLIT, "train2017"))
    assert "has 2 splits, but --fix repairs one; choose it with --split NAME" in refused(lambda: check(root, fix=out))
    assert not out.exists()
