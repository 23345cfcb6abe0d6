"""The classes of a data set as the scripts of a page read them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from panoptic_blend.drawing.overlay import category_color
from panoptic_blend.structures import Category


def class_records(categories: Sequence[Category]) -> list[dict[str, Any]]:
    """Classes in the order of their ids, with their colors, which are the same on every page."""
    return [
        {"id": c.id, "name": c.name, "thing": c.is_thing, "color": list(c.color or category_color(c.id))}
        for c in categories
    ]
