"""Columns of annotations: they preserve every value and take little memory."""

from __future__ import annotations

import copy
import json
import math
import pickle
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from panoptic_blend.formats.coco_panoptic import Image, PanopticJson, read_annotations, read_panoptic_json
from panoptic_blend.formats.columns import InvalidSegments, SegmentColumns, SizeColumn, StringColumn, integer_column

Refused = Callable[..., str]

CATEGORIES = [{"id": 5, "name": "grass", "isthing": 0}, {"id": 3, "name": "cat", "isthing": 1}]


def content(images: int = 3, segments: int = 2) -> dict[str, Any]:
    """Images 1, 2, ..., the annotations in reverse order; image i has segments i, 2i, ..., every third a crowd."""
    ids = range(1, images + 1)
    return {
        "images": [{"id": i, "file_name": f"{i}.jpg", "height": i, "width": 2 * i, "url": f"/{i}"} for i in ids],
        "annotations": [
            {
                "image_id": i,
                "file_name": f"{i}.png",
                "segments_info": [
                    {"id": i * j, "category_id": 3 if j % 2 else 5, "iscrowd": int(j % 3 == 0), "bbox": [1, 2, 3, 4]}
                    for j in range(1, segments + 1)
                ],
            }
            for i in reversed(ids)
        ],
        "categories": CATEGORIES,
    }


def write(folder: Path, data: object) -> Path:
    path = folder / "p.json"
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def data(tmp_path: Path) -> PanopticJson:
    return read_panoptic_json(write(tmp_path, content(5, segments=4)))


@given(st.lists(st.text(st.characters(exclude_categories=()), max_size=4)))
def test_strings_are_preserved(texts: list[str]) -> None:
    column = StringColumn(texts)
    assert list(column) == texts and len(column) == len(texts)
    assert list(pickle.loads(pickle.dumps(column))) == texts


@given(st.lists(st.integers() | st.integers(2**63 - 2, 2**63 + 1)))
def test_integers_of_any_size_are_preserved(values: list[int]) -> None:
    assert list(integer_column(values)) == values


@given(st.lists(st.tuples(st.integers(1, 2**64), st.integers(1, 2**64)), min_size=1))
def test_sizes_of_any_magnitude_are_preserved(sizes: list[tuple[int, int]]) -> None:
    column = SizeColumn(sizes)
    assert column == sizes == list(column) and len(column) == len(sizes)
    assert pickle.loads(pickle.dumps(column)) == column != [*sizes, (1, 1)]


def test_images_are_a_sequence(data: PanopticJson) -> None:
    images = data.images
    assert len(images) == 5 and [image.id for image in images] == [1, 2, 3, 4, 5]
    assert images[1] == images[1] == images[-4] and images[1] is not images[1]
    assert isinstance(images[1], Image) and images[1].size == (2, 4)
    assert images[:2] == [images[0], images[1]] and images[::-2] == [images[4], images[2], images[0]]
    assert images[:None] == list(images) and images[5:] == []
    assert images.sizes == [image.size for image in images] == [(1, 2), (2, 4), (3, 6), (4, 8), (5, 10)]
    for index in (5, -6):
        with pytest.raises(IndexError):
            images[index]


def test_every_image_has_its_own_segments(data: PanopticJson) -> None:
    for image in data.images:
        annotation = image.annotation
        assert (annotation.image_id, annotation.png, image.file_name) == (
            image.id,
            f"{image.id}.png",
            f"{image.id}.jpg",
        )
        found = [(s.id, s.category, s.is_thing, s.is_crowd) for s in annotation.segments]
        i = image.id
        assert found == [
            (i, 3, True, False),
            (2 * i, 5, False, False),
            (3 * i, 3, True, True),
            (4 * i, 5, False, False),
        ]


def test_annotations_of_results_are_in_the_order_of_their_file(data: PanopticJson) -> None:
    annotations = read_annotations(data.path, data.categories)
    assert list(annotations.image_ids) == [5, 4, 3, 2, 1]
    assert list(annotations) == [image.annotation for image in data.images][::-1]


def test_data_sets_can_be_pickled(data: PanopticJson) -> None:
    assert list(pickle.loads(pickle.dumps(data)).images) == list(data.images)


def test_no_object_is_kept_for_a_segment_or_an_image(tmp_path: Path) -> None:
    """A segment takes 9 bytes; an image with its annotation takes 8 columns of 8 bytes and its names."""

    def kept_by(path: Path, images: int) -> int:
        tracemalloc.start()
        data = read_panoptic_json(path)
        size = tracemalloc.get_traced_memory()[0]
        tracemalloc.stop()
        assert len(data.images) == images
        return size

    kept = []
    for images in (100, 500):
        path = write(tmp_path, content(images, segments=30))
        # pathlib interns names, and once in a while Python's table of interned strings grows by megabytes
        kept.append(min(kept_by(path, images) for _ in range(2)))
    columns, names = 8 * 8, 2 * (len("500.jpg") + 8)
    assert 400 * 30 * 9 < kept[1] - kept[0] < 1.5 * 400 * (30 * 9 + columns + names)


def test_reading_never_holds_all_segments_as_objects(tmp_path: Path) -> None:
    path = write(tmp_path, content(200, segments=100))
    tracemalloc.start()
    json.loads(path.read_bytes())
    whole = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    read_panoptic_json(path)
    assert tracemalloc.get_traced_memory()[1] < whole / 2
    tracemalloc.stop()


def shuffled(value: Any, draw: st.DrawFn) -> Any:
    """The same JSON with its keys in another order and with unknown keys."""
    if isinstance(value, list):
        return [shuffled(item, draw) for item in value]
    if not isinstance(value, dict):
        return value
    unknown = {f"x{key}": draw(UNKNOWN) for key in draw(st.lists(st.integers(0, 3), max_size=2))}
    items = [(key, shuffled(item, draw)) for key, item in value.items()]
    return dict(draw(st.permutations([*items, *unknown.items()])))


UNKNOWN: st.SearchStrategy[object] = st.sampled_from(
    [
        None,
        math.nan,
        -math.inf,
        "segments_info",
        '\ud800 " \\ \u2028',
        {"segments_info": [{"id": "no number"}]},
        {"segments_info": [{"id": 1, "category_id": 10**30}]},
        [[[{"images": [], "segments_info": 5}]]],
        {"annotations": [{"segments_info": []}]},
    ]
)
SHUFFLED = st.composite(lambda draw: shuffled(content(), draw))()
FORMS: list[dict[str, Any]] = [{}, {"indent": "\t"}, {"separators": (",", ":")}, {"ensure_ascii": False}]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(SHUFFLED, st.sampled_from(FORMS), st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]))
def test_any_legal_json_is_read(tmp_path: Path, data: Any, form: dict[str, Any], encoding: str) -> None:
    expected = read_panoptic_json(write(tmp_path, content()))
    other = tmp_path / "other.json"
    other.write_bytes(json.dumps(data, **form).encode(encoding, "surrogatepass"))
    read = read_panoptic_json(other)
    assert list(read.images) == list(expected.images) and read.categories == expected.categories


def test_segments_info_may_be_an_unknown_key_elsewhere(tmp_path: Path) -> None:
    data = content()
    expected = list(read_panoptic_json(write(tmp_path, data)).images)
    for record in (data, data["images"][0], data["categories"][0], data["annotations"][0]["segments_info"][0]):
        record["segments_info"] = [{"id": 0}]
    assert list(read_panoptic_json(write(tmp_path, data)).images) == expected


def test_the_last_of_duplicate_keys_counts(tmp_path: Path) -> None:
    expected = list(read_panoptic_json(write(tmp_path, content())).images)
    text = json.dumps(content())
    text = text.replace('"segments_info": [', '"segments_info": [{"id": 1.5}], "segments_info": [')
    text = text.replace('"annotations": [', '"annotations": [{"segments_info": [{"id": 9}]}], "annotations": [')
    (tmp_path / "p.json").write_text(text)
    assert list(read_panoptic_json(tmp_path / "p.json").images) == expected


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_errors_of_the_json_parser_are_reported(tmp_path: Path, refused: Refused, data: st.DataObject) -> None:
    text = json.dumps(content(2, segments=1))
    start = data.draw(st.integers(0, len(text) - 1))
    stop = data.draw(st.integers(start, len(text)))
    broken = text[:start] + data.draw(st.sampled_from(["", ",", "]", "}", "[", '"', "{", "x", "-"])) + text[stop:]
    (tmp_path / "p.json").write_text(broken)
    try:
        json.loads(broken)
    except ValueError as error:
        expected = f"{tmp_path}/p.json: not valid JSON ({error}); is the file complete?"
        assert refused(read_panoptic_json, tmp_path / "p.json") == expected


def test_json_nested_too_deeply_is_refused(tmp_path: Path, refused: Refused) -> None:
    deep = json.dumps(content()).replace('"bbox": [1', '"bbox": [' + "[" * 100_000, 1)
    (tmp_path / "p.json").write_text(deep)
    message = refused(read_panoptic_json, tmp_path / "p.json")
    assert message.startswith(f"{tmp_path}/p.json: not valid JSON (maximum recursion depth exceeded")


def test_the_first_of_several_invalid_annotations_is_named(tmp_path: Path, refused: Refused) -> None:
    unknown = "p.json: image 3: segment 3 has category 4, which is not in `categories` (3 to 5); add it"
    crowd = "p.json: image 2: segment 2: `iscrowd` is 7, not 0 or 1; correct it"
    data = content()
    data["annotations"][1]["segments_info"][0]["iscrowd"] = 7
    assert refused(read_panoptic_json, write(tmp_path, data)) == crowd
    both = copy.deepcopy(data)
    both["annotations"][0]["segments_info"][0]["category_id"] = 4
    assert refused(read_panoptic_json, write(tmp_path, both)) == unknown
    data["annotations"][2]["segments_info"][0]["category_id"] = 4
    assert refused(read_panoptic_json, write(tmp_path, data)) == crowd


@pytest.mark.parametrize("category", [2**31, 2**63, -(10**30)])
def test_a_category_of_any_size_is_named(tmp_path: Path, refused: Refused, category: int) -> None:
    data = content()
    data["annotations"][0]["segments_info"][1]["category_id"] = category
    expected = f"p.json: image 3: segment 6 has category {category}, which is not in `categories` (3 to 5); add it"
    assert refused(read_panoptic_json, write(tmp_path, data)) == expected


def test_only_lists_of_records_are_packed() -> None:
    columns = SegmentColumns()
    others: list[Any] = [None, {}, "abc", 5, [5], [{}, None]]
    for value in others:
        assert columns.pack({"segments_info": value}) == {"segments_info": value}
    assert columns.pack({"id": 1}) == {"id": 1}
    assert columns.pack({"segments_info": []}) == {"segments_info": range(0, 0)}
    infos = [{"id": 8, "category_id": 3}, {"id": 9, "category_id": 3, "iscrowd": True}]
    assert columns.pack({"segments_info": infos}) == {"segments_info": range(0, 2)}
    assert list(columns.rows(0, 2)) == [(8, 3, False), (9, 3, True)]


def test_records_of_one_segment_are_merged_if_they_agree() -> None:
    columns = SegmentColumns(areas=True)
    first = {"id": 8, "category_id": 3, "area": 4}
    infos = [first, {"id": 9, "category_id": 3, "area": 5}, {**first, "area": 6}]
    assert columns.pack({"segments_info": infos}) == {"segments_info": range(0, 2)}
    assert list(columns.rows(0, 2)) == [(8, 3, False), (9, 3, False)]
    assert columns.areas is not None and columns.areas.tolist() == [6, 5]  # the last area counts, as in COCO's script
    message = "segment 8 is listed twice, with different `category_id` or `iscrowd`; give each segment an id of its own"
    for other in ({"category_id": 4}, {"iscrowd": 1}):
        found = columns.pack({"segments_info": [first, {**first, **other}]})
        assert found == {"segments_info": InvalidSegments(message)}


def test_only_results_may_list_0() -> None:
    infos = [{"id": 0, "category_id": 3}]
    assert SegmentColumns(results=True).pack({"segments_info": infos}) == {"segments_info": range(0, 1)}
    invalid = InvalidSegments("segment id 0 is not between 1 and 16777215; 0 is void")
    assert SegmentColumns().pack({"segments_info": infos}) == {"segments_info": invalid}
