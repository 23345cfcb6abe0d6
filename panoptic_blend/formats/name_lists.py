"""Lists of class names as text: separated by commas, and quoted as in CSV where a name has a comma itself."""

from __future__ import annotations

import csv
import difflib
import io
from collections.abc import Iterable, Sequence

from panoptic_blend.structures import PanopticBlendError

LIMIT = 20
"""Longer lists are cut off in messages."""


def parse_names(values: Iterable[str] | None, option: str) -> list[str]:
    """The names in the values of an option, such as ``sky,"road, route"``.

    Raises:
        PanopticBlendError: a quotation mark is not closed.
    """
    names = []
    for value in values or ():
        try:
            [row] = csv.reader([value], skipinitialspace=True, strict=True)
        except (csv.Error, ValueError):
            raise PanopticBlendError(
                f"{option} {value}: is not a list of names; separate names by commas, and quote those with a comma, "
                "as in 'sky,\"road, route\"'"
            ) from None
        names += [name.strip() for name in row if name.strip()]
    return names


def suggestion(name: str, known: Sequence[str]) -> str:
    """What to do about a name that is not ``known``: the closest one, or a choice of all."""
    close = difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {name_list(close)}?" if close else f"choose from {name_list(known)}"
    commas = [other for other in known if "," in other]
    return f"{hint} (names with a comma in quotes: '{name_list(commas[:1])}')" if commas else hint


def name_list(names: Iterable[str]) -> str:
    """Names as `parse_names` reads them; only the first of a long list."""
    return all_names(list(names)[:LIMIT])


def all_names(names: Iterable[str]) -> str:
    """Names as `parse_names` reads them."""
    text = io.StringIO()
    csv.writer(text, lineterminator="").writerow(names)
    return text.getvalue()
