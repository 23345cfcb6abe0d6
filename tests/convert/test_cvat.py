"""Conversion of exports of CVAT for images 1.1."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from panoptic_blend.convert.cvat import cvat_subsets, read_cvat
from panoptic_blend.convert.painting import Labels
from panoptic_blend.convert.summary import Summary
from panoptic_blend.convert.writing import ConversionOptions, write
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.formats.images import write_picture

Refused = Callable[..., str]
META = """<meta><task><name>pets</name><labels>
<label><name>cat</name><type>any</type></label><label><name>nose</name><type>points</type></label>
<label><name>grass</name><type>polygon</type></label></labels></task></meta>"""


def export(folder: Path, shapes: str, attributes: str = "") -> Path:
    """An export with one picture of 10 x 20 pixels."""
    write_picture(folder / "images/a b.png", np.zeros((10, 20, 3), np.uint8))
    image = f'<image id="7" name="a b.png" width="20" height="10" {attributes}>{shapes}</image>'
    path = folder / "annotations.xml"
    path.write_text(
        f'<?xml version="1.0" encoding="utf-8"?>\n<annotations><version>1.1</version>{META}{image}</annotations>'
    )
    return path


def labels(path: Path) -> Labels:
    [item] = read_cvat(path).items
    return item.labels()


def converted(path: Path, out: Path) -> tuple[CocoPanoptic, Summary]:
    summary = write(read_cvat(path, stuff=["grass"]), ConversionOptions(out), lambda done, total: None)
    return CocoPanoptic(out, "train"), summary


def test_shapes_are_filled_and_those_of_a_group_are_one_instance(tmp_path: Path) -> None:
    shapes = """
    <polygon label="grass" points="0,0;20,0;20,10;0,10" z_order="0"/>
    <box label="cat" xtl="2" ytl="2" xbr="6" ybr="5" group_id="3"/>
    <mask label="cat" rle="1, 2, 1, 2" left="10" top="4" width="3" height="2" group_id="3"/>
    <ellipse label="cat" cx="16" cy="5" rx="2" ry="2"/>
    <points label="nose" points="1,1"/>"""
    data, summary = converted(export(tmp_path, shapes), tmp_path / "out")
    assert [(c.id, c.name, c.is_thing) for c in data.categories] == [(1, "cat", True), (2, "grass", False)]
    grass, group, ellipse = data.truth(0).segments
    assert (group.area, group.box) == (4 * 3 + 4, (2, 2, 13, 6))
    assert ellipse.area == pytest.approx(np.pi * 4, abs=2)
    assert grass.area == 200 - group.area - ellipse.area
    ids = data.truth(0).segment_ids
    # run lengths by rows: one void, two of the mask, one void, two of the mask
    assert (ids[4:6, 10:13] == group.id).tolist() == [[False, True, True], [False, True, True]]
    assert list(summary.notes.lines()) == [
        "1 shapes have no area (points, polylines, cuboids, skeletons, tags) and were left out (first: a b.png)",
        "1 boxes were read as filled rectangles (first: annotations.xml: image a b.png: box 2)",
    ]


def test_a_box_is_turned_clockwise_about_its_center(tmp_path: Path) -> None:
    [region] = labels(export(tmp_path, '<box label="cat" xtl="2" ytl="4" xbr="10" ybr="6" rotation="90"/>')).regions
    assert (region.cutout.left, region.cutout.top, region.cutout.mask.shape) == (5, 1, (8, 2))
    turned = '<box label="cat" xtl="4" ytl="4" xbr="14" ybr="6" rotation="30"/>'
    [region] = labels(export(tmp_path, turned)).regions
    rows, columns = np.nonzero(region.cutout.mask)
    assert np.corrcoef(rows, columns)[0, 1] > 0.5, "y grows downwards, so clockwise leads down to the right"


def test_shapes_come_in_the_order_in_which_they_are_drawn(tmp_path: Path) -> None:
    shapes = [f'<box label="cat" xtl="{x}" ytl="0" xbr="{x + 2}" ybr="2" z_order="{z}"/>' for x, z in ((0, 2), (4, 0))]
    found = labels(export(tmp_path, "".join(shapes)))
    assert [region.cutout.left for region in found.regions] == [4, 0]
    assert found.notes["shapes have a z_order, which decides overlaps with --overlap later"] == 1


def test_a_project_has_subsets_with_folders_of_their_own(tmp_path: Path) -> None:
    path = export(tmp_path, "", 'subset="Validation"')
    (tmp_path / "images/Validation").mkdir()
    (tmp_path / "images/a b.png").rename(tmp_path / "images/Validation/a b.png")
    assert cvat_subsets(path) == ["Validation"]
    assert [item.name for item in read_cvat(path, subset="Validation").items] == ["Validation/a b.png"]


@pytest.mark.parametrize(
    ("shape", "problem"),
    [
        ('<polygon label="dog" points="0,0;5,0;5,5"/>', "polygon 1 has the label 'dog', which <labels> lacks"),
        ('<polygon label="cat" points="0,0;5,0"/>', "polygon 1 has a polygon with fewer than three points"),
        ('<polygon label="cat" points="0,0;5;5,5"/>', "polygon 1: its points are not pairs of numbers"),
        ('<box label="cat" xtl="2" ytl="2" xbr="x" ybr="5"/>', "box 1: `xbr` is 'x', not a number"),
        ('<ellipse label="cat" cx="2" cy="2" rx="inf" ry="2"/>', "ellipse 1: `rx` is 'inf', not a number"),
        ('<mask label="cat" rle="1, 2" left="0" top="0" width="2" height="2"/>', "mask 1: its run lengths do not fill"),
        (
            '<mask label="cat" rle="4, -4, 4" left="0" top="0" width="2" height="2"/>',
            "mask 1: its run lengths do not fill",
        ),
        (f'<mask label="cat" rle="{2**63 - 1}, {2**63 - 1}, 6" left="0" top="0" width="2" height="2"/>', "do not fill"),
    ],
)
def test_malformed_shapes_are_refused(tmp_path: Path, shape: str, problem: str, refused: Refused) -> None:
    message = refused(labels, export(tmp_path, shape))
    assert message.startswith("annotations.xml: image a b.png: ") and problem in message


def test_other_files_are_refused(tmp_path: Path, refused: Refused) -> None:
    path = export(tmp_path, "")
    sound = path.read_text()
    for text, problem in {
        sound.replace("</annotations>", ""): "not valid XML",
        sound.replace("<annotations>", "<!DOCTYPE a [<!ENTITY b 'c'>]><annotations>"): "declares entities",
        f"<annotations>{META}<track id='0' label='cat'/></annotations>": "has tracks of CVAT for video",
        f"<annotations>{META}</annotations>": "has no images",
        "<annotations><meta/></annotations>": "lists no label with an area",
        "<doxygen/>": "is no annotation of CVAT",
        sound.replace("a b.png", "c.png"): "image c.png: not in",
        sound.replace('width="20"', 'width="0"'): "its size is 0 x 10 pixels",
    }.items():
        path.write_text(text)
        assert problem in refused(labels, path)
