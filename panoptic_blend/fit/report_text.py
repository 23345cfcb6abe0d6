"""What `summary` says of a fitted model: the lines on the terminal and the page for people who do not train models."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from panoptic_blend.files import printable
from panoptic_blend.fit.limitations import Limit, limits, small_are_missed, to_label
from panoptic_blend.fit.tuning import Tuned
from panoptic_blend.inference.evaluation import Evaluation
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.resampling import Interval
from panoptic_blend.scoring.detail_tables import bounds, rare_classes
from panoptic_blend.scoring.details import Findings
from panoptic_blend.structures import Category
from panoptic_blend.table_formats import NOTHING, markdown
from panoptic_blend.terminal import percent, right_aligned

FEW_PICTURES = 500
"""With fewer training pictures, more of them help most."""

MOST_CLASSES = 30
"""The number of classes on the page, those with the most examples."""

STILL_RISING = 0.005
"""A gain of PQ in the last evaluation of a training, as a fraction, that says that more time would pay."""

_PQ = (
    "PQ (panoptic quality) says how much of what is in the pictures is found, with the right class and the right "
    "outline, averaged over the classes: 100 is perfect, and 0 means that nothing is right."
)
_CAUTION = (
    "The best of the checkpoints of the training was chosen by the same pictures{}, so expect a little less on "
    "new ones."
)


@dataclass(frozen=True)
class Known:
    """What the other steps of a fit have to say.

    ``examples`` are the training segments by category id, ``pictures`` is the number of training pictures, ``warnings``
    are lines about the data that matter, and ``lists`` are files with what to label next and probable label errors.
    """

    tuned: Tuned | None = None
    examples: Mapping[int, int] = field(default_factory=dict)
    pictures: int | None = None
    warnings: Sequence[str] = ()
    lists: Sequence[Path] = ()


@dataclass(frozen=True)
class ReportText:
    """The words of a summary of a model that was evaluated on a number of ``images``.

    ``details``, ``findings`` and the report ``html`` are None if the data have no panoptic annotation. ``history`` is
    the PQ of all evaluations of the training, as fractions; ``pictures`` have a title and a file.
    """

    known: Known
    evaluation: Evaluation
    images: int
    details: PanopticDetails | None
    findings: Findings | None
    history: Sequence[float]
    model: Path
    page: Path
    html: Path | None
    pictures: Sequence[tuple[str, Path]]

    def lines(self) -> list[str]:
        """Five lines for the terminal, and the warnings."""
        report = f"; report: {self.page}" + (f", in detail {self.html}" if self.html else "")
        return [
            self.how_good(),
            f"what limits it: {'; '.join(limit.words for limit in self.limits) or 'nothing stands out'}",
            f"what to label next: {'; '.join(self.to_label())}",
            f"what to change: {'; '.join(self.to_change())}",
            f"model: {self.model}{report}",
            *(f"about the data: {line}" for line in self.known.warnings),
        ]

    @cached_property
    def limits(self) -> list[Limit]:
        """What costs most; nothing without panoptic annotation."""
        if self.details is None or self.findings is None:
            return []
        return limits(self.details, self.findings, has_stuff=self.evaluation.mean_iou is not None)

    def how_good(self) -> str:
        """The figures of the model with their intervals, in one line."""
        on = f"on {self.images} validation picture{'s' if self.images > 1 else ''}"
        if self.findings is None:
            columns = self.evaluation.columns()
            return f"AP of masks {percent(columns['AP_Th'])}, of boxes {percent(columns['AP_box'])} {on}"
        all_, things, stuff = self.findings.intervals.groups.values()
        if self.evaluation.mean_iou is None:
            return f"PQ of things {_with_bounds(things)} {on}"
        rare = len(self.findings.intervals.too_rare)
        doubt = f" ({rare} of the classes in too few pictures: unreliable intervals)" if rare else ""
        return f"PQ {_with_bounds(all_)} {on}: things {_with_bounds(things)}, stuff {_with_bounds(stuff)}{doubt}"

    def to_label(self) -> Iterator[str]:
        """What to label next."""
        if self.findings:
            yield from (f"more pictures {line}" for line in to_label(self.findings, self.known.examples))
        else:
            yield "more pictures of the classes with the lowest AP"
        yield from (f"see {path}" for path in self.known.lists)

    def to_change(self) -> list[str]:
        """What would make the model better: time, size of pictures, number of pictures."""
        found = self.evaluation.doubts()
        *earlier, last = self.history or (math.nan,)
        if earlier and last - max(earlier) > STILL_RISING:
            rise = f"PQ {percent(max(earlier))} -> {percent(last)}"
            found.append(f"it was still getting better at the end ({rise}): more --minutes")
        if small_are_missed(self.limits):
            found.append("small things are missed: larger pictures (data.short_sides, test.short_side), more --minutes")
        if self.known.pictures is not None and self.known.pictures < FEW_PICTURES:
            few = f"{self.known.pictures} training pictures are few"
            found.append(f"{few}: twice as many usually help more than anything else")
        return found or ["nothing urgent; a larger backbone or more --minutes may still pay"]

    def text(self) -> str:
        """The page as Markdown."""
        parts = [self._head(), self._pictures(), self._advice(), self._tuning(), self._classes(), self._files()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _head(self) -> str:
        judged = f"# How good the model is\n\n**{self.how_good()}.**"
        if self.findings is None:
            return f"{judged} The data have no panoptic annotation, so there are no PQ and no intervals."
        also = ", and by one half of them the thresholds" if self.known.tuned and self.known.tuned.judgment else ""
        rare = rare_classes(self.findings)
        parts = [
            f"{judged} In brackets are 95 % intervals: what other pictures of the same kind would give.",
            f"{_PQ} {_CAUTION.format(also)}" + (f" {_plain(rare)}." if rare else ""),
        ]
        return "\n\n".join(parts)

    def _pictures(self) -> str:
        shown = [f"{title}\n\n![{title}]({_relative(path, self.page)})" for title, path in self.pictures]
        return (
            "## Three pictures\n\nLeft the photo, then the labels, then what the model says.\n\n" + "\n\n".join(shown)
            if shown
            else ""
        )

    def _classes(self) -> str:
        found = self.findings.report if self.findings else self.evaluation.instances
        classes = sorted(found.categories, key=lambda c: -self.known.examples.get(c.id, 0))
        table = self._class_table(classes[:MOST_CLASSES]) if self.findings else self._instance_table(classes)
        more = f"\n\n{len(classes) - MOST_CLASSES} more classes are in the report in detail."
        return f"## Classes\n\n{markdown(table).strip()}{more if len(classes) > MOST_CLASSES and self.html else ''}"

    def _class_table(self, classes: Sequence[Category]) -> Table:
        assert self.findings
        table = right_aligned("class", "kind", "PQ", "95 % interval", "in training", "in validation", words=2)
        intervals = self.findings.intervals
        for category in classes:
            quality = self.findings.report.per_class[category.id]
            interval = intervals.per_class.get(category.id, Interval(math.nan, math.nan, math.nan))
            table.add_row(
                escape(printable(category.name, 80)),
                "thing" if category.is_thing else "stuff",
                percent(interval.value),
                "too few pictures" if category.id in intervals.too_rare else bounds(interval),
                str(self.known.examples.get(category.id, NOTHING)),
                str(quality["tp"] + quality["fn"]),
            )
        return table

    def _instance_table(self, classes: Sequence[Category]) -> Table:
        table = right_aligned("class", "AP of masks", "in training", "in validation")
        for category in classes:
            figures = self.evaluation.instances.per_class[category.id]
            precision = figures.mask.ap if figures.mask else math.nan
            examples = str(self.known.examples.get(category.id, NOTHING))
            table.add_row(escape(printable(category.name, 80)), percent(precision), examples, str(figures.instances))
        return table

    def _advice(self) -> str:
        sections = {
            "What limits it": [f"{limit.words} of PQ" for limit in self.limits] or ["nothing stands out"],
            "What to do next": [
                *(f"label {line}" if line.startswith("more") else line for line in self.to_label()),
                *self.to_change(),
            ],
            "About the data": list(self.known.warnings),
        }
        return "\n\n".join(f"## {title}\n\n{_listed(lines)}" for title, lines in sections.items() if lines)

    def _tuning(self) -> str:
        return f"## Scores and thresholds\n\n{_listed(self.known.tuned.remarks)}" if self.known.tuned else ""

    def _files(self) -> str:
        found = {"The model": self.model, "The report in detail, with every picture": self.html}
        found |= {f"Picture by picture, from {path.name}": path.with_suffix(".html") for path in self.known.lists}
        links = [f"{what}: [{path.name}]({_relative(path, self.page)})" for what, path in found.items() if path]
        return f"## Files\n\n{_listed(links, is_markdown=True)}"


def _with_bounds(interval: Interval) -> str:
    return NOTHING if math.isnan(interval.value) else f"{percent(interval.value)} ({bounds(interval)})"


def _listed(lines: Sequence[str], *, is_markdown: bool = False) -> str:
    return "\n".join(f"* {line if is_markdown else _plain(line)}" for line in lines)


def _plain(line: str) -> str:
    """A line whose signs Markdown does not interpret, but for names in backticks."""
    parts = printable(line).split("`")
    return "`".join(part if number % 2 else _escaped(part) for number, part in enumerate(parts))


def _escaped(text: str) -> str:
    return "".join(f"\\{sign}" if sign in "\\*_[]<|#" else sign for sign in text)


def _relative(path: Path, page: Path) -> str:
    return Path(os.path.relpath(path, page.parent)).as_posix().replace(" ", "%20")
