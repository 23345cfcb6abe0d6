"""What `summary` says of a fitted model: the lines on the terminal and the page for people who do not train models."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from panoptic_blend.files import printable
from panoptic_blend.fit.limitations import (
    Limit,
    class_qualities,
    instance_limits,
    limits,
    small_are_missed,
    to_label,
)
from panoptic_blend.fit.tuning import Tuned
from panoptic_blend.inference.evaluation import Evaluation
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.resampling import Interval
from panoptic_blend.scoring.detail_tables import bounds, rare_line
from panoptic_blend.scoring.details import Findings
from panoptic_blend.scoring.instance_findings import InstanceFindings
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
_AP = (
    "AP (average precision) says how many of the things are found, with the right class and outline, and how few that "
    "are not there, averaged over the classes: 100 is perfect, and 0 means that nothing is right."
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

    Without panoptic annotation, ``details`` is None, ``findings`` are those of instances and there are no ``pictures``,
    which have a title and a file. ``history`` is the PQ of all evaluations of the training, as fractions.
    """

    known: Known
    evaluation: Evaluation
    images: int
    details: PanopticDetails | None
    findings: Findings | InstanceFindings
    history: Sequence[float]
    model: Path
    page: Path
    html: Path
    pictures: Sequence[tuple[str, Path]]

    def lines(self) -> list[str]:
        """Five lines for the terminal, and the warnings."""
        return [
            self.how_good(),
            f"what limits it: {'; '.join(self.limiting()) or 'nothing stands out'}",
            f"what to label next: {'; '.join([*self.to_label(), *(f'see {path}' for path in self.known.lists)])}",
            f"what to change: {'; '.join(self.to_change())}",
            f"model: {self.model}; report: {self.page}, in detail {self.html}",
            *(f"about the data: {line}" for line in self.known.warnings),
        ]

    @cached_property
    def limits(self) -> list[Limit]:
        """What costs most PQ; nothing without panoptic annotation."""
        if self.details is None or isinstance(self.findings, InstanceFindings):
            return []
        return limits(self.details, self.findings, has_stuff=self.evaluation.mean_iou is not None)

    def limiting(self) -> list[str]:
        """What costs most, in words."""
        if isinstance(self.findings, InstanceFindings):
            return instance_limits(self.findings.budgets["mask"])
        return [limit.words for limit in self.limits]

    def how_good(self) -> str:
        """The figures of the model with their intervals, in one line."""
        on = f"on {self.images} validation picture{'s' if self.images > 1 else ''}"
        rare = len(self._too_rare)
        doubt = f" ({rare} of the classes in too few pictures: unreliable intervals)" if rare else ""
        if isinstance(self.findings, InstanceFindings):
            masks, boxes = (_with_bounds(self.findings.intervals[kind].figures["AP"]) for kind in ("mask", "box"))
            return f"AP of masks {masks}, of boxes {boxes} {on}{doubt}"
        all_, things, stuff = map(_with_bounds, self.findings.intervals.groups.values())
        if self.evaluation.mean_iou is None:
            return f"PQ of things {things} {on}"
        return f"PQ {all_} {on}: things {things}, stuff {stuff}{doubt}"

    @property
    def _too_rare(self) -> Sequence[int]:
        """The ids of the classes in too few pictures for an interval."""
        found = self.findings
        return (found.intervals["mask"] if isinstance(found, InstanceFindings) else found.intervals).too_rare

    def to_label(self) -> list[str]:
        """What to label next."""
        return [f"more pictures {line}" for line in to_label(self.findings, self.known.examples)]

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
            few = f"few training pictures ({self.known.pictures})"
            found.append(f"{few}: twice as many usually help more than anything else")
        return found or ["nothing urgent; a larger backbone or more --minutes may still pay"]

    def text(self) -> str:
        """The page as Markdown."""
        parts = [self._head(), self._pictures(), self._advice(), self._tuning(), self._classes(), self._files()]
        return "\n\n".join(part for part in parts if part) + "\n"

    def _head(self) -> str:
        also = ", and by one half of them the thresholds" if self.known.tuned and self.known.tuned.judgment else ""
        is_panoptic = isinstance(self.findings, Findings)
        total = len(class_qualities(self.findings))
        rare = rare_line(self._too_rare, total, self.findings.report.categories, "groups" if is_panoptic else "means")
        return (
            f"# How good the model is\n\n**{self.how_good()}.** In brackets are 95 % intervals: what other pictures of "
            f"the same kind would give.\n\n{_PQ if is_panoptic else _AP} {_CAUTION.format(also)}"
            + (f" {_plain(rare)}." if rare else "")
        )

    def _pictures(self) -> str:
        shown = [f"{title}\n\n![{title}]({_relative(path, self.page)})" for title, path in self.pictures]
        return (
            "## Three pictures\n\nLeft the photo, then the labels, then what the model says.\n\n" + "\n\n".join(shown)
            if shown
            else ""
        )

    def _classes(self) -> str:
        classes = sorted(self.findings.report.categories, key=lambda c: -self.known.examples.get(c.id, 0))
        rows = self._class_rows(classes[:MOST_CLASSES])
        more = f"\n\n{len(classes) - MOST_CLASSES} more classes are in the report in detail."
        return f"## Classes\n\n{markdown(rows).strip()}{more if len(classes) > MOST_CLASSES else ''}"

    def _class_rows(self, classes: Sequence[Category]) -> Table:
        found = self.findings
        figure = "AP of masks" if isinstance(found, InstanceFindings) else "PQ"
        table = right_aligned("class", "kind", figure, "95 % interval", "in training", "in validation", words=2)
        for category in classes:
            if isinstance(found, InstanceFindings):
                intervals, judged = found.intervals["mask"].per_class, found.report.per_class[category.id].instances
            else:
                quality = found.report.per_class[category.id]
                intervals, judged = found.intervals.per_class, quality["tp"] + quality["fn"]
            interval = intervals.get(category.id, Interval(math.nan, math.nan, math.nan))
            table.add_row(
                escape(printable(category.name, 80)),
                "thing" if category.is_thing else "stuff",
                percent(interval.value),
                "too few pictures" if category.id in self._too_rare else bounds(interval),
                str(self.known.examples.get(category.id, NOTHING)),
                str(judged),
            )
        return table

    def _advice(self) -> str:
        unit = "PQ" if isinstance(self.findings, Findings) else "AP50"
        sections = {
            "What limits it": [f"{line} of {unit}" for line in self.limiting()] or ["nothing stands out"],
            "What to do next": [
                *(f"label {line}" for line in self.to_label()),
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
