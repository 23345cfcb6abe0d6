"""Conditions on pictures."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from panoptic_blend.interchange.conditions import read_condition

NUMBERS = {"things": 3.0, "stuff": 0.0, "width": 640.0, "traffic light": 2.0, "and": 1.0}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("things", True),
        ("stuff", False),
        ("things > 2", True),
        ("things>3", False),
        ("3 = things", True),
        ("things != 3 or width >= 640", True),
        ("things == 3 and 'traffic light' < 2", False),
        ("not stuff and not (things < 3)", True),
        ("stuff or stuff and things or things", True),
        ("stuff and things or things", True),  # and binds tighter
        ("stuff and (things or things)", False),
        ('"and" = 1 and things = 3.0', True),
        ("not not things", True),
    ],
)
def test_conditions_compare_the_numbers_of_a_picture(text: str, expected: bool) -> None:
    assert read_condition(text, NUMBERS, "--where")(NUMBERS) is expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "--where: 'its end' is not expected there"),
        ("things >", "'its end' is not expected"),
        ("(things", "'its end' is not expected"),
        ("things)", "')' is not expected"),
        ("things 3", "'3' is not expected"),
        ("things > > 3", "'>' is not expected"),
        ("and things", "'and' is not expected"),
        ("thing > 3", "'thing' is neither a number of a picture nor a class; did you mean things?"),
        ("__import__('os')", "'__import__' is neither"),
        ("things; stuff", "cannot read '; stuff'"),
        ("things > 3a", "cannot read '3a'"),
        ("(" * 60 + "things" + ")" * 60, "is nested more than 50 deep"),
    ],
)
def test_what_is_no_condition_is_refused(text: str, problem: str, refused: Callable[..., str]) -> None:
    assert problem in refused(read_condition, text, NUMBERS, "--where")
