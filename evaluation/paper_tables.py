"""The tables of the BlendMask paper with what is stated of them, from ``paper_tables.yaml``."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

_FILE = Path(__file__).with_name("paper_tables.yaml")

Stated = Mapping[str, float | str]
"""Figures by column, in percent, and ``time`` in ms; a text such as ``97+`` stands as it is."""


@dataclass(frozen=True)
class PaperRow:
    """A row of a table: what it is, the config that stands for it, and its figures by source."""

    name: str
    cells: tuple[str, ...]
    config: str | None
    stated: Mapping[str, Stated]


@dataclass(frozen=True)
class PaperTable:
    """A table: its columns of words and of figures, its rows, and lines about them."""

    title: str
    words: tuple[str, ...]
    figures: tuple[str, ...]
    notes: tuple[str, ...]
    rows: Mapping[str, PaperRow]


@cache
def paper_tables() -> dict[str, PaperTable]:
    """All tables by number."""
    return {
        number: PaperTable(
            title=table["title"],
            words=tuple(table["words"]),
            figures=tuple(table["figures"]),
            notes=tuple(table.get("notes", ())),
            rows={
                row["name"]: PaperRow(row["name"], tuple(row["cells"]), row.get("config"), row.get("stated", {}))
                for row in table["rows"]
            },
        )
        for number, table in _content()["tables"].items()
    }


def sources() -> dict[str, str]:
    """What each source of figures is, by its short name."""
    return dict(_content()["sources"])


@cache
def _content() -> dict[str, Any]:
    return dict(yaml.safe_load(_FILE.read_text(encoding="utf-8")))
