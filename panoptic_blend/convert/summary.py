"""Count what a conversion wrote and left out, and describe it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from panoptic_blend.convert.notes import Notes
from panoptic_blend.convert.painting import Labels, Painted
from panoptic_blend.files import printable
from panoptic_blend.formats.categories import Categories
from panoptic_blend.metrics.class_pixels import MUCH_VOID


@dataclass
class Summary:
    """Counts over all pictures of a conversion.

    ``images`` are by split; ``segments``, ``pixels`` and ``crowds`` by category id. ``claimed`` pixels
    are those of all instances, those that others hide included, if instances are written. ``unmarked`` pictures have no
    label, but a segment of the class for unlabeled pixels.
    """

    categories: Categories
    images: dict[str, int] = field(default_factory=dict)
    segments: Counter[int] = field(default_factory=Counter)
    pixels: Counter[int] = field(default_factory=Counter)
    crowds: Counter[int] = field(default_factory=Counter)
    notes: Notes = field(default_factory=Notes)
    read: int = 0
    claimed: int = 0
    unmarked: int = 0
    unlabeled: int = 0
    contested: int = 0
    hidden: int = 0
    empty: int = 0
    void: int = 0
    total: int = 0

    def count(self, labels: Labels, painted: Painted) -> None:
        """Add the counts of one picture."""
        self.read += 1
        self.unlabeled += not painted.panoptic.segments
        self.unmarked += bool(painted.panoptic.segments) and not labels.regions
        self.notes.update(labels.notes)
        self.contested += painted.contested
        self.hidden += painted.hidden
        self.empty += painted.empty
        for segment in painted.panoptic.segments:
            self.segments[segment.category] += 1
            self.pixels[segment.category] += segment.area
            self.crowds[segment.category] += segment.is_crowd
        self.total += painted.panoptic.segment_ids.size
        self.void += painted.panoptic.segment_ids.size - sum(s.area for s in painted.panoptic.segments)


def lines(summary: Summary, *, offers_rest: bool = True) -> list[str]:
    """The summary as lines of text: splits, classes in the order of their ids, then conflicts and omissions.

    If much is void, ``--rest`` is suggested, unless the command does not offer it.
    """
    width = max(len(printable(category.name)) for category in summary.categories)
    result = [f"{split}: {count} pictures" for split, count in summary.images.items()]
    for category in summary.categories:
        kind = "thing" if category.is_thing else "stuff"
        share = 100 * summary.pixels[category.id] / max(summary.total, 1)
        count = summary.segments[category.id]
        result.append(f"  {printable(category.name):{width}}  {kind}  {count:>7} segments {share:5.1f}% of the pixels")
    hint = "; if these are known to be background, add --rest background"
    is_hinted = offers_rest and summary.void > MUCH_VOID * summary.total
    result.append(f"void: {100 * summary.void / max(summary.total, 1):.1f}% of the pixels{hint if is_hinted else ''}")
    counted = {
        "crowd segments": summary.crowds.total(),
        "pixels were claimed by more than one segment": summary.contested,
        "segments were dropped, as others cover them completely": summary.hidden,
        "shapes were dropped, as they cover no pixel of their picture": summary.empty,
        "pictures have no segment": summary.unlabeled,
        "pictures have no label and are background everywhere": summary.unmarked,
    }
    result += [f"{count} {message}" for message, count in counted.items() if count]
    return [*result, *summary.notes.lines(), *_warnings(summary)]


def _warnings(summary: Summary) -> Iterator[str]:
    crowds = [c.name for c in summary.categories if 0 < summary.segments[c.id] == summary.crowds[c.id]]
    if crowds:
        yield (
            f"warning: every segment of {printable(', '.join(crowds))} is a crowd, which no model learns and no figure "
            "counts; if each is one object, clear its crowd flag (COCO instances: --crowds instances)"
        )
