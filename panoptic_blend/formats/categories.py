"""Category ids of a data set, and the contiguous class indices of the model."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import overload

from panoptic_blend.structures import IGNORE, THING_CLASS, Category, PanopticBlendError, PanopticMap


class Categories(Sequence[Category]):
    """The classes of a data set, sorted by id.

    Things get the labels 0..C-1 and stuff gets the semantic classes 1..S, each in the order of their ids.
    """

    def __init__(self, records: Iterable[Category | Mapping[str, object]]) -> None:
        self._categories = sorted((Category.parse(record) for record in records), key=lambda c: c.id)
        if not self._categories:
            raise PanopticBlendError("no categories; list the classes of the data set")
        self.by_id = {category.id: category for category in self._categories}
        if len(self.by_id) < len(self._categories):
            twice = next(a.id for a, b in pairwise(self._categories) if a.id == b.id)
            raise PanopticBlendError(f"category id {twice} is used twice; ids are unique")
        self.thing_ids = [category.id for category in self._categories if category.is_thing]
        self.stuff_ids = [category.id for category in self._categories if not category.is_thing]
        self._labels = {category_id: label for label, category_id in enumerate(self.thing_ids)}
        self._classes = {category_id: index + 1 for index, category_id in enumerate(self.stuff_ids)}

    @overload
    def __getitem__(self, index: int) -> Category: ...
    @overload
    def __getitem__(self, index: slice) -> list[Category]: ...
    def __getitem__(self, index: int | slice) -> Category | list[Category]:
        return self._categories[index]

    def __len__(self) -> int:
        return len(self._categories)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Categories) and self._categories == other._categories

    def __hash__(self) -> int:
        return hash(tuple(self._categories))

    @property
    def places(self) -> dict[int, int]:
        """The place of each category id among the categories."""
        return {category.id: place for place, category in enumerate(self)}

    def require_learnable(self, source: str) -> None:
        """Raise an error that starts with ``source`` if no model can be trained on these categories; PQ takes any."""
        if not self.thing_ids:
            raise PanopticBlendError(f"{source}: no category is a thing; at least one needs `isthing: 1`")
        if max(len(self.thing_ids), len(self.stuff_ids)) >= IGNORE:
            raise PanopticBlendError(
                f"{source}: over {IGNORE - 1} thing or stuff classes, which 8-bit semantic maps cannot hold; merge some"
            )

    def first_mismatch(self, other: Categories) -> str | None:
        """Describe the first class index that has different names here and in ``other``; None if there is none.

        The `numbered_categories` of weights without names match any other categories.
        """
        if self == numbered_categories(len(self.thing_ids), len(self.stuff_ids)):
            return None
        for ours, theirs in ((self.thing_ids, other.thing_ids), (self.stuff_ids, other.stuff_ids)):
            for here, there in zip(ours, theirs, strict=False):
                if (name := self.by_id[here].name) != (found := other.by_id[there].name):
                    return f"{name!r} is {found!r} there"
        return None

    def label(self, category_id: int) -> int | None:
        """The thing label 0..C-1 of a category, None for stuff."""
        return self._labels.get(category_id)

    def semantic_class(self, category_id: int) -> int:
        """The semantic class of a category: 0 for things, 1..S for stuff."""
        return self._classes.get(category_id, THING_CLASS)

    def to_dataset(self, panoptic: PanopticMap) -> PanopticMap:
        """Replace the thing labels and semantic classes in a map of the model by category ids."""
        segments = [
            replace(s, category=self.thing_ids[s.category] if s.is_thing else self.stuff_ids[s.category - 1])
            for s in panoptic.segments
        ]
        return panoptic.with_segments(segments)

    def records(self) -> list[dict[str, object]]:
        """Format as the ``categories`` of a COCO panoptic JSON."""
        return [
            {"id": c.id, "name": c.name, "isthing": int(c.is_thing)} | ({"color": list(c.color)} if c.color else {})
            for c in self
        ]


def coco_categories() -> Categories:
    """The 80 thing and 53 stuff classes of COCO panoptic 2018."""
    return Categories(json.loads((Path(__file__).parent / "coco_categories.json").read_bytes()))


def default_categories(num_things: int, num_stuff: int | None) -> Categories:
    """Categories for weights without names: those of COCO if the numbers agree, else `numbered_categories`.

    ``num_stuff`` is None for weights of an instance model.
    """
    coco = coco_categories()
    is_coco = num_things == len(coco.thing_ids) and num_stuff in (None, len(coco.stuff_ids))
    return coco if is_coco else numbered_categories(num_things, num_stuff or 0)


def numbered_categories(num_things: int, num_stuff: int) -> Categories:
    """Categories named ``thing 1``, ``thing 2``, ... for weights without names; ids start at 1, things come first."""
    total = range(1, num_things + num_stuff + 1)
    return Categories(Category(i, f"{'thing' if i <= num_things else 'stuff'} {i}", i <= num_things) for i in total)
