"""Panoptic maps written as COCO panoptic JSON + PNG."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.coco_panoptic import read_panoptic_json
from panoptic_blend.formats.images import read_segment_ids
from panoptic_blend.formats.panoptic_writer import PanopticWriter
from panoptic_blend.structures import Category, PanopticMap, Segment

Refused = Callable[..., str]
Ids = npt.NDArray[np.int32]

CATEGORIES = [Category(3, "cat", True), Category(5, "grass", False, (1, 2, 3))]
MAP = np.array([[300, 300, 0, 1], [300, 1, 1, 1], [300, 300, 0, 0]], np.int32)
MAPS = arrays(
    np.int32, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.sampled_from([0, 1, 5, 9, 2**24 - 1])
)


def scene(ids: Ids, crowd: int | None = None) -> PanopticMap:
    """A map whose odd ids are cats and whose even ids are grass."""
    present = [i for i in np.unique(ids).tolist() if i]
    segments = [Segment(i, 3 if i % 2 else 5, i % 2 == 1, None, 0, None, i == crowd) for i in present]
    return PanopticMap.measured(ids, segments)


@settings(max_examples=50, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(maps=st.lists(MAPS, max_size=3), crowd=st.sampled_from([None, 1, 9]))
def test_maps_round_trip(tmp_path: Path, maps: list[Ids], crowd: int | None) -> None:
    scenes = [scene(ids, crowd) for ids in maps]
    with PanopticWriter(tmp_path / "new" / "p.json", categories=CATEGORIES) as writer:
        for number, panoptic in enumerate(scenes):
            writer.add(number, f"{number}.v2.jpg", panoptic)
    if not scenes:
        assert json.loads((tmp_path / "new/p.json").read_text())["images"] == []
        return
    data = read_panoptic_json(tmp_path / "new" / "p.json")
    assert data.categories == Categories(CATEGORIES)
    for number, (image, written) in enumerate(zip(data.images, scenes, strict=True)):
        assert (image.id, image.file_name, image.annotation.png) == (number, f"{number}.v2.jpg", f"{number}.v2.png")
        read = image.annotation.read(data.path, Folder(tmp_path / "new" / "p"), image.size)
        assert (read.segment_ids == written.segment_ids).all()
        assert read.segments == written.segments


def test_the_json_has_the_format_of_coco(tmp_path: Path) -> None:
    panoptic = scene(MAP, crowd=1)
    scored = replace(panoptic.segments[1], score=0.123456789)
    empty = Segment(4, 5, False, None, 0, None)
    folder = tmp_path / "maps"
    with PanopticWriter(tmp_path / "p.json", folder, categories=CATEGORIES) as writer:
        writer.add(7, "berlin/7.jpg", PanopticMap(MAP, [panoptic.segments[0], scored, empty]))
    assert json.loads((tmp_path / "p.json").read_text()) == {
        "images": [{"id": 7, "file_name": "berlin/7.jpg", "height": 3, "width": 4}],
        "annotations": [
            {
                "image_id": 7,
                "file_name": "berlin/7.png",
                "segments_info": [
                    {"id": 1, "category_id": 3, "iscrowd": 1, "bbox": [1, 0, 3, 2], "area": 4},
                    {"id": 300, "category_id": 5, "iscrowd": 0, "bbox": [0, 0, 2, 3], "area": 5, "score": 0.123457},
                ],
            }
        ],
        "categories": [
            {"id": 3, "name": "cat", "isthing": 1},
            {"id": 5, "name": "grass", "isthing": 0, "color": [1, 2, 3]},
        ],
    }
    assert (read_segment_ids(folder / "berlin" / "7.png") == MAP).all()


def test_a_json_that_exists_is_complete(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text("old")
    with pytest.raises(KeyboardInterrupt), PanopticWriter(tmp_path / "p.json", categories=CATEGORIES) as writer:
        writer.add(1, "1.jpg", scene(MAP))
        raise KeyboardInterrupt
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["1.png", "p"], (
        "the old JSON would not match the new PNGs"
    )


def test_no_png_overwrites_another(tmp_path: Path, refused: Refused) -> None:
    names = ["a.jpg", "b/a.jpg", "b/a.b.jpg", "a.png", "a.png"]
    maps = [np.where(MAP == 300, 2 + 2 * number, MAP).astype(np.int32) for number in range(5)]
    with PanopticWriter(tmp_path / "p.json", categories=CATEGORIES) as writer:
        for number, name in enumerate(names):
            writer.add(number, name, scene(maps[number]))
        assert "leads out" in refused(writer.add, 5, "../c.jpg", scene(MAP))
    data = read_panoptic_json(tmp_path / "p.json")
    assert [image.file_name for image in data.images] == names
    pngs = [image.annotation.png for image in data.images]
    assert pngs == ["a.png", "b/a.png", "b/a.b.png", "a.png.3.png", "a.png.4.png"]
    for image, ids in zip(data.images, maps, strict=True):
        assert (image.annotation.read(data.path, Folder(tmp_path / "p"), image.size).segment_ids == ids).all()
