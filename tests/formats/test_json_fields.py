"""Fields of JSON from outside: strict readers raise an error that names the field, lenient ones return None."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from panoptic_blend.formats.json_fields import (
    file_name,
    file_names,
    integer,
    records,
    require_file_names,
    require_integer,
    require_records,
    require_text,
)

Refused = Callable[..., str]


@pytest.mark.parametrize("content", [None, 5, [], {}, {"images": None}, {"images": {}}, {"images": "ab"}])
def test_content_without_the_list(content: object, refused: Refused) -> None:
    assert records(content, "images") == []
    expected = "p.json: no list of records `images`; this is not COCO JSON"
    assert refused(require_records, content, "images", "p.json", "COCO JSON") == expected


def test_items_that_are_not_records(refused: Refused) -> None:
    content = {"images": [{"id": 1}, 5, None, {}]}
    assert records(content, "images") == [{"id": 1}, {}]
    assert "no list of records `images`" in refused(require_records, content, "images", "p.json", "COCO JSON")
    assert require_records({"images": [{}]}, "images", "p.json", "COCO JSON") == [{}]


@pytest.mark.parametrize("value", [None, True, 1.5, float("inf"), "1", [1]])
def test_values_that_are_not_integers(value: object, refused: Refused) -> None:
    assert integer({"id": value}, "id") is None
    assert refused(require_integer, {"id": value}, "id", "p.json: images[0]") == (
        f"p.json: images[0]: `id` is {value!r}, not a whole number; correct it"
    )


def test_a_whole_number_with_decimals_is_required_alike() -> None:
    assert require_integer({"id": -3.0}, "id", "p.json") == -3


@pytest.mark.parametrize("value", [0, -1, 10**30])
def test_integers(value: int) -> None:
    assert integer({"id": value}, "id") == require_integer({"id": value}, "id", "p.json") == value


def test_text_is_not_blank(refused: Refused) -> None:
    assert require_text({"label": " cat "}, "label", "a.json") == " cat "
    for value in (None, 5, "", " \t"):
        message = refused(require_text, {"label": value}, "label", "a.json")
        assert message == f"a.json: `label` is {value!r}, not a name; correct it"


LEADS_OUT = "leads out of its folder; use plain relative names"


def test_file_names_stay_in_their_folder(refused: Refused) -> None:
    for name in ("a.png", "b/a.png"):
        assert file_name({"file_name": name}) == name
    records = [{"file_name": "b\\a.png"}, {"file_name": "C:\\x\\c.png"}, {"file_name": "/x/d/e.png"}]
    wheres = [f"p.json: image {number}" for number in (1, 2, 3)]
    assert require_file_names(records, wheres) == ["b/a.png", "c.png", "d/e.png"]
    for outside in ("../a.png", "", "a\nb.png", "/\0"):
        assert file_name({"file_name": outside}) is None
        message = refused(require_file_names, [{"file_name": "a.png"}, {"file_name": outside}], wheres[:2])
        fault = "has control characters; rename the file" if "\n" in outside or "\0" in outside else LEADS_OUT
        assert message == f"p.json: image 2: file name {outside!r} {fault}"
    assert file_name({}) is file_name({"file_name": 5}) is None
    assert "p.json: image 1: `file_name` is None, not a file name" in refused(require_file_names, [{}], wheres[:1])
    assert file_names([{}, {"file_name": 5}, {"file_name": "a\\b.png"}]) == ["", "", "a/b.png"]
