"""Conversion of Cityscapes panoptic files, written here by hand: new names and numbers, the same pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from panoptic_blend.convert.cityscapes import read_cityscapes
from panoptic_blend.convert.writing import ConversionOptions, write
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.formats.images import write_picture, write_segment_ids

Refused = Callable[..., str]

IDS = np.array([[7, 7, 26001, 26001, 0], [7, 7, 26002, 26, 26], [23, 23, 23, 26, 0]], np.int32)
NAMES = ["ulm_000001_000019", "bonn_000000_000019"]


def content(category_ids: dict[str, int]) -> dict[str, Any]:
    """The JSON of two pictures in two cities: ulm has a road, two cars, a crowd of cars and sky, bonn only sky."""
    road, car, sky = category_ids["road"], category_ids["car"], category_ids["sky"]
    found = [(7, road, 0), (23, sky, 0), (26, car, 1), (26001, car, 0), (26002, car, 0)]
    segments = [
        [{"id": i, "category_id": c, "iscrowd": crowd, "area": 1, "bbox": [0, 0, 1, 1]} for i, c, crowd in found],
        [{"id": 23, "category_id": sky, "iscrowd": 0, "area": 15, "bbox": [0, 0, 5, 3]}],
    ]
    return {
        "images": [
            {"id": name, "width": 5, "height": 3, "file_name": f"{name}_gtFine_leftImg8bit.png"} for name in NAMES
        ],
        "annotations": [
            {"image_id": name, "file_name": f"{name}_gtFine_panoptic.png", "segments_info": infos}
            for name, infos in zip(NAMES, segments, strict=True)
        ],
        "categories": [
            {"id": i, "name": name, "color": [i, 0, 9], "supercategory": "x", "isthing": int(name == "car")}
            for name, i in category_ids.items()
        ],
    }


LABEL_IDS = {"road": 7, "sky": 23, "car": 26}
TRAIN_IDS = {"road": 0, "sky": 10, "car": 13}


def picture(fill: int) -> npt.NDArray[np.uint8]:
    return np.full((3, 5, 3), fill, np.uint8)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for fill, name in enumerate(NAMES):
        city = name.split("_")[0]
        write_picture(tmp_path / f"leftImg8bit/val/{city}/{name}_leftImg8bit.png", picture(fill))
        write_picture(tmp_path / f"leftImg8bit/train/{city}/{name[:-1]}8_leftImg8bit.png", picture(99))
    for stem in ("cityscapes_panoptic_val", "cityscapes_panoptic_val_trainId"):
        write_segment_ids(tmp_path / f"gtFine/{stem}/{NAMES[0]}_gtFine_panoptic.png", IDS)
        write_segment_ids(tmp_path / f"gtFine/{stem}/{NAMES[1]}_gtFine_panoptic.png", np.full_like(IDS, 23))
    return tmp_path


def convert(root: Path, data: Any, stem: str = "cityscapes_panoptic_val", pictures: str = "leftImg8bit") -> None:
    path = root / f"gtFine/{stem}.json"
    path.write_text(json.dumps(data))
    source = read_cityscapes(path, root / pictures)
    write(source, ConversionOptions(root / "out", "val", overwrite=True), lambda done, total: None)


@pytest.mark.parametrize("pictures", ["leftImg8bit", "leftImg8bit/val"])
@pytest.mark.parametrize(
    ("stem", "ids"), [("cityscapes_panoptic_val", LABEL_IDS), ("cityscapes_panoptic_val_trainId", TRAIN_IDS)]
)
def test_both_variants_are_read_with_the_same_pixels(root: Path, pictures: str, stem: str, ids: dict[str, int]) -> None:
    convert(root, content(ids), stem, pictures)
    data = CocoPanoptic(root / "out", "val")
    prefix = "" if pictures.endswith("val") else "val/"
    assert [(image.id, image.file_name) for image in data.images] == [
        (1, f"{prefix}ulm/{NAMES[0]}_leftImg8bit.png"),
        (2, f"{prefix}bonn/{NAMES[1]}_leftImg8bit.png"),
    ]
    assert [(c.id, c.name, c.is_thing) for c in data.categories] == [
        (number, name, name == "car") for name, number in ids.items()
    ]
    assert (data.picture(1) == picture(1)).all()
    found = data.truth(0)
    assert [(s.category, s.is_crowd, s.area) for s in found.segments] == [
        (ids["road"], False, 4),
        (ids["sky"], False, 3),
        (ids["car"], True, 3),
        (ids["car"], False, 2),
        (ids["car"], False, 1),
    ]
    for segment, old in zip(found.segments, (7, 23, 26, 26001, 26002), strict=True):
        assert ((found.segment_ids == segment.id) == (old == IDS)).all()
    assert [(s.category, s.area) for s in data[1].panoptic_truth().segments] == [(ids["sky"], 15)]


def changed(key: str, index: int, **values: object) -> dict[str, Any]:
    data = content(LABEL_IDS)
    data[key][index].update(values)
    return data


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, "no list of records `images`; this is not the panoptic JSON of Cityscapes"),
        ({**content(LABEL_IDS), "images": [], "annotations": []}, "`images` is empty"),
        (changed("images", 0, id=7), "images[0]: `id` is 7, not a name"),
        (changed("images", 0, id=NAMES[1]), f"image {NAMES[1]} is listed twice"),
        (changed("images", 0, width=6), "annotated as 6 x 3"),
        (changed("images", 0, id="../x"), "an annotation is for image ulm"),
        (changed("annotations", 0, image_id=NAMES[1]), f"image {NAMES[1]} has 2 annotations"),
        (changed("annotations", 0, file_name="../x.png"), "leads out of its folder"),
        (changed("annotations", 0, file_name="x.png"), "x.png: no such file"),
        (
            changed("annotations", 0, segments_info=[]),
            "ulm_000001_000019_gtFine_panoptic.png but not in the JSON",
        ),
        (changed("categories", 0, id=8), "has category 7"),
    ],
)
def test_broken_input_is_refused(root: Path, refused: Refused, data: object, expected: str) -> None:
    assert expected in refused(convert, root, data)
    assert not (root / "out/annotations/panoptic_val.json").exists()


def test_missing_folders_and_pictures_are_named(root: Path, refused: Refused) -> None:
    data = content(LABEL_IDS)
    assert "--pictures" in refused(convert, root, data, "cityscapes_panoptic_val", "none")
    assert "--maps" in refused(convert, root, data, "cityscapes_panoptic_test")
    assert "no ulm_000001_000019_leftImg8bit.*" in refused(convert, root, data, "cityscapes_panoptic_val", "gtFine")
    data["annotations"].pop()
    assert f"image {NAMES[1]} has no annotation" in refused(convert, root, data)
