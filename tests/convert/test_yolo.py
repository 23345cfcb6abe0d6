"""Conversion of data sets for YOLO segmentation."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.convert.writing import ConversionOptions, write
from panoptic_blend.convert.yolo import find_yolo, read_yolo, require_yolo, yolo_splits
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.formats.images import write_picture

Refused = Callable[..., str]
YAML = "path: /home/other/pets\ntrain: images/train\nval: images/val\ntest:\nnames:\n  0: cat\n  1: grass\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two training pictures of 10 x 20 pixels, one of them without a label, and one for validation."""
    root = tmp_path / "pets"
    for name in ("train/a b.jpg", "train/deep/c.jpg", "val/d.jpg"):
        write_picture(root / "images" / name, np.zeros((10, 20, 3), np.uint8))
    for name, text in {
        "train/a b.txt": "0 0.1 0.2 0.5 0.2 0.5 0.6 0.1 0.6\n1 0 0 1 0 1 1 0 1\n\n",
        "val/d.txt": "1 0 0 1 0 1 1 0 1",
    }.items():
        path = root / "labels" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (root / "data.yaml").write_text(YAML)
    return root


def label(folder: Path, text: str) -> Path:
    (folder / "labels/train/a b.txt").write_text(text)
    return folder / "data.yaml"


def test_outlines_are_filled_and_classes_keep_their_order(folder: Path, tmp_path: Path) -> None:
    description = require_yolo(folder)
    assert yolo_splits(description) == ["train", "val"]
    for split in yolo_splits(description):
        source = read_yolo(description, split, ["grass"])
        options = ConversionOptions(tmp_path / "out", split, keep_empty=True)
        write(source, options, lambda done, total: None)
    train = CocoPanoptic(tmp_path / "out", "train")
    assert list(train.images.file_names) == ["a b.jpg", "deep/c.jpg"]
    assert [(c.id, c.name, c.is_thing) for c in train.categories] == [(1, "cat", True), (2, "grass", False)]
    truth = train.truth(0)
    # x from 2 to 10, y from 2 to 6: 8 x 4 pixels of the 200
    assert [(s.category, s.area, s.box) for s in truth.segments] == [(1, 32, (2, 2, 10, 6)), (2, 168, (0, 0, 20, 10))]


@pytest.mark.parametrize(
    "train",
    [
        "../pets/images/train",
        "/content/pets/images/train",
        "C:\\pets\\images\\train",
        "[images/train, images/val]",
        "list.txt",
    ],
)
def test_pictures_are_found_although_paths_are_of_another_machine(folder: Path, train: str) -> None:
    (folder / "list.txt").write_text("./images/train/a b.jpg\n\nimages/val/d.jpg\n")
    (folder / "data.yaml").write_text(f"train: {train}\nnames: [cat, grass]\n")
    names = [item.name for item in read_yolo(folder / "data.yaml", "train").items]
    assert names == {
        "[images/train, images/val]": ["train/a b.jpg", "train/deep/c.jpg", "val/d.jpg"],
        "list.txt": ["train/a b.jpg", "val/d.jpg"],
    }.get(train, ["a b.jpg", "deep/c.jpg"])


def test_labels_of_roboflow_are_beside_the_pictures_of_their_split(folder: Path) -> None:
    write_picture(folder / "valid/images/e.png", np.zeros((10, 20, 3), np.uint8))
    (folder / "valid/labels").mkdir()
    (folder / "valid/labels/e.txt").write_text("0 0 0 .5 0 .5 1")
    (folder / "data.yaml").write_text("val: ../valid/images\nnames: [cat]\n")
    [item] = read_yolo(folder / "data.yaml", "val").items
    assert item.name == "e.png" and len(item.labels().regions) == 1


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (
            "0 0.5 0.5 0.2 0.2\n0 0.5 0.5 0.2 0.2",
            "a b.txt: line 1 is a box, as 2 lines are: these are labels for detection",
        ),
        ("0 0 0 1 0 1", "line 1 has 5 coordinates, no pairs"),
        ("0 0 0", "line 1 has 2 coordinates"),
        ("2 0 0 1 0 1 1", "line 1 has the class 2, and `names` has 2, from 0"),
        ("0 0 0 20 0 20 10", "line 1 has coordinates that are no fractions"),
        ("0 0 0 nan 0 1 1", "line 1 has coordinates that are no fractions"),
        ("cat 0 0 1 0 1 1", "line 1 is not numbers"),
    ],
)
def test_labels_that_are_no_outlines_are_refused(folder: Path, text: str, problem: str, refused: Refused) -> None:
    assert problem in refused(read_yolo, label(folder, text), "train")


def test_descriptions_that_do_not_fit_are_refused(folder: Path, refused: Refused) -> None:
    path = folder / "data.yaml"
    for text, problem in {
        "train: images/nowhere\nnames: [cat]": "images/nowhere is not in",
        "train: labels\nnames: [cat]": "`train` has no pictures",
        "train: 7\nnames: [cat]": "`train` is not a folder",
        "train: images/train\nnames: {1: cat}": "`names` is not a list",
    }.items():
        path.write_text(text)
        assert problem in refused(read_yolo, path, "train")
    assert (
        "did you mean cat?" in refused(read_yolo, label(folder, ""), "train", ["cats"]) if path.write_text(YAML) else ""
    )
    path.write_text("seed: 1")
    assert find_yolo(folder) is None
    assert "has no data.yaml" in refused(require_yolo, folder)
    path.write_text("names: [cat]")
    assert "has none of the lines train, val, test" in refused(require_yolo, folder)
