"""Write tables as LaTeX, Markdown and CSV, from the cells that a terminal shows."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Literal

from rich.table import Column, Table
from rich.text import Text

TableFormat = Literal["text", "latex", "markdown", "csv"]
"""The forms in which commands print tables."""

NOTHING = "-"
"""The cell of a figure over nothing."""


class Figures(Text):
    """A cell of words around numbers, such as ``61.6 to 64.7``, for which CSV has a column for each number.

    Args:
        text: the cell in all other formats.
        numbers: each number, by the word that CSV adds to the header of its column.
    """

    def __init__(self, text: str, numbers: Mapping[str, str]) -> None:
        super().__init__(text)
        self.numbers = numbers


def latex(table: Table) -> str:
    """A ``tabular`` with the rules of booktabs below its title as a comment; its caption is the paper's to write."""
    head, *body = (rf"{' & '.join(row)} \\" for row in _rows(table, _latex_cell))
    columns = "".join("r" if _is_number(column) else "l" for column in table.columns)
    title = [f"% {_plain(table.title)}"] if table.title else []
    start = [rf"\begin{{tabular}}{{{columns}}}", r"\toprule", head, r"\midrule"]
    return "\n".join([*title, *start, *body, r"\bottomrule", r"\end{tabular}", ""])


def markdown(table: Table) -> str:
    """A table of GitHub's Markdown, below its title in bold."""
    head, *body = _rows(table, _markdown_cell)
    rule = ["---:" if _is_number(column) else "---" for column in table.columns]
    title = [f"**{_markdown_cell(_plain(table.title))}**", ""] if table.title else []
    return "\n".join([*title, *(f"| {' | '.join(row)} |" for row in (head, rule, *body)), ""])


def comma_separated(table: Table) -> str:
    """CSV as RFC 4180 has it, below a line with the title: plain numbers, and empty cells for figures over nothing."""
    file = io.StringIO()
    writer = csv.writer(file)
    if table.title:
        writer.writerow([_plain(table.title)])
    columns = [part for column in table.columns for part in _numeric_columns(column)]
    writer.writerows(zip(*columns, strict=True))
    return file.getvalue()


def _rows(table: Table, write: Callable[[str, bool], str]) -> Iterator[tuple[str, ...]]:
    """The header and the rows; ``write`` takes a text and whether it is a number."""
    columns = (
        [write(_plain(cell), _is_number(column)) for cell in (column.header, *column.cells)] for column in table.columns
    )
    return zip(*columns, strict=True)


def _numeric_columns(column: Column) -> list[list[str]]:
    """The header and the cells of a column, or of a column for each number of its `Figures`."""
    header, cells = _plain(column.header), list(column.cells)
    words = next((list(cell.numbers) for cell in cells if isinstance(cell, Figures)), None)
    if words is None:
        nothing = NOTHING if _is_number(column) else None
        return [[header, *("" if text == nothing else text for text in map(_plain, cells))]]
    return [
        [f"{header} {word}".strip(), *(cell.numbers[word] if isinstance(cell, Figures) else "" for cell in cells)]
        for word in words
    ]


def _plain(cell: object) -> str:
    """The text of a cell without the markup of rich, in one line."""
    text = cell if isinstance(cell, Text) else Text.from_markup(str(cell), emoji=False)
    return " ".join(text.plain.split())


def _is_number(column: Column) -> bool:
    return column.justify == "right"


def _latex_cell(text: str, is_number: bool = False) -> str:
    escaped = re.sub(r"[\\{}$&#%_^~<>|\[]", lambda found: _LATEX[found[0]], text)
    if not is_number:
        return escaped
    return "--" if escaped == NOTHING else re.sub(r"(?<!\w)-(?=\d)", "$-$", escaped)


_LATEX = {
    **{special: f"\\{special}" for special in "{}$&#%_"},
    "\\": r"\textbackslash{}",
    "^": r"\textasciicircum{}",
    "~": r"\textasciitilde{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "[": "{[}",  # at the start of a row it would be an argument of the line break before it
}


def _markdown_cell(text: str, is_number: bool = False) -> str:
    return text if is_number else re.sub(r"[\\`*_\[\]<>|~$&]", r"\\\g<0>", text)
