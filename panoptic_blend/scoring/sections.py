"""What a command may add to PQ: tables, remarks, JSON and files under one name."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from rich.markup import escape
from rich.table import Table

from panoptic_blend.files import printable
from panoptic_blend.scoring.csv_tables import Row


class Section(Protocol):
    """Figures beside those of `details.Findings`; ``key`` is their name in the JSON."""

    @property
    def key(self) -> str:
        """The key in the JSON."""

    def tables(self) -> Iterable[Table]:
        """The tables that are printed."""

    def remarks(self) -> Iterable[str]:
        """Lines that explain the tables."""

    def summary(self) -> Any:
        """All figures as JSON values, which may have NaN."""

    def files(self) -> Iterable[File]:
        """The CSV files of all figures, for the folder of details."""


@dataclass(frozen=True)
class File:
    """A CSV file: its name, header and rows."""

    name: str
    header: Row
    rows: Iterable[Row]


@dataclass(frozen=True)
class OfEachSet:
    """The same section of several result sets, by their names; in files, a first column ``results`` has the name."""

    sections: Mapping[str, Section]

    @property
    def key(self) -> str:
        """The key of all of them."""
        return next(iter(self.sections.values())).key

    def tables(self) -> Iterable[Table]:
        """The tables of each set, with its name in the title."""
        for name, section in self.sections.items():
            for table in section.tables():
                table.title = f"{table.title}: {escape(printable(name))}"
                yield table

    def remarks(self) -> Iterable[str]:
        """The remarks of each set, which begin with its name."""
        return (f"{printable(name)}: {line}" for name, section in self.sections.items() for line in section.remarks())

    def summary(self) -> Any:
        """The figures of the first set; `summaries` adds the others."""
        return next(iter(self.sections.values())).summary()

    def files(self) -> Iterable[File]:
        """The files of a section, with the rows of all sets."""
        for parts in zip(*(section.files() for section in self.sections.values()), strict=True):
            rows = [(name, *row) for name, part in zip(self.sections, parts, strict=True) for row in part.rows]
            yield File(parts[0].name, ("results", *parts[0].header), rows)


def summaries(sections: Iterable[Section]) -> dict[str, Any]:
    """The figures of all sections by their keys; those of sets beside the first by name, under ``other_results``."""
    found, others = dict[str, Any](), dict[str, dict[str, Any]]()
    for section in sections:
        found[section.key] = section.summary()
        for name, other in [*section.sections.items()][1:] if isinstance(section, OfEachSet) else ():
            others.setdefault(name, {})[other.key] = other.summary()
    return found | ({"other_results": others} if others else {})
