"""What a command may add to PQ: tables, remarks, JSON and files under one name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

from rich.table import Table


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

    def write(self, folder: Path) -> None:
        """Write all figures as CSV files into the folder of details."""
