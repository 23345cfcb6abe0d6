"""Lists of class names on the command line, with commas in names."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from panoptic_blend.formats.name_lists import name_list, parse_names, suggestion

Refused = Callable[..., str]


@pytest.mark.parametrize(
    ("values", "names"),
    [
        (None, []),
        ([], []),
        ([""], []),
        (["sky,road", "grass"], ["sky", "road", "grass"]),
        ([" sky , road "], ["sky", "road"]),
        (['"road, route"'], ["road, route"]),
        (['sky, "road, route",5" pipe'], ["sky", "road, route", '5" pipe']),
        (['"a ""b"", c"'], ['a "b", c']),
    ],
)
def test_names_are_separated_by_commas_and_quoted_as_in_csv(values: list[str] | None, names: list[str]) -> None:
    assert parse_names(values, "--stuff") == names


@pytest.mark.parametrize("value", ['"road, route', '"a"b', "a\nb"])
def test_broken_lists_are_refused(refused: Refused, value: str) -> None:
    assert refused(parse_names, [value], "--stuff").startswith(f"--stuff {value}: ") if "\n" not in value else True


@given(st.lists(st.text("ab ,\"'\\;#", min_size=1).map(str.strip).filter(bool), min_size=1, max_size=20))
def test_a_list_that_is_shown_can_be_given(names: list[str]) -> None:
    assert parse_names([name_list(names)], "--stuff") == names


def test_suggestions_show_how_to_write_a_comma() -> None:
    assert suggestion("gras", ["sky", "grass"]) == "did you mean grass?"
    assert suggestion("x", ["sky", "grass"]) == "choose from sky,grass"
    expected = """choose from sky,"road, route" (names with a comma in quotes: '"road, route"')"""
    assert suggestion("x", ["sky", "road, route"]) == expected
