"""Converted labels with the ids of an existing data set: by name, compared by PQ, and refused where names differ."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend import evaluate_files
from panoptic_blend.cli import main as cli
from panoptic_blend.convert.painting import LabeledRegion, Labels
from panoptic_blend.convert.renumbering import renumbered
from panoptic_blend.convert.writing import Item, LabeledSource
from panoptic_blend.formats.categories import Categories
from panoptic_blend.structures import Category, Cutout

Refused = Callable[..., str]
CAT, SKY = Category(1, "cat", True), Category(2, "sky", False)


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


def test_labels_that_went_out_and_came_back_are_compared_with_the_old_ones(
    generated: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    truth = generated / "annotations" / "panoptic_val2017.json"
    content = json.loads(truth.read_text())
    stuff = ",".join(category["name"] for category in content["categories"] if not category["isthing"])

    def run(*command: object) -> None:
        monkeypatch.setattr(sys, "argv", ["panoptic-blend", "data", *map(str, command)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code

    run("export", truth, "--to", "labelme", "--pictures", generated / "val2017", "--output", tmp_path / "out")
    new = tmp_path / "new"
    run("convert", "labelme", tmp_path / "out", "--stuff", stuff, "--like", truth, "--output", new, "--split", "val")
    report = evaluate_files(truth, new / "annotations" / "panoptic_val.json")
    assert report["All"]["pq"] > 0.9
