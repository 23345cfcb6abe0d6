"""Reading COCO panoptic JSON + PNG: valid data, and the error message of every fault."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from panoptic_blend.formats.archives import Folder
from panoptic_blend.formats.coco_panoptic import Annotation, read_panoptic_json
from panoptic_blend.formats.images import write_segment_ids
from panoptic_blend.structures import PanopticBlendError, PanopticMap, Runs, Segment

Refused = Callable[..., str]
Ids = npt.NDArray[np.int32]

MAP = np.array([[300, 300, 0, 1], [300, 1, 1, 1], [300, 300, 0, 0]], np.int32)
ABSENT = object()


def content() -> dict[str, Any]:
    """Image 7 with a cat and grass, image 9 without any segment; annotations in another order than images."""
    cat, grass = {"id": 1, "category_id": 3, "iscrowd": 0}, {"id": 300, "category_id": 5, "area": 999}
    return {
        "info": {"description": "two images"},
        "categories": [{"id": 5, "name": "grass", "isthing": 0}, {"id": 3, "name": "cat", "isthing": 1}],
        "images": [
            {"id": 7, "file_name": "7.jpg", "height": 3, "width": 4},
            {"id": 9, "file_name": "9.jpg", "height": 3, "width": 4},
        ],
        "annotations": [
            {"image_id": 9, "file_name": "9.png", "segments_info": []},
            {"image_id": 7, "file_name": "7.png", "segments_info": [cat, grass]},
        ],
    }


def changed(place: str, value: object) -> dict[str, Any]:
    """`content` with another value at a place such as ``images.0.id``, or without it for ABSENT."""
    result: Any = content()
    *path, last = [int(part) if part.isdigit() else part for part in place.split(".")]
    record = result
    for part in path:
        record = record[part]
    if value is ABSENT:
        del record[last]
    else:
        record[last] = value
    return dict(result)


def write(folder: Path, data: object) -> Path:
    path = folder / "p.json"
    path.write_text(json.dumps(data))
    return path


def read_maps(path: Path) -> list[PanopticMap]:
    """All maps of a JSON, with PNGs beside it."""
    return [image.annotation.read(path, Folder(path.parent), image.size) for image in read_panoptic_json(path).images]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_segment_ids(tmp_path / "7.png", MAP)
    write_segment_ids(tmp_path / "9.png", np.zeros((3, 4), np.int32))
    return tmp_path


def test_a_data_set_is_read_in_the_order_of_its_images(folder: Path) -> None:
    data = read_panoptic_json(write(folder, content()))
    assert data.path == folder / "p.json" and [category.id for category in data.categories] == [3, 5]
    assert [(image.id, image.file_name, image.size) for image in data.images] == [
        (7, "7.jpg", (3, 4)),
        (9, "9.jpg", (3, 4)),
    ]
    assert data.images[0].annotation.segments == [
        Segment(1, 3, True, None, 0, None),
        Segment(300, 5, False, None, 0, None),
    ]
    assert data.images[1].annotation == Annotation(9, "9.png", [])


def test_areas_and_boxes_come_from_the_png(folder: Path) -> None:
    first, second = read_maps(write(folder, content()))
    assert (first.segment_ids == MAP).all()
    assert first.segments == [
        Segment(1, 3, True, None, 4, (1, 0, 4, 2)),
        Segment(300, 5, False, None, 5, (0, 0, 2, 3)),  # not the `area` of the JSON
    ]
    assert (second.segment_ids == 0).all() and second.segments == []


@pytest.mark.parametrize("value", [1, True, 1.0])
def test_crowds_are_marked(folder: Path, value: object) -> None:
    data = read_panoptic_json(write(folder, changed("annotations.1.segments_info.0.iscrowd", value)))
    assert [segment.is_crowd for segment in data.images[0].annotation.segments] == [True, False]


def test_image_ids_may_be_of_any_size(folder: Path) -> None:
    data = content()
    data["images"][0]["id"] = data["annotations"][1]["image_id"] = -(10**30)
    assert [image.id for image in read_panoptic_json(write(folder, data)).images] == [-(10**30), 9]


@pytest.mark.parametrize(
    ("found", "expected"), [("val/1", "val/1"), (7.0, 7), (2.5, "2.5"), (10**30, 10**30), ("10", "10")]
)
@pytest.mark.parametrize("second", [9, "ADE_val_9"])
def test_image_ids_are_numbers_or_texts(folder: Path, found: object, expected: object, second: object) -> None:
    data = content()
    data["images"][0]["id"] = data["annotations"][1]["image_id"] = found
    data["images"][1]["id"] = data["annotations"][0]["image_id"] = second
    read = read_panoptic_json(write(folder, data)).images
    assert [image.id for image in read] == list(read.ids) == [expected, second]
    assert [image.annotation.image_id for image in read] == [expected, second]


def test_whole_numbers_may_have_decimals(folder: Path) -> None:
    data = content()
    image, segment, category = data["images"][0], data["annotations"][1]["segments_info"][0], data["categories"][0]
    for record, key in ((image, "height"), (segment, "id"), (segment, "category_id"), (category, "id")):
        record[key] = float(record[key])
    as_floats = read_maps(write(folder, data))
    assert [m.segments for m in as_floats] == [m.segments for m in read_maps(write(folder, content()))]


def test_only_readers_of_pictures_need_their_names(folder: Path) -> None:
    for name in (ABSENT, None, 7):
        images = read_panoptic_json(write(folder, changed("images.0.file_name", name)), pictures=False).images
        assert images[0].file_name == ""


def test_names_of_another_machine_are_read(folder: Path) -> None:
    data = changed("images.0.file_name", "C:\\data\\val\\7.jpg")
    data["annotations"][1]["file_name"] = "/home/someone/maps/7.png"
    read = read_panoptic_json(write(folder, data)).images
    assert read[0].file_name == "7.jpg" and read[0].annotation.png == "7.png"


NOT_PANOPTIC = "; this is not COCO panoptic JSON"
NO_ID = ", neither a number nor a printable text; correct it"
NOT_WHOLE = ", not a whole number; correct it"
LEADS_OUT = " leads out of its folder; use plain relative names"
SEGMENTS = "annotations.1.segments_info"


@pytest.mark.parametrize(
    ("place", "value", "expected"),
    [
        ("images", {"id": 7}, f"p.json: no list of records `images`{NOT_PANOPTIC}"),
        ("images.1", [7], f"p.json: no list of records `images`{NOT_PANOPTIC}"),
        ("images", [], "p.json: `images` is empty; a data set needs at least one image"),
        ("images.0", ABSENT, "p.json: an annotation is of image 7, which `images` lacks; add it there"),
        ("images.1.id", 7, "p.json: image 7 is listed twice; image ids are unique"),
        ("images.1.id", 8, "p.json: image 8 has no annotation; annotate it or remove it from `images`"),
        ("images.1.id", "7", "p.json: image 7 is listed twice; image ids are unique"),
        ("images.1.id", "9", "p.json: image 9 has no annotation; annotate it or remove it from `images`"),
        ("images.1.id", ABSENT, f"p.json: images[1]: `id` is None{NO_ID}"),
        ("images.1.id", "", f"p.json: images[1]: `id` is ''{NO_ID}"),
        ("images.1.id", "a\nb", f"p.json: images[1]: `id` is 'a\\nb'{NO_ID}"),
        ("images.1.id", [9], f"p.json: images[1]: `id` is [9]{NO_ID}"),
        ("images.1.id", True, f"p.json: images[1]: `id` is True{NOT_WHOLE}"),
        ("images.0.height", ABSENT, f"p.json: image 7: `height` is None{NOT_WHOLE}"),
        ("images.0.height", 3.5, f"p.json: image 7: `height` is 3.5{NOT_WHOLE}"),
        ("images.0.width", "4", f"p.json: image 7: `width` is '4'{NOT_WHOLE}"),
        ("images.0.width", math.inf, f"p.json: image 7: `width` is inf{NOT_WHOLE}"),
        ("images.0.file_name", ABSENT, "p.json: image 7: `file_name` is None, not a file name; correct it"),
        ("images.0.file_name", 7, "p.json: image 7: `file_name` is 7, not a file name; correct it"),
        ("images.0.file_name", "../x.jpg", f"p.json: image 7: file name '../x.jpg'{LEADS_OUT}"),
        ("images.0.file_name", "..\\x.jpg", f"p.json: image 7: file name '../x.jpg'{LEADS_OUT}"),
        (
            "images.0.file_name",
            "a\nb.jpg",
            "p.json: image 7: file name 'a\\nb.jpg' has control characters; rename the file",
        ),
        ("images.0.file_name", "", f"p.json: image 7: file name ''{LEADS_OUT}"),
        ("annotations", ABSENT, f"p.json: no list of records `annotations`{NOT_PANOPTIC}"),
        ("annotations.0", None, f"p.json: no list of records `annotations`{NOT_PANOPTIC}"),
        ("annotations.0", ABSENT, "p.json: image 9 has no annotation; annotate it or remove it from `images`"),
        ("annotations.0.image_id", 7, "p.json: image 7 has two annotations; keep one"),
        ("annotations.0.image_id", ABSENT, f"p.json: annotations[0]: `image_id` is None{NO_ID}"),
        ("annotations.0.image_id", 9.5, "p.json: image 9 has no annotation; annotate it or remove it from `images`"),
        ("annotations.1.file_name", ABSENT, "p.json: image 7: `file_name` is None, not a file name; correct it"),
        ("annotations.1.file_name", "../7.png", f"p.json: image 7: file name '../7.png'{LEADS_OUT}"),
        (SEGMENTS, ABSENT, f"p.json: annotations[1]: no list of records `segments_info`{NOT_PANOPTIC}"),
        (SEGMENTS, {"id": 1}, f"p.json: annotations[1]: no list of records `segments_info`{NOT_PANOPTIC}"),
        (f"{SEGMENTS}.1", 300, f"p.json: annotations[1]: no list of records `segments_info`{NOT_PANOPTIC}"),
        (f"{SEGMENTS}.0.id", ABSENT, f"p.json: image 7: segments_info[0]: `id` is None{NOT_WHOLE}"),
        (f"{SEGMENTS}.0.id", 1.5, f"p.json: image 7: segments_info[0]: `id` is 1.5{NOT_WHOLE}"),
        (f"{SEGMENTS}.0.id", True, f"p.json: image 7: segments_info[0]: `id` is True{NOT_WHOLE}"),
        (f"{SEGMENTS}.0.id", 0, "p.json: image 7: segment id 0 is not between 1 and 16777215; 0 is void"),
        (f"{SEGMENTS}.0.id", -1, "p.json: image 7: segment id -1 is not between 1 and 16777215; 0 is void"),
        (f"{SEGMENTS}.0.id", 2**24, "p.json: image 7: segment id 16777216 is not between 1 and 16777215; 0 is void"),
        (f"{SEGMENTS}.0.id", 10**30, f"p.json: image 7: segment id {10**30} is not between 1 and 16777215; 0 is void"),
        (
            f"{SEGMENTS}.0.id",
            300,
            "p.json: image 7: segment 300 is listed twice, with different `category_id` or `iscrowd`; "
            "give each segment an id of its own",
        ),
        (f"{SEGMENTS}.1.category_id", ABSENT, f"p.json: image 7: segment 300: `category_id` is None{NOT_WHOLE}"),
        (f"{SEGMENTS}.1.category_id", "5", f"p.json: image 7: segment 300: `category_id` is '5'{NOT_WHOLE}"),
        (
            f"{SEGMENTS}.1.category_id",
            4,
            "p.json: image 7: segment 300 has category 4, which is not in `categories` (3 to 5); add it",
        ),
        (f"{SEGMENTS}.0.iscrowd", 2, "p.json: image 7: segment 1: `iscrowd` is 2, not 0 or 1; correct it"),
        (f"{SEGMENTS}.0.iscrowd", "0", "p.json: image 7: segment 1: `iscrowd` is '0', not 0 or 1; correct it"),
        (f"{SEGMENTS}.0.iscrowd", None, "p.json: image 7: segment 1: `iscrowd` is None, not 0 or 1; correct it"),
        (f"{SEGMENTS}.0.iscrowd", math.nan, "p.json: image 7: segment 1: `iscrowd` is nan, not 0 or 1; correct it"),
        ("categories", [], "p.json: no categories; list the classes of the data set"),
        ("categories.0.id", 3, "p.json: category id 3 is used twice; ids are unique"),
        (
            "categories.1.isthing",
            ABSENT,
            "p.json: category {'id': 3, 'name': 'cat'}: no `isthing`, which COCO panoptic requires; add it",
        ),
        (
            "categories.1.isthing",
            "yes",
            "p.json: category {'id': 3, 'name': 'cat', 'isthing': 'yes'}: `isthing` is neither 0 nor 1; correct it",
        ),
    ],
)
def test_broken_content_is_named(folder: Path, refused: Refused, place: str, value: object, expected: str) -> None:
    assert refused(read_panoptic_json, write(folder, changed(place, value))) == expected


def test_other_kinds_of_json_are_refused(folder: Path, refused: Refused) -> None:
    others: tuple[object, ...] = ([], [content()], None, 3.5, "panoptic", {})
    for data in others:
        message = refused(read_panoptic_json, write(folder, data))
        assert message == f"p.json: no list of records `images`{NOT_PANOPTIC}"
    instances = content() | {"categories": [{"supercategory": "animal", "id": 3, "name": "cat"}]}
    instances["annotations"] = [{"id": 1, "image_id": 7, "category_id": 3, "segmentation": [[0, 0, 1, 0, 1, 1]]}]
    assert "`isthing`, which COCO panoptic requires; add it" in refused(read_panoptic_json, write(folder, instances))
    instances["categories"] = content()["categories"]
    expected = f"p.json: annotations[0]: no list of records `segments_info`{NOT_PANOPTIC}"
    assert refused(read_panoptic_json, write(folder, instances)) == expected


def test_a_segment_of_the_json_without_pixels_is_named(folder: Path, refused: Refused) -> None:
    data = content()
    data["annotations"][1]["segments_info"].append({"id": 3226956, "category_id": 3})
    expected = f"p.json: image 7: segment 3226956 is in the JSON but not in {folder}/7.png; remove it from the JSON"
    assert refused(read_maps, write(folder, data)) == expected


def test_a_segment_of_the_png_without_a_record_is_named(folder: Path, refused: Refused) -> None:
    path = write(folder, changed("annotations.1.segments_info.0", ABSENT))
    expected = f"p.json: image 7: segment 1 is in {folder}/7.png but not in the JSON; add it to the JSON"
    assert refused(read_maps, path) == expected
    write_segment_ids(folder / "7.png", MAP + np.int32(2**24 - 1) * (MAP == 0))
    expected = f"p.json: image 7: segment 16777215 is in {folder}/7.png but not in the JSON; add it to the JSON"
    assert refused(read_maps, write(folder, content())) == expected


def test_swapped_channels_are_said(folder: Path, refused: Refused) -> None:
    path = write(folder, content())
    ids = read_maps(path)[0].segment_ids
    write_segment_ids(folder / "7.png", ids >> 16 | ids & 0xFF00 | (ids & 255) << 16)
    assert refused(read_maps, path).startswith(f"{folder}/7.png: red and blue are swapped")
    write_segment_ids(folder / "7.png", np.where(ids == 1, 1, ids >> 16 | ids & 0xFF00 | (ids & 255) << 16))
    assert "p.json: image 7: segment 300 is in the JSON but not in" in refused(read_maps, path)


def test_results_are_not_taken_for_a_data_set(folder: Path, refused: Refused) -> None:
    for key in ("images", "categories"):
        message = refused(read_panoptic_json, write(folder, changed(key, ABSENT)))
        assert message.startswith("p.json: has `annotations` without `images` or `categories`, as results have; give")


@pytest.mark.parametrize("size", [(3, 5), (2, 4), (4, 3), (10**30, 4)])
def test_a_png_of_another_size_is_named(folder: Path, refused: Refused, size: tuple[int, int]) -> None:
    data = content()
    data["images"][0] |= {"height": size[0], "width": size[1]}
    expected = f"{folder}/7.png: 4 x 3 pixels, but its picture is {size[1]} x {size[0]} pixels; write it in that size"
    assert refused(read_maps, write(folder, data)) == expected


def test_a_missing_or_broken_png_is_named(folder: Path, refused: Refused) -> None:
    path = write(folder, content())
    (folder / "7.png").write_bytes((folder / "7.png").read_bytes()[:-20])
    assert refused(read_maps, path).startswith(f"{folder}/7.png: cannot be decoded; it is cut short")
    (folder / "7.png").unlink()
    assert refused(read_maps, path) == f"{folder}/7.png: no such file; check the path"


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-2, 12)
    | st.integers()
    | st.floats()
    | st.sampled_from(["", "7.png", "../7.png", "a\nb"])
    | st.text(max_size=3),
    lambda values: st.lists(values, max_size=2) | st.dictionaries(st.sampled_from(["id", "image_id"]), values),
    max_leaves=3,
)


def places(data: object, prefix: str = "") -> list[str]:
    """Paths of all values in a JSON, such as ``images.0.id``."""
    items = enumerate(data) if isinstance(data, list) else data.items() if isinstance(data, dict) else ()
    return [place for key, item in items for place in [f"{prefix}{key}", *places(item, f"{prefix}{key}.")]]


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(places(content())), value=VALUES | st.just(ABSENT))
def test_any_value_anywhere_is_read_or_refused(folder: Path, place: str, value: object) -> None:
    path = write(folder, changed(place, value))
    try:
        maps = read_maps(path)
    except PanopticBlendError as error:
        assert len(str(error).splitlines()) == 1
        assert str(error).startswith(("p.json: ", str(folder)))
    else:
        assert (maps[0].segment_ids == MAP).all()


MAPS = arrays(
    np.int32, array_shapes(min_dims=2, max_dims=2, max_side=7), elements=st.sampled_from([0, 1, 5, 9, 2**24 - 1])
)


@given(MAPS, st.permutations([1, 4, 5, 9, 2**24 - 1]), st.integers(0, 5))
def test_segments_are_measured_pixel_by_pixel(ids: Ids, known: list[int], count: int) -> None:
    segments = [Segment(i, 3, True, 0.5, 77, (9, 9, 9, 9)) for i in known[:count]]
    panoptic = PanopticMap.measured(ids, segments)
    index = panoptic.index()
    assert panoptic.segment_ids is ids and index.shape == ids.shape
    for place, (before, segment) in enumerate(zip(segments, panoptic.segments, strict=True), start=1):
        rows, columns = np.nonzero(ids == segment.id)
        box = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1) if rows.size else None
        assert segment == replace(before, area=rows.size, box=box)
        assert ((index == place) == (ids == segment.id)).all()
    assert ((index == 0) == ~np.isin(ids, known[:count])).all()


@given(MAPS)
def test_runs_encode_the_map(ids: Ids) -> None:
    runs = Runs.from_pixels(ids)
    assert (runs.paint(runs.values) == ids).all() and runs.paint(runs.values).dtype == ids.dtype
    rows = runs.starts // ids.shape[1]
    assert (rows == (runs.starts + runs.lengths - 1) // ids.shape[1]).all()  # no run crosses a row
    is_new_row = np.diff(rows) == 1
    assert (is_new_row | (np.diff(runs.values.astype(int)) != 0)).all()  # and no run could be longer


@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_a_map_without_pixels(shape: tuple[int, int]) -> None:
    [segment] = PanopticMap.measured(np.zeros(shape, np.int32), [Segment(5, 3, True, None, 9, (0, 0, 1, 1))]).segments
    assert (segment.area, segment.box) == (0, None)
    assert PanopticMap(np.zeros(shape, np.int32), []).index().shape == shape


def test_real_coco_agrees_with_its_own_areas_and_boxes(coco_sample: Path) -> None:
    path = coco_sample / "annotations" / "panoptic_val2017.json"
    data, raw = read_panoptic_json(path), json.loads(path.read_text())
    assert [len(image.annotation.segments) for image in data.images] == [18, 32]
    for image, annotation in zip(data.images, raw["annotations"], strict=True):
        panoptic = image.annotation.read(path, Folder(path.with_suffix("")), image.size)
        for segment, record in zip(panoptic.segments, annotation["segments_info"], strict=True):
            assert segment.box is not None
            x0, y0, x1, y1 = segment.box
            assert [x0, y0, x1 - x0, y1 - y0] == record["bbox"] and segment.area == record["area"]
            assert (segment.category, segment.is_crowd) == (record["category_id"], bool(record["iscrowd"]))
    assert [sum(s.is_crowd for s in image.annotation.segments) for image in data.images] == [1, 2]
