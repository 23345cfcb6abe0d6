"""Converted labels with the ids of an existing data set: by name, compared by PQ, and refused where names differ."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import typer

from panoptic_blend import evaluate_files
from panoptic_blend.cli import main as cli
from panoptic_blend.cli.convert_masks import convert
from panoptic_blend.convert.cityscapes_labels import CATEGORIES
from panoptic_blend.convert.painting import LabeledRegion, Labels
from panoptic_blend.convert.renumbering import renumbered
from panoptic_blend.convert.voc import NAMES as VOC
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.images import write_picture, write_values
from panoptic_blend.structures import Category, Cutout

Refused = Callable[..., str]
Run = Callable[..., str]
PICTURE = np.zeros((2, 3, 3), np.uint8)
CAT, SKY = Category(1, "cat", True), Category(2, "sky", False)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command of ``data``, which ends with an exit code, and return what it prints, of an error its message."""

    def run_command(*command: object, code: int = 0) -> str:
        monkeypatch.setattr(sys, "argv", ["panoptic-blend", "data", *map(str, command)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert (stop.value.code or 0) == code
        return "".join(capsys.readouterr())

    return run_command


def old(path: Path, names: Mapping[int, str], categories: list[Category] | None = None) -> Path:
    """A data set whose images have the given ids and names, and whose classes are numbered from 30 by default."""
    records = categories or [Category(30, "sky", False), Category(40, "cat", True), Category(50, "dog", True)]
    content = {
        "images": [{"id": id, "file_name": name, "height": 2, "width": 3} for id, name in names.items()],
        "annotations": [{"image_id": id, "file_name": f"{id}.png", "segments_info": []} for id in names],
        "categories": [{"id": c.id, "name": c.name, "isthing": int(c.is_thing)} for c in records],
    }
    path.write_text(json.dumps(content))
    return path


def source(path: Path, *names: str) -> LabeledSource:
    mask = Cutout(np.ones((1, 2), np.bool_), 0, 0)
    labels = Labels((2, 3), [LabeledRegion(CAT, mask, True), LabeledRegion(None, mask), LabeledRegion(SKY, mask)])
    items = [Item(number, name, path / name, lambda: labels) for number, name in enumerate(names, start=1)]
    return LabeledSource(path, [path], Categories([CAT, SKY]), items)


def test_pictures_and_classes_have_the_ids_of_their_names(tmp_path: Path) -> None:
    like = old(tmp_path / "old.json", {700: "b.jpg", 0: "day/a.jpg", 9: "x.jpg", 8: "night/x.jpg"})
    found = renumbered(source(tmp_path, "a.jpg", "elsewhere/b.jpg", "night/x.jpg"), like)
    assert [(item.image_id, item.name) for item in found.items] == [
        (0, "a.jpg"),
        (700, "elsewhere/b.jpg"),
        (8, "night/x.jpg"),
    ]
    assert [category.id for category in found.categories] == [30, 40, 50]
    regions = found.items[0].labels().regions
    assert [region.category and region.category.id for region in regions] == [40, None, 30]
    assert regions[0].is_crowd and regions[0].cutout.mask.shape == (1, 2)


def test_names_that_differ_are_refused(tmp_path: Path, refused: Refused) -> None:
    like = old(tmp_path / "old.json", {1: "a.jpg", 2: "1/c.jpg", 3: "2/c.jpg"})
    assert "b.jpg: old.json has no picture of that name; " in refused(renumbered, source(tmp_path, "b.jpg"), like)
    assert "c.jpg: old.json has 2 pictures of that name; " in refused(renumbered, source(tmp_path, "c.jpg"), like)
    without = old(tmp_path / "cats.json", {1: "a.jpg"}, [Category(1, "cat", True)])
    assert "class sky is not in cats.json; " in refused(renumbered, source(tmp_path, "a.jpg"), without)
    other = old(tmp_path / "other.json", {1: "a.jpg"}, [Category(1, "cat", True), Category(2, "sky", True)])
    assert "class sky is stuff, and a thing in other.json; " in refused(renumbered, source(tmp_path, "a.jpg"), other)


def test_pictures_of_cityscapes_have_the_ids_of_its_own_json(tmp_path: Path) -> None:
    like = old(tmp_path / "old.json", {7: "ulm_0_1_gtFine_leftImg8bit.png", 8: "ulm_0_2_gtFine_leftImg8bit.png"})
    found = renumbered(source(tmp_path, "val/ulm/ulm_0_2_leftImg8bit.png"), like)
    assert [item.image_id for item in found.items] == [8]


def test_names_of_an_export_for_cityscapes_are_those_of_its_source(tmp_path: Path) -> None:
    like = old(tmp_path / "old.json", {7: "a.jpg", 8: "day/b.jpg", 9: "night/b.jpg"})
    names = "val/val/a_leftImg8bit.jpg", "val/day/day_b_leftImg8bit.jpg", "val/night/night_b_leftImg8bit.jpg"
    assert [item.image_id for item in renumbered(source(tmp_path, *names), like).items] == [7, 8, 9]


def yolo(root: Path) -> str:
    write_picture(root / "images/val/a.jpg", PICTURE)
    (root / "labels/val").mkdir(parents=True)
    (root / "labels/val/a.txt").write_text("0 0 0 1 0 1 1 0 1\n")
    (root / "data.yaml").write_text("train: images/val\nval: images/val\nnames: [cat]\n")
    return "a.jpg"


def voc(root: Path) -> str:
    write_picture(root / "JPEGImages/a.jpg", PICTURE)
    for folder in ("SegmentationClass", "SegmentationObject"):
        write_values(root / folder / "a.png", np.full((2, 3), 8, np.uint8))
    (root / "ImageSets/Segmentation").mkdir(parents=True)
    (root / "ImageSets/Segmentation/val.txt").write_text("a\n")
    return "a.jpg"


def ade20k(root: Path) -> str:
    write_picture(root / "images/validation/a.jpg", PICTURE)
    write_values(root / "annotations/validation/a.png", np.full((2, 3), 9, np.uint8))
    write_picture(root / "annotations_instance/validation/a.png", np.full((2, 3, 3), 5, np.uint8))
    (root / "objectInfo150.txt").write_text("Idx\tRatio\tTrain\tVal\tStuff\tName\n9\t0\t1\t1\t0\tcat, true cat\n")
    return "a.jpg"


def vistas(root: Path) -> str:
    labels = [{"name": "cat", "readable": "cat", "instances": True, "evaluate": True, "color": [1, 2, 3]}]
    root.mkdir()
    (root / "config_v2.0.json").write_text(json.dumps({"labels": labels}))
    write_picture(root / "validation/images/a.jpg", PICTURE)
    write_values(root / "validation/v2.0/instances/a.png", np.zeros((2, 3), np.uint16))
    return "a.jpg"


def cityscapes(root: Path) -> str:
    write_picture(root / "leftImg8bit/val/ulm/ulm_0_1_leftImg8bit.png", PICTURE)
    write_values(root / "gtFine/val/ulm/ulm_0_1_gtFine_instanceIds.png", np.full((2, 3), 26000, np.uint16))
    return "ulm/ulm_0_1_leftImg8bit.png"


@pytest.mark.parametrize(
    ("write", "split", "name"),
    [
        (yolo, "val", "cat"),
        (voc, "val", "cat"),
        (ade20k, "validation", "cat"),
        (vistas, "validation", "cat"),
        (cityscapes, "val", "car"),
    ],
)
def test_one_split_of_a_data_set_with_several_keeps_ids(
    tmp_path: Path, run: Run, write: Callable[[Path], str], split: str, name: str
) -> None:
    picture = write(tmp_path / "in")
    names = (
        [category.name for category in CATEGORIES.values()]
        if write is cityscapes
        else [*VOC]
        if write is voc
        else [name]
    )
    things = {category.name for category in CATEGORIES.values() if category.is_thing} | {*VOC}
    like = old(tmp_path / "old.json", {700: picture}, [Category(30 + n, x, x in things) for n, x in enumerate(names)])
    run("convert", write.__name__, tmp_path / "in", "--split", split, "--like", like, "--output", tmp_path / "new")
    found = json.loads((tmp_path / f"new/annotations/panoptic_{split}.json").read_text())
    assert [image["id"] for image in found["images"]] == [700]
    [segment] = found["annotations"][0]["segments_info"]
    assert segment["category_id"] == 30 + names.index(name)


def test_nothing_is_written_if_a_split_is_not_in_the_old_file(tmp_path: Path, run: Run) -> None:
    yolo(tmp_path / "in")
    like = old(tmp_path / "old.json", {700: "b.jpg"}, [CAT])
    output = tmp_path / "new"
    assert "a.jpg: old.json has no picture of that name" in run(
        "convert", "yolo", tmp_path / "in", "--like", like, "--output", output, code=2
    )
    assert not output.exists()
    message = run("convert", "yolo", tmp_path / "in", "--split", "test", "--output", output, code=2)
    assert "--split test: there is no such split; the data set has train, val" in message


def test_every_format_takes_like() -> None:
    group = typer.main.get_group(convert)
    assert len(group.commands) == 11
    assert all("like" in {option.name for option in command.params} for command in group.commands.values())


def test_labels_that_went_out_and_came_back_are_compared_with_the_old_ones(
    generated: Path, tmp_path: Path, run: Run
) -> None:
    truth = generated / "annotations" / "panoptic_val2017.json"
    content = json.loads(truth.read_text())
    stuff = ",".join(category["name"] for category in content["categories"] if not category["isthing"])
    run("export", truth, "--to", "labelme", "--pictures", generated / "val2017", "--output", tmp_path / "out")
    new = tmp_path / "new"
    run("convert", "labelme", tmp_path / "out", "--stuff", stuff, "--like", truth, "--output", new, "--split", "val")
    report = evaluate_files(truth, new / "annotations" / "panoptic_val.json")
    assert report["All"]["pq"] > 0.9
