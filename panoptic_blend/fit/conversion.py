"""Convert a folder in another format into a data set in COCO's layout, with links to its pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from panoptic_blend.convert.recognition import Source
from panoptic_blend.convert.summary import Summary
from panoptic_blend.convert.writing import ConversionOptions, write
from panoptic_blend.fit.kept import digest_of, kept
from panoptic_blend.fit.stuff_hints import stuff_hint
from panoptic_blend.formats.categories import Categories
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.listing import list_files
from panoptic_blend.terminal import progress_line

BACKGROUND = "background"
"""The stuff class of unlabeled pixels where all labels are things."""
OVERLAPPING = 0.02
"""Where more of the pixels of things than this are hidden by others, a model learns the things with their overlaps."""
STACKED = 0.2
"""Where more than this are hidden, a panoptic map is no truth: a model of instances alone is fitted."""
_BACKGROUND_REMARK = "all labels are things, so pixels without one are the stuff class {!r}"


def convert(source: Source, folder: Path, splits: Sequence[str], output: Path, stuff: Sequence[str]) -> dict[str, Any]:
    """Write ``splits`` of a source into ``output``, unless what is there was made of the same files.

    Returns:
        ``hidden``, the share of the pixels of things that other things hide, and ``remarks``, lines about the data.
    """
    key = digest_of(list_files(folder, recursive=True).paths, source.kind, sorted(splits), sorted(stuff))
    result: dict[str, Any] = kept(output, key, lambda root: _convert(source, splits, root))
    return result


def _convert(source: Source, splits: Sequence[str], root: Path) -> dict[str, Any]:
    remarks, claimed, shown = list[str](), 0, 0
    for split in splits:
        labeled = source.splits[split]()
        rest = None if labeled.categories.stuff_ids else _free_name(labeled.categories)
        options = ConversionOptions(root, split, rest=rest, link=True, instances=True)
        with progress_line(f"converting {source.kind}") as progress:
            summary = write(labeled, options, progress)
        claimed += summary.claimed
        shown += sum(summary.pixels[number] for number in labeled.categories.thing_ids)
        where = f"{split}: " if len(splits) > 1 else ""
        remarks += [f"{where}{line}" for line in _doubts(summary)]
        if split == splits[0]:
            hint = stuff_hint(read_json(root / "annotations" / f"panoptic_{split}.json"))
            remarks += [*([hint] if hint else []), *([_BACKGROUND_REMARK.format(rest)] if rest else [])]
    return {"hidden": 1 - shown / claimed if claimed else 0.0, "remarks": remarks}


def _free_name(categories: Categories) -> str:
    names = {category.name for category in categories}
    return next(name for name in (BACKGROUND, f"{BACKGROUND} (unlabeled)", "unlabeled pixels") if name not in names)


def _doubts(summary: Summary) -> Iterator[str]:
    counts = {
        "pictures have no label and count as background; remove those that nobody has looked at": summary.unmarked,
        "pictures have no label and are left out": summary.unlabeled,
        "segments are completely hidden by others and are left out": summary.hidden,
        "shapes cover no pixel of their picture and are left out": summary.empty,
    }
    yield from (f"{count} {message}" for message, count in counts.items() if count)
    yield from summary.notes.lines()
