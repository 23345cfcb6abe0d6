"""Conversion of LabelMe folders: shapes, groups, flags, the lookup of pictures, and refused input."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis.extra.numpy import array_shapes, arrays

from panoptic_blend.convert.labelme import Classes, read_labelme
from panoptic_blend.convert.labelme_shapes import cutout_of
from panoptic_blend.convert.summary import Summary, lines
from panoptic_blend.convert.writing import ConversionOptions, write
from panoptic_blend.data.dataset import CocoPanoptic
from panoptic_blend.formats.images import write_picture

Refused = Callable[..., str]
SIZE = (20, 30)


def shape(label: str, points: Any, kind: str | None = "polygon", **others: Any) -> dict[str, Any]:
    return {"label": label, "points": points, "group_id": None, "shape_type": kind, "flags": {}, **others}


def rectangle(label: str, x0: float, y0: float, x1: float, y1: float, **others: Any) -> dict[str, Any]:
    return shape(label, [[x0, y0], [x1, y1]], "rectangle", **others)


def save(path: Path, shapes: list[Any], **others: Any) -> None:
    """Write a LabelMe file, and a picture beside it."""
    content: dict[str, Any] = {
        "version": "5.5.0",
        "flags": {},
        "shapes": shapes,
        "imagePath": f"{path.stem}.jpg",
        "imageData": None,
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content | {"imageHeight": SIZE[0], "imageWidth": SIZE[1]} | others))
    write_picture(path.with_suffix(".jpg"), np.zeros((*SIZE, 3), np.uint8))


def convert(
    folder: Path, classes: Classes | None = None, pictures: Path | None = None, **options: Any
) -> tuple[Summary, CocoPanoptic]:
    source = read_labelme(folder, classes or Classes(), pictures)
    summary = write(source, ConversionOptions(folder.parent / "out", **options), lambda done, total: None)
    return summary, CocoPanoptic(folder.parent / "out", "train")


def areas(data: CocoPanoptic, index: int = 0) -> list[tuple[str, int]]:
    return [
        (data.categories.by_id[segment.category].name, segment.area)
        for segment in data[index].panoptic_truth().segments
    ]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "my läbels"


def test_things_are_instances_and_stuff_is_named(folder: Path) -> None:
    cars = [rectangle("car", 2, 2, 7, 6), rectangle("car", 12, 2, 13, 3)]  # 6 x 5 and 2 x 2, ends included
    save(folder / "a.json", [*cars, rectangle("sky", 0, 0, 29, 3), rectangle("sky", 0, 0, 5, 5)])
    summary, data = convert(folder, Classes(stuff=["sky"]))
    assert [(c.id, c.name, c.is_thing) for c in data.categories] == [(1, "car", True), (2, "sky", False)]
    assert sorted(areas(data)) == [("car", 4), ("car", 30), ("sky", 120 + 12 - 12 - 4 - 8)]
    assert summary.contested == 0
    assert summary.void == 600 - 30 - 4 - 108


def test_a_group_is_one_instance_and_flags_can_make_it_a_crowd(folder: Path) -> None:
    parts = [
        rectangle("car", 0, 0, 1, 1, group_id=3),
        rectangle("person", 5, 5, 6, 6, group_id=3),
        rectangle("car", 10, 10, 12, 12, group_id=3, flags={"crowd": True}),
        rectangle("car", 20, 10, 20, 10, flags={"crowd": False, "parked": True}),
        rectangle("car", 22, 10, 22, 10, flags=None),
    ]
    save(folder / "a.json", parts)
    summary, data = convert(folder)
    assert [(s.category, s.area, s.is_crowd) for s in data[0].panoptic_truth().segments] == [
        (1, 4 + 9, True),
        (2, 4, False),
        (1, 1, False),
        (1, 1, False),
    ]
    assert summary.notes["shapes have flags other than `crowd`, which were ignored"] == 1


@pytest.mark.parametrize(
    ("drawn", "area"),
    [
        (shape("a", [[2, 2], [5, 2], [5, 4], [2, 4]]), 12),
        (shape("a", [[2.9, 2.1], [5.2, 2.8], [5.9, 4.9], [2.5, 4]], None), 12),
        (shape("a", [[2, 2], [5, 2], [5, 4], [2, 4]], "oriented_rectangle"), 12),
        (shape("a", [[2, 2], [5, 2], [5, 4], [2, 4]], "rectangle"), 12),
        (shape("a", [[5, 4], [2, 2]], "rectangle"), 12),
        (shape("a", [[-9, -9], [2, 3.5]], "rectangle"), 12),
        (shape("a", [[27, 16], [100, 100]], "rectangle"), 12),
        (shape("a", [[5.5, 5.5], [5.5, 6.5]], "circle"), 9),  # within 1.5 of a pixel's center: 3 x 3
        (shape("a", [[0.5, 0.5], [0.5, 1.5]], "circle"), 4),
        (shape("a", [[3, 3], [8, 3], [3, 8], [8, 8]]), 24),  # a bow tie: rows of 6, 4, 2, 2, 4, 6
    ],
)
def test_shapes_cover_the_pixels_of_their_points_and_all_between(
    folder: Path, drawn: dict[str, Any], area: int
) -> None:
    save(folder / "a.json", [drawn])
    assert areas(convert(folder)[1]) == [("a", area)]


@pytest.mark.parametrize(
    "drawn",
    [
        shape("a", []),
        shape("a", [[1, 1], [5, 5]]),
        shape("a", [[1, 1]], "rectangle"),
        shape("a", [[40, 1], [45, 1], [45, 5]]),
        shape("a", [[-9, -9], [-8, -1]], "rectangle"),
        shape("a", [[-9, -9], [-8, -9]], "circle"),
    ],
)
def test_shapes_without_pixels_are_dropped_and_counted(folder: Path, drawn: dict[str, Any]) -> None:
    save(folder / "a.json", [drawn, rectangle("a", 1, 1, 2, 2)])
    summary, data = convert(folder)
    assert areas(data) == [("a", 4)]
    assert summary.empty == 1
    assert "1 shapes were dropped, as they cover no pixel of their picture" in lines(summary)


def test_masks_are_placed_at_their_first_point(folder: Path) -> None:
    bitmap = np.array([[1, 1, 0], [0, 1, 1]], np.uint8)
    code = base64.b64encode(cv2.imencode(".png", bitmap)[1].tobytes()).decode()
    places = [([[4, 5], [6, 6]], 4), ([[-1, 0], [1, 1]], 3), ([[29, 19], [31, 20]], 1)]
    save(folder / "a.json", [shape("a", points, "mask", mask=code) for points, _ in places])
    data = convert(folder)[1]
    assert areas(data) == [("a", area) for _, area in places]
    assert data[0].panoptic_truth().segment_ids[5:7, 4:7].tolist() == [[1, 1, 0], [0, 1, 1]]


@given(arrays(bool, array_shapes(min_dims=2, max_dims=2, min_side=3, max_side=16)))
def test_polygons_from_contours_rebuild_the_solid_parts(mask: npt.NDArray[np.bool_]) -> None:
    contours, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    for contour in contours:
        expected = np.zeros(mask.shape, np.uint8)
        cv2.drawContours(expected, [contour], 0, 1, cv2.FILLED)
        cutout = cutout_of(shape("a", contour[:, 0].tolist()), mask.shape, "here")
        found = np.zeros(mask.shape, bool)
        found[cutout.window] = cutout.mask
        assert len(contour) < 3 or (found == expected.astype(bool)).all()


def test_shapes_written_as_labelme_masks_converts_back(generated: Path, folder: Path) -> None:
    truth, meanings = CocoPanoptic(generated, "val2017"), {}
    folder.mkdir()
    for i, image in enumerate(truth.images):
        ids, shapes = truth[i].panoptic_truth().segment_ids, []
        for segment in truth[i].panoptic_truth().segments:
            bitmap = (ids == segment.id).astype(np.uint8)
            x0, y0, x1, y1 = segment.box or (0, 0, 0, 0)
            code = base64.b64encode(cv2.imencode(".png", bitmap[y0:y1, x0:x1])[1].tobytes()).decode()
            category = truth.categories.by_id[segment.category]
            meanings[category.name] = category.is_thing
            flags = {"crowd": segment.is_crowd}
            shapes.append(shape(category.name, [[x0, y0], [x1 - 1, y1 - 1]], "mask", mask=code, flags=flags))
        height, width = ids.shape
        path = folder / f"{Path(image.file_name).stem}.json"
        save(path, shapes, imageHeight=height, imageWidth=width)
        write_picture(path.with_suffix(".jpg"), truth.picture(i))
    stuff = [name for name, is_thing in meanings.items() if not is_thing]
    summary, data = convert(folder, Classes(stuff=stuff))
    assert summary.contested == summary.hidden == 0
    for i in range(len(truth)):
        before, after = truth.truth(i), data.truth(i)
        assert ((before.segment_ids == 0) == (after.segment_ids == 0)).all()
        assert [(s.area, s.box, s.is_crowd) for s in before.segments] == [
            (s.area, s.box, s.is_crowd) for s in after.segments
        ]
        for old, new in zip(before.segments, after.segments, strict=True):
            assert ((before.segment_ids == old.id) == (after.segment_ids == new.id)).all()
            assert truth.categories.by_id[old.category].name == data.categories.by_id[new.category].name


def test_lines_and_points_have_no_area(folder: Path) -> None:
    others = [shape("a", [[1, 1], [5, 5]], kind) for kind in ("line", "linestrip", "point", "points")]
    save(folder / "a.json", [*others, rectangle("b", 1, 1, 2, 2)])
    summary, data = convert(folder)
    assert areas(data) == [("b", 4)]
    assert [category.name for category in data.categories] == ["b"]
    assert summary.notes["shapes are lines or points, which have no area, and were left out"] == 4


def test_labels_may_mean_void(folder: Path) -> None:
    shapes = [rectangle("sky", 0, 0, 29, 9), rectangle("__ignore__", 0, 0, 9, 9), rectangle("car", 0, 0, 1, 1)]
    save(folder / "a.json", shapes)
    assert sorted(areas(convert(folder, Classes(stuff=["sky"]))[1])) == [("car", 4), ("sky", 200)]
    summary, data = convert(folder, Classes(["car"], ["__ignore__"], ["sky"]), overwrite=True)
    assert (areas(data), summary.hidden) == ([("car", 4)], 1)


def test_equal_file_names_in_two_folders_stay_distinct(folder: Path) -> None:
    save(folder / "x/a.json", [rectangle("a", 0, 0, 1, 1)])
    save(folder / "y 写/a.json", [rectangle("a", 0, 0, 2, 2)])
    data = convert(folder)[1]
    assert [(image.id, image.file_name) for image in data.images] == [(1, "x/a.jpg"), (2, "y 写/a.jpg")]
    assert areas(data) + areas(data, 1) == [("a", 4), ("a", 9)]


def test_pictures_may_lie_in_another_folder_or_be_embedded(folder: Path, refused: Refused) -> None:
    name = "..\\pictures\\a.jpg"
    save(folder / "x/a.json", [rectangle("a", 0, 0, 1, 1)], imagePath=name)
    (folder / "x/a.jpg").unlink()
    assert "no picture a.jpg beside it, and none inside" in refused(convert, folder)
    photo = np.full((*SIZE, 3), 77, np.uint8)
    for place in ("a.png", "x/a.png"):
        write_picture(folder.parent / "pictures" / place, photo)
        (folder.parent / "pictures" / place).rename((folder.parent / "pictures" / place).with_suffix(".jpg"))
        data = convert(folder, pictures=folder.parent / "pictures", overwrite=True)[1]
        assert data.images[0].file_name == place.replace("png", "jpg")
    for suffix in (".png", ".jpg"):
        code = base64.b64encode(cv2.imencode(suffix, photo)[1].tobytes()).decode()
        save(folder / "x/a.json", [rectangle("a", 0, 0, 1, 1)], imagePath=name, imageData=code)
        (folder / "x/a.jpg").unlink()
        data = convert(folder, overwrite=True)[1]
        assert data.images[0].file_name == f"x/a{suffix}"
        assert (data.picture(0) == 77).all()


def test_labels_are_drawn_on_the_upright_picture(folder: Path) -> None:
    save(folder / "a.json", [rectangle("a", 0, 0, 19, 4)], imageHeight=30, imageWidth=20)
    plain = (folder / "a.jpg").read_bytes()
    turned = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"
    header = b"\xff\xe1" + (len(turned) + 2).to_bytes(2, "big") + turned
    (folder / "a.jpg").write_bytes(plain[:2] + header + plain[2:])
    _, data = convert(folder)
    assert data[0].image.shape == (3, 30, 20)
    assert areas(data) == [("a", 100)]
    save(folder / "b.json", [], imageHeight=None, imageWidth=None)
    (folder / "b.jpg").write_bytes((folder / "a.jpg").read_bytes())
    _, data = convert(folder, keep_empty=True, overwrite=True)
    assert data.images[1].size == (30, 20)


def test_unlabeled_pictures_are_counted(folder: Path) -> None:
    save(folder / "a.json", [rectangle("a", 0, 0, 1, 1)])
    save(folder / "b.json", [])
    write_picture(folder / "c.png", np.zeros((3, 3, 3), np.uint8))
    summary, data = convert(folder)
    assert [image.file_name for image in data.images] == ["a.jpg"]
    assert "1 pictures have no segment" in lines(summary)
    assert "1 pictures without a LabelMe file were left out (first: c.png)" in lines(summary)
    data = convert(folder, keep_empty=True, overwrite=True)[1]
    assert [image.file_name for image in data.images] == ["a.jpg", "b.jpg"]
    assert data[1].panoptic_truth().segments == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("{", "a.json: not valid JSON"),
        ("[]", "no list of records `shapes`; this is not a LabelMe JSON"),
        ({"shapes": [1]}, "no list of records `shapes`"),
        ({"shapes": [shape("", [])]}, "shapes[0]: `label` is ''"),
        ({"shapes": [shape("a", [], "ellipse")]}, "shapes[0]: shape_type 'ellipse' is unknown; use circle"),
        ({"shapes": [shape("a", [[1, 2, 3]])]}, "shapes[0]: its points are not pairs of numbers"),
        ({"shapes": [shape("a", "abc")]}, "not pairs of numbers"),
        ({"shapes": [shape("a", [[1, 1], [2, 2], [10**400, 1]])]}, "not pairs of numbers"),
        ({"shapes": [shape("a", [[1, 1], [2, 2], [-9e9, 1]])]}, "a point has the coordinate -9e+09 in a picture"),
        ({"shapes": [shape("a", [[1, 1]], "circle")]}, "a circle has 1 points"),
        ({"shapes": [shape("a", [[1, 1], [2, 2]], "mask")]}, "its `mask` is not a picture with"),
        ({"shapes": [shape("a", [[1, 1], [2, 2]], "mask", mask="AAAA")]}, "its `mask`: cannot be decoded"),
        ({"shapes": [shape("a", [[1, 1], [2, 2], [3, 1]], flags=["x"])]}, "`flags` is ['x']"),
        ({"shapes": []}, "no shape with an area in any file"),
        ({"imagePath": None}, "`imagePath` is None"),
        ({"imagePath": "b.jpg"}, "no picture b.jpg beside it"),
        ({"imagePath": "../b.jpg"}, "no picture b.jpg beside it"),
        ({"imagePath": "b.jpg", "imageData": "AAAA"}, "its `imageData`: cannot be decoded"),
        ({"imagePath": "b.jpg", "imageData": "é"}, "its `imageData` is not base64"),
        ({"imageHeight": 21}, "30 x 20 pixels, annotated as 30 x 21"),
        ({"imageHeight": "20"}, "`imageHeight` is '20'"),
    ],
)
def test_broken_files_are_refused(folder: Path, refused: Refused, content: Any, expected: str) -> None:
    save(folder / "a.json", [rectangle("a", 0, 0, 1, 1)])
    whole = json.loads((folder / "a.json").read_text())
    (folder / "a.json").write_text(content if isinstance(content, str) else json.dumps(whole | content))
    message = refused(convert, folder)
    assert expected in message
    assert str(folder) in message
    assert not (folder.parent / "out/annotations/panoptic_train.json").exists()


def test_classes_that_do_not_fit_are_refused(folder: Path, refused: Refused) -> None:
    assert "no such folder" in refused(convert, folder)
    folder.mkdir()
    assert "has no JSON files" in refused(convert, folder)
    save(folder / "a.json", [rectangle("car", 0, 0, 1, 1), rectangle("sky", 0, 0, 1, 1)])
    assert "did you mean sky?" in refused(convert, folder, Classes(stuff=["skyy"]))
    assert "sky is named twice" in refused(convert, folder, Classes(["sky"], ["sky"]))
    assert "a.json: label 'sky' is in neither" in refused(convert, folder, Classes(["car"]))
    assert "no category is a thing; leave one out of --stuff" in refused(convert, folder, Classes(stuff=["sky", "car"]))
    assert convert(folder, Classes(["car", "dog"], ["sky", "road"]))[0].images == {"train": 1}
    save(folder / "b.json", [rectangle("car", 0, 0, 1, 1)], imagePath="a.jpg")
    assert "b.json: labels a.jpg" in refused(convert, folder)


@pytest.mark.parametrize(
    ("image_path", "picture"),
    [
        ("D:\\work\\pics\\a.jpg", "x/a.jpg"),
        ("/home/anna/pics/a.jpg", "x/a.jpg"),
        ("..\\images\\a.jpg", "images/a.jpg"),
        ("../../elsewhere/a.jpg", "x/a.jpg"),
        ("a.jpg", "x/a.JPG"),
        ("a\u0308.jpg", "x/\u00e4.jpg"),
        ("\u00e4.jpg", "x/a\u0308.jpg"),
    ],
)
def test_pictures_are_found_under_the_paths_of_other_machines(folder: Path, image_path: str, picture: str) -> None:
    save(folder / "x/a.json", [rectangle("a", 0, 0, 1, 1)], imagePath=image_path)
    (folder / picture).parent.mkdir(exist_ok=True)
    (folder / "x/a.jpg").rename(folder / picture)
    assert [image.file_name for image in convert(folder)[1].images] == [picture]


def test_files_of_other_programs_are_no_part_of_the_data_set(folder: Path) -> None:
    save(folder / "a.json", [rectangle("a", 0, 0, 1, 1)])
    save(folder / ".ipynb_checkpoints/a-checkpoint.json", [rectangle("b", 0, 0, 1, 1)])
    (folder / "._a.json").write_bytes(b"\0\5\x16\7")
    (folder / "._a.jpg").write_bytes(b"\0\5\x16\7")
    (folder / "a.heic").touch()
    summary, data = convert(folder)
    assert len(data) == 1 and [category.name for category in data.categories] == ["a"]
    assert summary.notes["copies of Jupyter (.ipynb_checkpoints) were passed over"] == 1
    assert summary.notes["files of macOS (._*, .DS_Store, __MACOSX) were passed over"] == 2
    assert summary.notes["files of other formats were left out"] == 1
    assert summary.notes["pictures without a LabelMe file were left out"] == 0


def test_shapes_that_are_cut_off_or_too_short_are_counted(folder: Path) -> None:
    cut_off = [rectangle("a", 20, 10, 35, 15), shape("a", [[-9, 0], [5, 0], [5, 5]])]
    save(
        folder / "a.json", [rectangle("a", 0, 0, 31.5, 3), *cut_off, shape("a", [[1, 1], [5, 5]]), shape("a", [[1, 1]])]
    )
    summary, _ = convert(folder)
    assert summary.notes["shapes reach beyond their picture and were cut off at its border"] == 2
    assert summary.notes["shapes have too few points to enclose an area and were left out"] == 2
    assert any(line.endswith("(first: a.jpg: shapes[1])") for line in lines(summary))


def test_a_size_without_the_orientation_tag_is_said(folder: Path) -> None:
    save(folder / "a.json", [rectangle("a", 0, 0, 5, 5)])  # 30 x 20 as stored, 20 x 30 upright
    data = (folder / "a.jpg").read_bytes()
    entry = b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0"  # EXIF 2.32, 4.6
    (folder / "a.jpg").write_bytes(data[:2] + b"\xff\xe1" + (len(entry) + 2).to_bytes(2) + entry + data[2:])
    said = "read as drawn on the stored picture; if they were drawn on the upright one, swap imageHeight and imageWidth"
    assert any(said in line for line in lines(convert(folder)[0]))
    content = json.loads((folder / "a.json").read_text())
    (folder / "a.json").write_text(json.dumps(content | {"imageHeight": SIZE[1], "imageWidth": SIZE[0]}))
    summary, data_set = convert(folder, overwrite=True)
    assert not any(said in line for line in lines(summary)) and data_set.images[0].size == SIZE[::-1]
