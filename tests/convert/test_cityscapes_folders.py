"""Conversion of Cityscapes' own folders: instanceIds and polygons, with the pixels that its scripts give."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from panoptic_blend.compat import from_cityscapes_ids
from panoptic_blend.convert.cityscapes_folders import cityscapes_splits, read_cityscapes_folder
from panoptic_blend.convert.cityscapes_labels import CATEGORIES, LABELS
from panoptic_blend.convert.painting import paint
from panoptic_blend.formats.images import write_picture, write_values

Refused = Callable[..., str]

IDS = np.array([[7, 7, 26000, 26000, 1], [7, 4, 26001, 26, 26], [23, 29000, 29, 9, 0]], np.uint16)
"""Road, two cars, a group of cars, sky, and labels that are not evaluated."""


def picture(root: Path, city: str, split: str = "val") -> Path:
    """Write a picture; returns the path of its labels without their end."""
    name = f"{city}_000000_000019"
    write_picture(root / f"leftImg8bit/{split}/{city}/{name}_leftImg8bit.png", np.zeros((*IDS.shape, 3), np.uint8))
    (root / f"gtFine/{split}/{city}").mkdir(parents=True, exist_ok=True)
    return root / f"gtFine/{split}/{city}/{name}_gtFine"


def write_ids(path: Path, ids: npt.NDArray[np.uint16] = IDS) -> None:
    write_values(path.with_name(f"{path.name}_instanceIds.png"), ids)


def write_polygons(path: Path, objects: Any, size: tuple[int, int] = (3, 5)) -> None:
    content = {"imgHeight": size[0], "imgWidth": size[1], "objects": objects}
    path.with_name(f"{path.name}_polygons.json").write_text(json.dumps(content))


def polygon(label: str, left: int, top: int, right: int, bottom: int, **more: Any) -> dict[str, Any]:
    """A rectangle with the pixels of its corners."""
    return {"label": label, "polygon": [[left, top], [right, top], [right, bottom], [left, bottom]], **more}


def painted(folder: Path, number: int = 0) -> tuple[list[tuple[str, bool, int]], npt.NDArray[np.int32]]:
    """Class, crowd and area of each segment, and the ids of segments in this order."""
    panoptic = paint(read_cityscapes_folder(folder).items[number].labels(), "smaller").panoptic
    segments = [(CATEGORIES[s.category].name, s.is_crowd, s.area) for s in panoptic.segments]
    return segments, panoptic.index().astype(np.int32)


def test_instance_ids_become_the_segments_of_the_scripts(tmp_path: Path) -> None:
    write_ids(picture(tmp_path, "ulm"))
    segments, index = painted(tmp_path / "gtFine/val")
    assert segments == [("road", False, 3), ("sky", False, 1), ("car", True, 2), ("car", False, 2), ("car", False, 1)]
    assert index.tolist() == [[1, 1, 4, 4, 0], [1, 0, 5, 3, 3], [2, 0, 0, 0, 0]]
    other = from_cityscapes_ids(IDS, CATEGORIES)
    assert sorted((CATEGORIES[s.category].name, s.is_crowd, s.area) for s in other.segments) == sorted(segments)


def test_polygons_are_drawn_over_one_another_and_groups_are_crowds(tmp_path: Path) -> None:
    objects = [
        polygon("road", 0, 0, 4, 2),
        polygon("car", 0, 0, 1, 1),
        polygon("car", 1, 1, 2, 2),  # over the first one, whatever their sizes
        polygon("cargroup", 3, 0, 4, 0),
        polygon("license plate", 1, 1, 1, 1),
        polygon("sky", 0, 0, 4, 2, deleted=1),
        polygon("sky", 0, 2, 0, 2),  # stuff over stuff, and below nothing
        polygon("static", 4, 2, 4, 2),
    ]
    write_polygons(picture(tmp_path, "ulm"), objects)
    segments, index = painted(tmp_path / "gtFine/val")
    assert segments == [("road", False, 4), ("sky", False, 1), ("car", True, 2), ("car", False, 3), ("car", False, 4)]
    assert index.tolist() == [[4, 4, 1, 3, 3], [4, 5, 5, 1, 1], [2, 5, 5, 1, 0]]


def test_label_ids_alone_have_stuff_and_crowds_of_things(tmp_path: Path) -> None:
    path = picture(tmp_path, "ulm")
    write_values(path.with_name(f"{path.name}_labelIds.png"), np.where(IDS < 1000, IDS, IDS // 1000).astype(np.uint8))
    segments, index = painted(tmp_path / "gtFine/val")
    assert segments == [("road", False, 3), ("sky", False, 1), ("car", True, 5)]
    assert index.tolist() == [[1, 1, 3, 3, 0], [1, 0, 3, 3, 3], [2, 0, 0, 0, 0]]
    write_ids(path)  # which tell cars apart, and count before these
    assert len(painted(tmp_path / "gtFine/val")[0]) == 5


def test_pngs_count_before_polygons_and_splits_are_found(tmp_path: Path) -> None:
    write_ids(picture(tmp_path, "bonn"))
    write_polygons(picture(tmp_path, "bonn"), [polygon("sky", 0, 0, 4, 2)])
    write_polygons(picture(tmp_path, "ulm"), [polygon("sky", 0, 0, 4, 2)])
    write_ids(picture(tmp_path, "berlin", "test"))
    picture(tmp_path, "essen", "empty")
    assert cityscapes_splits(tmp_path) == ["val"]
    source = read_cityscapes_folder(tmp_path / "gtFine/val")
    assert [item.name for item in source.items] == [
        f"{city}/{city}_000000_000019_leftImg8bit.png" for city in ("bonn", "ulm")
    ]
    assert len(painted(tmp_path / "gtFine/val")[0]) == 5
    assert painted(tmp_path / "gtFine/val", 1)[0] == [("sky", False, 15)]


@pytest.mark.parametrize(
    ("objects", "expected"),
    [
        ([polygon("lorry", 0, 0, 1, 1)], "objects[0]: Cityscapes has no label 'lorry'; choose from "),
        ([polygon("tram", 0, 0, 1, 1)], "objects[0]: Cityscapes has no label 'tram'; did you mean train?"),
        ([{"label": "car", "polygon": [[0, "x"]]}], "objects[0]: its points are not pairs of numbers"),
        ([{"polygon": []}], "objects[0]: `label` is None, not a name"),
        (None, "no list of records `objects`; this is not the polygons of Cityscapes"),
    ],
)
def test_broken_polygons_are_refused(tmp_path: Path, refused: Refused, objects: Any, expected: str) -> None:
    write_polygons(picture(tmp_path, "ulm"), objects)
    assert expected in refused(painted, tmp_path / "gtFine/val")


def test_wrong_folders_and_files_are_named(tmp_path: Path, refused: Refused) -> None:
    path = picture(tmp_path, "ulm")
    assert "has no *_instanceIds.png, *_polygons.json or *_labelIds.png" in refused(painted, tmp_path / "gtFine/val")
    assert "gtFine: has no split with" in refused(cityscapes_splits, tmp_path)
    write_polygons(path, [], size=(5, 3))
    assert "was drawn at 3 x 5, and the picture has 5 x 3" in refused(painted, tmp_path / "gtFine/val")
    write_ids(path, IDS + 60)
    assert "has the label 60, which Cityscapes has not" in refused(painted, tmp_path / "gtFine/val")
    (tmp_path / "gtFine/val/other").mkdir()
    write_ids(tmp_path / "gtFine/val/other" / path.name)
    assert "are for one picture" in refused(painted, tmp_path / "gtFine/val")
    (tmp_path / "gtFine/val/other" / f"{path.name}_instanceIds.png").unlink()
    (tmp_path / "leftImg8bit").rename(tmp_path / "elsewhere")
    assert "give that of the pictures with --pictures" in refused(painted, tmp_path / "gtFine/val")


def test_the_table_has_all_labels_of_cityscapes() -> None:
    assert sorted(LABELS.values()) == list(range(34)) and len(CATEGORIES) == 19
    assert [category.name for category in CATEGORIES.values() if category.is_thing] == [
        *("person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle")
    ]
