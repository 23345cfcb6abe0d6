"""Tables as text and as HTML, for consoles and notebooks; the first row is the head."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Rows = Sequence[Sequence[str]]


def text_table(rows: Rows) -> str:
    """Lines with aligned columns: the first one to the left, the others, of numbers, to the right."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ([row[0].ljust(widths[0]), *map(str.rjust, row[1:], (w + 2 for w in widths[1:]))] for row in rows)
    return "\n".join("".join(line).rstrip() for line in lines)


def html_table(rows: Rows) -> str:
    """A table in which all texts are escaped."""
    head, *body = ("".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) for tag, row in _tagged(rows))
    lines = "".join(f"<tr>{row}</tr>" for row in body)
    return f"<table><thead><tr>{head}</tr></thead><tbody>{lines}</tbody></table>"


def _tagged(rows: Rows) -> list[tuple[str, Sequence[str]]]:
    return [("td" if number else "th", row) for number, row in enumerate(rows)]
