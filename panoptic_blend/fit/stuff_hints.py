"""Notice labels that are taken for things and look like stuff, such as sky or road."""

from __future__ import annotations

import re
import shlex
from collections import Counter, defaultdict
from collections.abc import Mapping
from typing import Any

from panoptic_blend.files import printable
from panoptic_blend.formats.name_lists import name_list

_WORDS = frozenset(
    {
        *("sky", "cloud", "clouds", "water", "sea", "river", "lake", "sand", "snow", "mountain"),
        *("road", "street", "pavement", "sidewalk", "ground", "dirt", "soil", "grass", "lawn", "field", "forest"),
        *("floor", "ceiling", "wall", "vegetation", "background"),
    }
)
_LARGE = 0.2
"""The mean share of a picture from which on a single segment looks like stuff."""
_ENOUGH = 3
"""The number of pictures from which on sizes say something."""


def stuff_hint(content: Mapping[str, Any]) -> str | None:
    """A line about things of a COCO panoptic JSON that look like stuff: by name, or as one large segment a picture."""
    sizes = {image["id"]: image["width"] * image["height"] for image in content["images"]}
    segments, shares = Counter[int](), defaultdict[int, dict[Any, float]](dict)
    for annotation in content["annotations"]:
        picture = annotation["image_id"]
        for segment in annotation["segments_info"]:
            covered = shares[segment["category_id"]]
            covered[picture] = covered.get(picture, 0) + segment["area"] / sizes[picture]
            segments[segment["category_id"]] += 1
    found: dict[str, float] = {}
    for category in content["categories"]:
        covered, name = shares[category["id"]], str(category["name"])
        if category["isthing"] and covered:
            share = sum(covered.values()) / len(covered)
            is_large = segments[category["id"]] == len(covered) >= _ENOUGH and share > _LARGE
            if is_large or _WORDS & set(re.split(r"[\W_]+", name.lower())):
                found[name] = share
    if not found:
        return None
    largest = max(found, key=lambda name: found[name])
    return printable(
        f"labels that are taken for things look like stuff, which is not counted ({len(found)}): {largest} covers "
        f"{100 * found[largest]:.0f} % of the pictures that show it; if so, add --stuff {shlex.quote(name_list(found))}"
    )
