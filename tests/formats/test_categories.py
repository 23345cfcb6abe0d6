"""Category ids, thing labels and semantic classes."""

from __future__ import annotations

import json
import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.formats.categories import Categories, coco_categories, numbered_categories
from panoptic_blend.structures import Category, PanopticMap, Segment

Refused = Callable[..., str]

# Out of order, with gaps, things and stuff mixed.
RECORDS = [
    {"id": 40, "name": "grass", "isthing": 0, "color": [1, 2, 3]},
    {"id": 7, "name": "dog", "isthing": 1, "supercategory": "animal"},
    {"id": 0, "name": "cat", "isthing": True},
    {"id": 12, "name": "sky", "isthing": False, "color": None},
]


def test_labels_and_classes_follow_the_order_of_ids() -> None:
    categories = Categories(RECORDS)
    assert [category.id for category in categories] == [0, 7, 12, 40]
    assert categories.thing_ids == [0, 7] and categories.stuff_ids == [12, 40]
    assert [categories.label(i) for i in (0, 7, 12, 40)] == [0, 1, None, None]
    assert [categories.semantic_class(i) for i in (0, 7, 12, 40)] == [0, 0, 1, 2]
    assert len(categories) == 4 and categories[-1] == Category(40, "grass", False, (1, 2, 3))
    assert categories[:2] == [Category(0, "cat", True), Category(7, "dog", True)]
    assert categories.by_id[12].name == "sky"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"isthing": None}, "`isthing` is neither 0 nor 1; correct it"),
        ({"isthing": "1"}, "`isthing` is neither 0 nor 1; correct it"),
        ({"isthing": 2}, "`isthing` is neither 0 nor 1; correct it"),
        ({"isthing": [1]}, "`isthing` is neither 0 nor 1; correct it"),
        ({"isthing": math.nan}, "`isthing` is neither 0 nor 1; correct it"),
        ({"id": "3"}, "`id` is not a whole number from 0 to 2147483647; correct it"),
        ({"id": 3.5}, "`id` is not a whole number from 0 to 2147483647; correct it"),
        ({"id": True}, "`id` is not a whole number from 0 to 2147483647; correct it"),
        ({"id": None}, "`id` is not a whole number from 0 to 2147483647; correct it"),
        ({"id": -1}, "`id` is not a whole number from 0 to 2147483647; correct it"),
        ({"id": 2**31}, "`id` is not a whole number from 0 to 2147483647; correct it"),
        ({"id": math.nan}, "`id` is not a whole number from 0 to 2147483647; correct it"),
        ({"name": ["cat"]}, "`name` is not a string; correct it"),
    ],
)
def test_broken_records_are_named(refused: Refused, changes: dict[str, object], expected: str) -> None:
    record: dict[str, object] = {"id": 3, "name": "two\nlines", "isthing": 1, **changes}
    assert refused(Categories, [*RECORDS, record]) == f"category {record}: {expected}"


@pytest.mark.parametrize(
    "color", [[1, 2], [1, 2, 3, 4], [1, 2, "x"], [1, 2, 256], [0.5, 0, 1], "red", "#12345", {"r": 1}]
)
def test_an_unreadable_color_stops_nothing(color: object) -> None:
    assert Category.parse({"id": 3, "name": "cat", "isthing": 1, "color": color}) == Category(3, "cat", True)


def test_a_color_may_be_written_as_on_web_pages() -> None:
    assert Category.parse({"id": 3, "name": "cat", "isthing": 1, "color": "#69dB90"}).color == (105, 219, 144)


@pytest.mark.parametrize(("name", "expected"), [(5, "5"), (None, "3"), ("", "")])
def test_a_name_may_be_a_number_or_missing(name: object, expected: str) -> None:
    assert Category.parse({"id": 3, "name": name, "isthing": 1}).name == expected


@pytest.mark.parametrize("key", ["id", "isthing"])
def test_a_record_without_a_required_field_is_named(refused: Refused, key: str) -> None:
    record = {"id": 3, "name": "cat", "isthing": 1}
    del record[key]
    expected = f"category {record}: no `{key}`, which COCO panoptic requires; add it"
    assert refused(Categories, [record]) == expected


def test_a_record_without_a_name_is_called_by_its_id() -> None:
    assert Category.parse({"id": 2**31 - 1, "isthing": 0}) == Category(2**31 - 1, "2147483647", False)


def test_ids_are_unique(refused: Refused) -> None:
    record = {"id": 7, "name": "other", "isthing": 0}
    assert refused(Categories, [*RECORDS, record]) == "category id 7 is used twice; ids are unique"


def test_at_least_one_category_is_a_thing(refused: Refused) -> None:
    expected = "p.json: no category is a thing; at least one needs `isthing: 1`"
    assert refused(Categories(RECORDS[:1]).require_learnable, "p.json") == expected
    assert refused(Categories, []) == "no categories; list the classes of the data set"


def test_semantic_maps_hold_254_classes(refused: Refused) -> None:
    numbered_categories(254, 254).require_learnable("p.json")
    for counts in ((255, 0), (1, 255)):
        expected = "p.json: over 254 thing or stuff classes, which 8-bit semantic maps cannot hold; merge some"
        assert refused(numbered_categories(*counts).require_learnable, "p.json") == expected


def test_coco_has_80_thing_and_53_stuff_classes() -> None:
    categories = coco_categories()
    assert (len(categories.thing_ids), len(categories.stuff_ids), len(categories)) == (80, 53, 133)
    assert categories.by_id[1].name == "person" and categories.by_id[1].is_thing
    assert categories.label(1) == 0 and categories.label(90) == 79 and categories.by_id[90].name == "toothbrush"
    assert categories.semantic_class(92) == 1 and categories.semantic_class(200) == 53
    assert categories.by_id[200].name == "rug-merged"
    assert all(category.color is not None for category in categories)


def test_numbered_categories_count_from_1_with_things_first() -> None:
    assert list(numbered_categories(2, 1)) == [
        Category(1, "thing 1", True),
        Category(2, "thing 2", True),
        Category(3, "stuff 3", False),
    ]


CATEGORIES = st.builds(
    lambda ids, things, colors: Categories(
        Category(i, f"name {i}", i in things or i == min(ids), colors if i % 2 else None) for i in ids
    ),
    ids=st.sets(st.integers(0, 1000), min_size=1, max_size=20),
    things=st.sets(st.integers(0, 1000)),
    colors=st.tuples(*[st.integers(0, 255)] * 3),
)


@given(CATEGORIES)
def test_records_round_trip(categories: Categories) -> None:
    again = Categories(json.loads(json.dumps(categories.records())))
    assert again == categories and hash(again) == hash(categories)
    renamed = [{**record, "name": "other"} for record in categories.records()]
    assert Categories(renamed) != categories and categories != list(categories)


@given(CATEGORIES)
def test_ids_and_contiguous_indices_are_inverse(categories: Categories) -> None:
    segments = []
    for number, category in enumerate(categories, start=1):
        label, semantic = categories.label(category.id), categories.semantic_class(category.id)
        assert (label is None) == (not category.is_thing) and (semantic == 0) == category.is_thing
        index = semantic if label is None else label
        segments.append(Segment(number, index, category.is_thing, 0.5, 3, (0, 0, 1, 3)))
    ids = np.zeros((3, 4), np.int32)
    found = categories.to_dataset(PanopticMap(ids, segments))
    assert [segment.category for segment in found.segments] == [category.id for category in categories]
    assert found.segment_ids is ids
    assert [(s.id, s.is_thing, s.score, s.box) for s in found.segments] == [
        (s.id, s.is_thing, s.score, s.box) for s in segments
    ]


def test_the_first_class_of_another_name_is_described() -> None:
    """Names are compared in the order of ids; ids are not compared, and numbered categories match any others."""

    def made(*names: str, first: int = 1) -> Categories:
        return Categories(Category(first + i, name, name[0].isupper()) for i, name in enumerate(names))

    assert made("Cat", "Dog", "sky").first_mismatch(made("Cat", "Dog", "sky", first=7)) is None
    assert made("Cat", "Dog", "sky").first_mismatch(made("Dog", "Cat", "sky")) == "'Cat' is 'Dog' there"
    assert made("Cat", "sky").first_mismatch(made("Cat", "sea")) == "'sky' is 'sea' there"
    assert numbered_categories(1, 1).first_mismatch(made("Cat", "sky")) is None
