"""The label ids of an export for Cityscapes, and the names of its files."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from panoptic_blend.formats.images import decode_values
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.interchange.exporting import Exported, drawing, export
from panoptic_blend.interchange.source import open_source
from panoptic_blend.structures import Category, PanopticMap, Segment

Refused = Callable[..., str]

IDS = np.array([[1, 1, 2, 3], [4, 4, 0, 3]], np.int32)
"""Two things, of which the second is a crowd, then stuff, then a third thing."""


def exported(folder: Path, names: Sequence[str], categories: Sequence[Category]) -> Exported:
    thing, stuff = (category.id for category in categories)
    segments = [
        Segment(number, category, category == thing, None, 0, None, number == 2)
        for number, category in ((1, thing), (2, thing), (3, stuff), (4, thing))
    ]
    with PanopticWriter(folder / "annotations/panoptic_val.json", categories=categories) as writer:
        for number, name in enumerate(names):
            writer.add(number, name, PanopticMap.measured(IDS, segments))
    source, drawn = open_source(folder / "annotations/panoptic_val.json"), drawing("cityscapes", None, masks=False)
    return export(source, "cityscapes", folder / "out", drawn, lambda *_: None, link=False, with_pictures=False)


def ids_of(folder: Path, kind: str, name: str) -> npt.NDArray[np.integer]:
    path = folder / f"out/gtFine/val/{name}_gtFine_{kind}.png"
    return decode_values(path.read_bytes(), path)


def test_names_of_cityscapes_have_its_labels_and_others_their_ids(tmp_path: Path) -> None:
    exported(tmp_path / "a", ["ulm/ulm_1_2_leftImg8bit.png"], [Category(0, "car", True), Category(1, "sky", False)])
    assert ids_of(tmp_path / "a", "labelIds", "ulm/ulm_1_2").tolist() == [[26, 26, 26, 23], [26, 26, 0, 23]]
    assert ids_of(tmp_path / "a", "instanceIds", "ulm/ulm_1_2").tolist() == [
        [26000, 26000, 26, 23],
        [26001, 26001, 0, 23],
    ]
    exported(tmp_path / "b", ["7.jpg"], [Category(64, "cow", True), Category(255, "sky", False)])
    assert ids_of(tmp_path / "b", "labelIds", "val/7").tolist() == [[64, 64, 64, 255], [64, 64, 0, 255]]
    assert ids_of(tmp_path / "b", "instanceIds", "val/7").tolist() == [[64000, 64000, 64, 255], [64001, 64001, 0, 255]]


def test_names_of_the_json_of_cityscapes_become_those_of_its_files(tmp_path: Path) -> None:
    name = "ulm_1_2_gtFine_leftImg8bit.png"
    exported(tmp_path, [name], [Category(0, "car", True), Category(1, "sky", False)])
    assert ids_of(tmp_path, "labelIds", "ulm/ulm_1_2").tolist() == [[26, 26, 26, 23], [26, 26, 0, 23]]
    [image] = json.loads((tmp_path / "out/gtFine/cityscapes_panoptic_val.json").read_text())["images"]
    assert (image["id"], image["file_name"]) == ("ulm_1_2", name)


def test_ids_that_do_not_fit_are_left_out_with_a_remark(tmp_path: Path) -> None:
    for number, stuff in ((65, 1), (0, 1), (1, 256)):
        done = exported(
            tmp_path / f"{number} {stuff}", ["7.jpg"], [Category(number, "cow", True), Category(stuff, "mud", False)]
        )
        assert list(done.remarks) == [
            "no labelIds and instanceIds were written: they hold ids of stuff from 1 to 255, and of things from 1 to 64"
        ]
        assert not list(tmp_path.rglob("*Ids.png"))


def test_pictures_that_would_share_a_name_are_refused(tmp_path: Path, refused: Refused) -> None:
    categories = [Category(1, "cow", True), Category(2, "sky", False)]
    assert "a/b_c.png and a_b/c.png would share the labels a_b_c; rename one" in refused(
        exported, tmp_path, ["a/b_c.png", "a_b/c.png"], categories
    )
