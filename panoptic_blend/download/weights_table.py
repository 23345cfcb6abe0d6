"""List the known weights, as a table and as records for JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from rich.table import Column, Table

from panoptic_blend.download.known_weights import KnownWeights, known_weights
from panoptic_blend.download.weights_cache import cached_path
from panoptic_blend.terminal import right_aligned


def table() -> Table:
    """Names, figures, sizes and licenses of all known weights."""
    name, figure = Column("name", no_wrap=True), Column("figure", no_wrap=True)
    rows = right_aligned(name, figure, "license", "MB", "here", words=3)
    for known in known_weights().values():
        size = "-" if known.megabytes is None else format(known.megabytes, ".0f")
        is_cached = "yes" if cached_path(known).is_file() else "-"
        rows.add_row(known.name, main_figure(known), known.license.name, size, is_cached)
    return rows


def main_figure(known: KnownWeights) -> str:
    """The figure by which known weights are chosen, such as ``PQ 42.5``; a dash if there is none."""
    name = next((name for name in ("PQ", "mask AP", "box AP", "top-1") if name in known.figures), None)
    return "-" if name is None else f"{name} {known.figures[name]:.1f}"


def lines() -> Iterator[str]:
    """The remarks below the table."""
    everything = known_weights().values()
    yield "PQ and AP in percent on COCO val2017, top-1 in percent on ImageNet, as their publishers state them"
    for license in {known.license.id: known.license for known in everything if known.license.terms}.values():
        yield str(license)
    first = next(iter(everything))
    yield f"a NAME stands wherever weights are taken: panoptic-blend predict {first.name} photo.jpg"


def record() -> list[dict[str, Any]]:
    """The known weights as records for JSON."""
    return [
        {
            "name": known.name,
            "publisher": known.publisher,
            "address": known.address,
            "megabytes": known.megabytes,
            "sha256": known.sha256 or None,
            "md5": known.md5 or None,
            "license": known.license.name,
            "terms": known.license.terms or None,
            "is_commercial": known.license.is_commercial,
            "config": known.config,
            "figures": dict(known.figures),
            "source": known.source,
            "cached": str(path) if (path := cached_path(known)).is_file() else None,
        }
        for known in known_weights().values()
    ]
