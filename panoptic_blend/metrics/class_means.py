"""A figure of each class, and its means over all, thing and stuff classes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from panoptic_blend.metrics.panoptic_quality import GROUPS
from panoptic_blend.structures import Category


@dataclass(frozen=True)
class ClassMeans:
    """A figure ``per_class`` by category id, for the classes that have one, and its plain means ``groups``.

    The means are over ``counts`` classes, and NaN over none.
    """

    groups: dict[str, float]
    counts: dict[str, int]
    per_class: dict[int, float]

    @classmethod
    def of(cls, categories: Sequence[Category], per_class: Mapping[int, float]) -> ClassMeans:
        """Average the figures of classes; a class that is absent, or NaN, has none."""
        known = {id: figure for id, figure in per_class.items() if not math.isnan(figure)}
        groups, counts = {}, {}
        for group, members in group_members(categories):
            figures = [known[id] for id in members if id in known]
            groups[group] = math.fsum(figures) / len(figures) if figures else math.nan
            counts[group] = len(figures)
        return cls(groups, counts, known)


def group_members(categories: Sequence[Category]) -> Iterator[tuple[str, list[int]]]:
    """Yield each of `GROUPS` with the ids of its categories."""
    for group, kinds in zip(GROUPS, ((True, False), (True,), (False,)), strict=True):
        yield group, [category.id for category in categories if category.is_thing in kinds]
