"""Conversion of folders of PNGs with the classes and instances of pixels."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.convert.id_masks import MaskFolders, read_id_masks
from panoptic_blend.formats.images import write_picture, write_values

Refused = Callable[..., str]
CLASSES = np.array([[1, 1, 2, 2], [1, 0, 2, 9], [1, 255, 2, 9]], np.uint16)
INSTANCES = np.array([[1, 2, 5, 5], [1, 0, 5, 0], [1, 0, 5, 0]], np.uint16)
TABLE = {"1": "car", "2": "road", "9": "van"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_picture(tmp_path / "pictures/a/b.jpg", np.zeros((3, 4, 3), np.uint8))
    write_picture(tmp_path / "pictures/c.jpg", np.zeros((3, 4, 3), np.uint8))
    write_values(tmp_path / "classes/a/b.png", CLASSES)
    write_values(tmp_path / "instances/a/b.png", INSTANCES)
    write_values(tmp_path / "both/a/b.png", np.where(CLASSES == 255, 0, CLASSES * 1000 + INSTANCES).astype(np.uint16))
    (tmp_path / "classes.json").write_text(json.dumps(TABLE))
    return tmp_path


def regions(folder: Path, folders: MaskFolders, *stuff: str) -> list[tuple[str | None, int, bool]]:
    source = read_id_masks(folders, folder / "classes.json", folder / "pictures", stuff)
    [item] = source.items
    assert item.name == "a/b.jpg"
    assert list(source.notes.lines()) == ["1 pictures have no PNG of classes and were left out"]
    found = item.labels().regions
    names = ((region.category and region.category.name) for region in found)
    return sorted(
        (str(name), int(region.cutout.mask.sum()), region.is_crowd) for name, region in zip(names, found, strict=True)
    )


def test_instances_are_told_apart_and_those_without_a_number_are_crowds(folder: Path) -> None:
    two = MaskFolders(folder / "classes", folder / "instances")
    expected = [("None", 1, False), ("car", 1, False), ("car", 3, False), ("road", 4, False), ("van", 2, True)]
    assert regions(folder, two, "road") == expected
    assert regions(folder, MaskFolders(folder / "both", divisor=1000), "road") == expected[1:]
    write_values(folder / "small/a/b.png", np.full((3, 4), 9, np.uint8))  # fewer bits than the divisor has
    assert regions(folder, MaskFolders(folder / "small", divisor=1000), "road") == []
    assert regions(folder, MaskFolders(folder / "classes"), "car", "road", "van")[1] == ("car", 4, False)


def test_a_table_in_cocos_format_says_what_is_stuff(folder: Path) -> None:
    records = [{"id": int(key), "name": name, "isthing": int(key != "2")} for key, name in TABLE.items()]
    (folder / "classes.json").write_text(json.dumps({"categories": records}))
    source = read_id_masks(
        MaskFolders(folder / "classes", folder / "instances"), folder / "classes.json", folder / "pictures"
    )
    assert [(c.id, c.is_thing) for c in source.categories] == [(1, True), (2, False), (9, True)]


def test_what_does_not_fit_is_refused(folder: Path, refused: Refused) -> None:
    table, pictures = folder / "classes.json", folder / "pictures"
    folders = MaskFolders(folder / "classes", folder / "instances")
    without = refused(read_id_masks, MaskFolders(folder / "classes"), table, pictures)
    assert "car is a thing, whose instances the classes do not tell; give --instances" in without
    assert "did you mean road?" in refused(read_id_masks, folders, table, pictures, ["rod"])
    assert "no such folder" in refused(read_id_masks, MaskFolders(folder / "none", folder), table, pictures)
    assert "has no PNGs" in refused(read_id_masks, MaskFolders(pictures, folder), table, pictures)
    table.write_text('{"1": "car", "2": "road"}')
    [item] = read_id_masks(folders, table, pictures).items
    assert "has the class 9, which the table of classes lacks; add it there" in refused(item.labels)
    (folder / "instances/a/b.png").unlink()
    assert "no such file" in refused(read_id_masks(folders, table, pictures).items[0].labels)
    write_values(folder / "classes/d.png", CLASSES)
    assert "no picture d.* in" in refused(read_id_masks, folders, table, pictures)
