"""Conversion of Pascal VOC, ADE20K, Mapillary Vistas and Supervisely, from small folders in their layouts."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from panoptic_blend.convert.ade20k import read_ade20k
from panoptic_blend.convert.supervisely import read_supervisely
from panoptic_blend.convert.vistas import read_vistas, vistas_version
from panoptic_blend.convert.voc import read_voc, voc_splits
from panoptic_blend.convert.writing import LabeledSource
from panoptic_blend.formats.images import write_picture, write_values

Refused = Callable[..., str]
CLASSES = np.array([[1, 1, 15, 255], [0, 1, 15, 15], [0, 0, 15, 15]], np.uint8)
OBJECTS = np.array([[1, 1, 2, 255], [0, 1, 3, 3], [0, 0, 3, 3]], np.uint8)


def picture(path: Path, shape: tuple[int, int] = (3, 4)) -> None:
    write_picture(path, np.zeros((*shape, 3), np.uint8))


def regions(source: LabeledSource) -> list[tuple[str | None, int, bool]]:
    """Class, area and crowd of the regions of the first picture, sorted."""
    found = source.items[0].labels().regions
    named = [(r.category.name if r.category else "void", int(r.cutout.mask.sum()), r.is_crowd) for r in found]
    return sorted(named)


def voc(root: Path) -> Path:
    picture(root / "JPEGImages/a.jpg")
    write_values(root / "SegmentationClass/a.png", CLASSES)
    write_values(root / "SegmentationObject/a.png", OBJECTS)
    for name in ("train", "val", "trainval"):
        (root / "ImageSets/Segmentation").mkdir(parents=True, exist_ok=True)
        (root / f"ImageSets/Segmentation/{name}.txt").write_text("a\n")
    return root


def test_voc_has_instances_and_a_void_border(tmp_path: Path, refused: Refused) -> None:
    root = voc(tmp_path)
    assert voc_splits(root) == ["train", "val"]
    expected = [("aeroplane", 3, False), ("person", 1, False), ("person", 4, False), ("void", 1, False)]
    source = read_voc(root, "train")
    assert regions(source) == expected and len(source.categories) == 20 and source.categories[14].id == 15
    (root / "ImageSets/Segmentation/train.txt").write_text("b\n")
    assert "b has no picture in" in refused(read_voc, root, "train")
    (root / "SegmentationObject/a.png").unlink()
    assert "val.txt names it" in refused(read_voc, root, "val")
    assert "has no list of a split" in refused(voc_splits, tmp_path / "none")


def test_voc_of_other_tools_is_read_by_its_colors(tmp_path: Path, refused: Refused) -> None:
    root = voc(tmp_path)
    colors = {0: (0, 0, 0), 1: (128, 0, 0), 15: (9, 8, 7), 255: (224, 224, 192), 2: (0, 128, 0), 3: (128, 128, 0)}
    for folder, values in (("SegmentationClass", CLASSES), ("SegmentationObject", OBJECTS)):
        write_picture(
            root / folder / "a.png", np.array([[colors[v] for v in row] for row in values.tolist()], np.uint8)
        )
    table = root / "labelmap.txt"
    table.write_text("# label:color_rgb:parts:actions\nbackground:0,0,0::\nroad:9,8,7::\ncar:128,0,0::\n")
    source = read_voc(root, "train", ["road"])
    assert regions(source) == [("car", 3, False), ("road", 5, False), ("void", 1, False)]
    assert [(c.id, c.name) for c in source.categories] == [(1, "road"), (2, "car")]
    table.write_text("".join(f"{name}:::\n" for name in ("background", "car", "bike", "road")))
    colors[15] = colors[3]  # the fourth color of the palette: 128,128,0
    write_picture(
        root / "SegmentationClass/a.png", np.array([[colors[v] for v in row] for row in CLASSES.tolist()], np.uint8)
    )
    assert regions(read_voc(root, "train", ["road"])) == [("car", 3, False), ("road", 5, False), ("void", 1, False)]
    table.write_text("car:128,0,0::\n")
    assert "has the color 128,128,0, which labelmap.txt lacks" in refused(read_voc(root, "train").items[0].labels)
    table.write_text("background:0,0,0::\n")
    assert "names no class" in refused(read_voc, root, "train")
    table.write_text("car:red\n")
    assert "'car:red' is not NAME:RED,GREEN,BLUE" in refused(read_voc, root, "train")


def test_ade20k_takes_classes_from_one_map_and_instances_from_the_other(tmp_path: Path, refused: Refused) -> None:
    picture(tmp_path / "images/training/a.jpg")
    write_values(
        tmp_path / "annotations/training/a.png", np.array([[1, 1, 3, 3], [1, 0, 3, 3], [1, 0, 3, 3]], np.uint8)
    )
    colors = np.zeros((3, 4, 3), np.uint8)
    colors[:, 2] = 40, 1, 0
    colors[:2, 3] = 40, 2, 0
    write_picture(tmp_path / "annotations_instance/training/a.png", colors)
    table = tmp_path / "objectInfo150.txt"
    table.write_text(
        "Idx\tRatio\tTrain\tVal\tStuff\tName\n1\t0.15\t1\t2\t1\twall \n3\t0.1\t1\t2\t0\tdoor, double door\n"
    )
    source = read_ade20k(tmp_path, "training")
    assert [(c.id, c.name, c.is_thing) for c in source.categories] == [(1, "wall", False), (3, "door", True)]
    assert regions(source) == [("door", 1, True), ("door", 2, False), ("door", 3, False), ("wall", 4, False)]
    assert "fetch the instances of the challenge too" in refused(read_ade20k, tmp_path, "validation")
    table.write_text("1 wall\n")
    assert "has not the columns Idx" in refused(read_ade20k, tmp_path, "training")


def test_vistas_has_classes_and_instances_in_one_number(tmp_path: Path, refused: Refused) -> None:
    labels = [
        {"name": "a--bird", "readable": "Bird", "instances": True, "evaluate": True, "color": [1, 2, 3]},
        {"name": "b--sky", "readable": "Sky", "instances": False, "evaluate": True, "color": [4, 5, 6]},
        {"name": "void", "readable": "Unlabeled", "instances": False, "evaluate": False, "color": [0, 0, 0]},
    ]
    assert "has no config_v2.0.json" in refused(vistas_version, tmp_path)
    (tmp_path / "config_v2.0.json").write_text(json.dumps({"labels": labels}))
    picture(tmp_path / "training/images/a.jpg")
    values = np.array([[0, 0, 1, 2], [256, 256, 256, 256], [512, 512, 512, 512]], np.uint16)
    write_values(tmp_path / "training/v2.0/instances/a.png", values)
    source = read_vistas(tmp_path, "training", vistas_version(tmp_path))
    birds = [("Bird", 1, False), ("Bird", 1, False), ("Bird", 2, False)]
    assert regions(source) == [*birds, ("Sky", 4, False), ("void", 4, False)]
    assert [(c.id, c.color) for c in source.categories] == [(1, (1, 2, 3)), (2, (4, 5, 6))]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    picture(tmp_path / "ds/img/a.jpg", (10, 20))
    picture(tmp_path / "ds/img/b.jpg")
    (tmp_path / "ds/ann").mkdir()
    (tmp_path / "meta.json").write_text(json.dumps({"classes": [{"title": "car"}, {"title": "road"}]}))
    return tmp_path


def annotate(project: Path, *objects: dict[str, object]) -> Path:
    content = {"size": {"height": 10, "width": 20}, "objects": list(objects)}
    (project / "ds/ann/a.jpg.json").write_text(json.dumps(content))
    return project


def figure(kind: str, title: str = "car", **fields: object) -> dict[str, object]:
    return {"classTitle": title, "geometryType": kind, **fields}


def test_supervisely_has_bitmaps_and_polygons_with_holes(project: Path) -> None:
    bgra = np.zeros((2, 3, 4), np.uint8)
    bgra[0, :, 3] = 255
    code = base64.b64encode(zlib.compress(cv2.imencode(".png", bgra)[1].tobytes())).decode()
    square, hole = [[0, 0], [5, 0], [5, 5], [0, 5]], [[2, 2], [3, 2], [3, 3], [2, 3]]
    annotate(
        project,
        figure("bitmap", bitmap={"data": code, "origin": [18, 4]}),  # its last column lies outside
        figure("polygon", "road", points={"exterior": square, "interior": [hole]}),
        figure("rectangle", points={"exterior": [[10, 0], [11, 2]], "interior": []}),
        figure("line", points={"exterior": [[0, 0], [1, 1]], "interior": []}),
    )
    source = read_supervisely(project, ["road"])
    assert [item.name for item in source.items] == ["ds/a.jpg"]
    assert regions(source) == [("car", 2, False), ("car", 6, False), ("road", 36 - 4, False)]
    assert list(source.notes.lines()) == ["1 pictures have no annotation and were left out (first: b.jpg)"]
    assert len(list(source.items[0].labels().notes.lines())) == 2


def test_figures_that_cannot_be_read_are_refused(project: Path, refused: Refused) -> None:
    def labels() -> None:
        read_supervisely(project).items[0].labels()

    bomb = base64.b64encode(zlib.compress(bytes(2**27))).decode()
    for each, problem in (
        (figure("bitmap", bitmap={"data": "abc", "origin": [0, 0]}), "is no packed PNG"),
        (figure("bitmap", bitmap={"data": bomb, "origin": [0, 0]}), "its `bitmap`"),
        (figure("bitmap"), "points are not pairs of numbers"),
        (figure("polygon", points={"exterior": [[0, 0], [1, 1]]}), "its outline has 2 points"),
        (figure("polygon", points={"exterior": [[0, 0], [1, 1], ["a", 2]]}), "not pairs of numbers"),
        (figure("polygon", "cat"), "the class 'cat' is not in meta.json"),
    ):
        annotate(project, each)
        assert problem in refused(labels)
    (project / "ds/ann/a.jpg.json").unlink()
    assert "no picture in img/ has its annotation" in refused(read_supervisely, project)
