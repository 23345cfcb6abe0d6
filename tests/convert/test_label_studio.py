"""Conversion of Label Studio's JSON."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from panoptic_blend.convert.label_studio import read_label_studio
from panoptic_blend.formats.images import write_picture
from panoptic_blend.formats.rle_pack import pack_mask

Refused = Callable[..., str]


def result(kind: str, label: str = "cat", **value: Any) -> dict[str, Any]:
    size = {"original_width": 20, "original_height": 10, "image_rotation": 0}
    return {"id": "r", "type": kind, **size, "value": {**value, kind: [label]}}


def polygon(label: str = "cat", width: float = 50) -> dict[str, Any]:
    """The left part of the picture, of ``width`` percent."""
    return result("polygonlabels", label, points=[[0, 0], [width, 0], [width, 100], [0, 100]], closed=True)


def project(folder: Path, *results: dict[str, Any], image: str = "/data/upload/3/0123abcd-a.png", **task: Any) -> Path:
    """An export with one task for the picture ``a.png`` of 20 x 10 pixels."""
    write_picture(folder / "pictures/a.png", np.zeros((10, 20, 3), np.uint8))
    path = folder / "export.json"
    own = {"id": 7, "data": {"image": image}, "annotations": [{"result": list(results)}], **task}
    path.write_text(json.dumps([own]))
    return path


def areas(path: Path, **options: Any) -> list[tuple[str, int]]:
    source = read_label_studio(path, path.parent / "pictures", **options)
    regions = source.items[0].labels().regions
    return [(region.category.name, int(region.cutout.mask.sum())) for region in regions if region.category]


def test_all_shapes_with_an_area_are_filled(tmp_path: Path) -> None:
    mask = np.zeros((10, 20), bool)
    mask[2:5, 3:10] = True
    path = project(
        tmp_path,
        polygon(),
        result("brushlabels", "grass", format="rle", rle=pack_mask(mask)),
        result("rectanglelabels", "dog", x=10, y=20, width=50, height=30, rotation=0),
        result("rectanglelabels", "dog", x=50, y=0, width=50, height=20, rotation=90),  # about (10, 0): to the left
        result("ellipselabels", "dog", x=50, y=50, radiusX=20, radiusY=40),
        result("keypointlabels", "dog", x=1, y=1),
    )
    found = areas(path, stuff=["grass"])
    assert found[:4] == [("cat", 100), ("grass", 21), ("dog", 10 * 3), ("dog", 2 * 10)]
    assert abs(found[4][1] - np.pi * 4 * 4) < 3 and len(found) == 5
    source = read_label_studio(path, tmp_path / "pictures", ["grass"])
    assert [(c.name, c.is_thing) for c in source.categories] == [("cat", True), ("dog", True), ("grass", False)]
    assert any("key points" in line for line in source.notes.lines())


@pytest.mark.parametrize(
    "image", ["/data/local-files/?d=some/where/a.png", "s3://bucket/a.png", "a.png", "http://host/a.png?token=1"]
)
def test_pictures_are_found_by_the_end_of_their_address(tmp_path: Path, image: str) -> None:
    assert areas(project(tmp_path, polygon(), image=image)) == [("cat", 100)]


def test_the_newest_annotation_counts_and_predictions_on_request(tmp_path: Path) -> None:
    annotations = [
        {"updated_at": "2026-02-01", "result": [polygon(width=20)]},
        {"updated_at": "2026-01-01", "result": [polygon(width=50)]},
        {"updated_at": "2026-03-01", "result": [], "was_cancelled": True},
    ]
    path = project(tmp_path, annotations=annotations, predictions=[{"result": [polygon(width=10)]}])
    assert areas(path) == [("cat", 40)]
    assert areas(path, predictions=True) == [("cat", 20)]
    assert any("several annotations" in line for line in read_label_studio(path, tmp_path / "pictures").notes.lines())


def test_labels_have_the_order_of_the_interface(tmp_path: Path, refused: Refused) -> None:
    interface = tmp_path / "config.xml"
    interface.write_text(
        '<View><BrushLabels><Label value="dog"/><Label value="cat"/></BrushLabels>'
        '<PolygonLabels><Label value="cat"/></PolygonLabels><Choices><Choice value="no"/></Choices></View>'
    )
    path = project(tmp_path, polygon())
    assert [c.name for c in read_label_studio(path, tmp_path / "pictures", interface=interface).categories] == [
        "dog",
        "cat",
    ]
    path = project(tmp_path, polygon("cow"))
    message = refused(lambda: read_label_studio(path, tmp_path / "pictures", interface=interface))
    assert f"the label 'cow' is not in {interface}" in message


def test_what_cannot_be_read_is_refused(tmp_path: Path, refused: Refused) -> None:
    def labels(path: Path) -> None:
        read_label_studio(path, tmp_path / "pictures").items[0].labels()

    bad_size = polygon() | {"original_width": 21}
    for results, problem in {
        (json.dumps(result("brushlabels", format="rle", rle=[1, 2]))): "its `rle` is no mask of 20 x 10 pixels",
        (json.dumps(result("polygonlabels", points=[[0, 0], [1, 1]]))): "fewer than three points",
        (json.dumps(result("rectanglelabels", x=1, y=2, width="a", height=1))): "`width` and `height` are 'a' and 1",
        (json.dumps(bad_size)): "20 x 10 pixels, annotated as 21 x 10",
        (json.dumps(polygon() | {"image_rotation": 90})): "was drawn on a turned picture",
        (json.dumps(result("choices"))): "no annotation has a region with an area",
    }.items():
        assert problem in refused(labels, project(tmp_path, json.loads(results)))
    assert "is not in" in refused(labels, project(tmp_path, polygon(), image="b.png"))
    path = project(tmp_path, polygon())
    path.write_text('[{"image": "a.png", "polygon": []}]')
    assert "export the project as JSON (not JSON-MIN)" in refused(labels, path)
    path.write_text("[]")
    assert "has no tasks" in refused(labels, path)
    path.write_text(json.dumps(2 * json.loads(project(tmp_path, polygon()).read_text())))
    assert "as another task is; keep one" in refused(labels, path)
    assert "no such folder of pictures" in refused(read_label_studio, path, tmp_path / "none")
