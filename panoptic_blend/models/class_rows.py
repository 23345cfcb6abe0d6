"""Which rows of a layer that classifies belong to which class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ClassRows:
    """The rows of a layer: first those of no class, such as the background, then those of every class in turn."""

    kind: Literal["things", "stuff"]
    shared: int = 0
    """Number of outputs before those of the first class."""
    each: int = 1
    """Number of rows for each output."""

    @property
    def first(self) -> slice:
        """The rows of no class."""
        return slice(0, self.shared * self.each)

    def of(self, index: int) -> slice:
        """The rows of a class, counted from 0 among those of its kind."""
        start = (self.shared + index) * self.each
        return slice(start, start + self.each)
