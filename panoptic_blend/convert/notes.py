"""Remarks about what a conversion left out or doubts, counted, each with the place of its first case."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator


class Notes:
    """Remarks such as ``shapes have no area``, each with its number of cases and, if known, the first of them."""

    def __init__(self) -> None:
        self._counts = Counter[str]()
        self._first: dict[str, str] = {}

    def __getitem__(self, remark: str) -> int:
        return self._counts[remark]

    def add(self, remark: str, first: str = "", count: int = 1) -> None:
        """Count ``count`` more cases of a remark; ``first`` says where the first of them is."""
        self._counts[remark] += count
        if first and count:
            self._first.setdefault(remark, first)

    def update(self, other: Notes) -> None:
        """Add all cases of other notes."""
        for remark, count in other._counts.items():
            self.add(remark, other._first.get(remark, ""), count)

    def total(self) -> int:
        """The number of cases of all remarks."""
        return self._counts.total()

    def lines(self) -> Iterator[str]:
        """A line of text for every remark that has a case."""
        for remark, count in self._counts.items():
            if count:
                yield f"{count} {remark}" + (f" (first: {self._first[remark]})" if remark in self._first else "")
