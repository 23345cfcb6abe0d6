"""Figures as tables, and a line that shows how far a command is; needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Column, Table
from rich.text import Text

from panoptic_blend.files import printable
from panoptic_blend.metrics.panoptic_quality import PanopticReport


def right_aligned(*columns: str | Column, title: str | None = None, words: int = 1) -> Table:
    """An empty table whose first ``words`` columns hold words and the others figures."""
    table = Table(*columns, title=title)
    for column in table.columns[words:]:
        column.justify = "right"
    return table


def quality_table(report: PanopticReport) -> Table:
    """PQ, SQ and RQ in percent over all, thing and stuff classes."""
    table = right_aligned("", "PQ", "SQ", "RQ", "classes", title="Panoptic quality")
    for group in ("All", "Things", "Stuff"):
        quality = report[group]
        figures = (f"{100 * value:.1f}" for value in (quality["pq"], quality["sq"], quality["rq"]))
        table.add_row(group, *figures, str(quality["n"]))
    return table


def class_table(report: PanopticReport) -> Table:
    """PQ, SQ and RQ in percent, and the counts, of every class that occurs."""
    table = right_aligned("category", "kind", "PQ", "SQ", "RQ", "TP", "FP", "FN", words=2)
    for category in report.categories:
        quality = report.per_class[category.id]
        counts = quality["tp"], quality["fp"], quality["fn"]
        if any(counts):
            figures = (f"{100 * value:.1f}" for value in (quality["pq"], quality["sq"], quality["rq"]))
            kind = "thing" if category.is_thing else "stuff"
            table.add_row(escape(printable(category.name)), kind, *figures, *map(str, counts))
    return table


def column_table(columns: Mapping[str, float]) -> Table:
    """The columns of BlendMask's appendix A, table 1, in percent."""
    table = Table(*columns, title="All figures")
    table.add_row(*(f"{100 * value:.1f}" for value in columns.values()))
    return table


class _Rate(ProgressColumn):
    """Things a second; those that were there before the first report have no part in it."""

    def __init__(self, things: str) -> None:
        super().__init__()
        self._things = things

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} {self._things}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def progress_line(what: str, things: str = "") -> Iterator[Callable[[int, int], None]]:
    """A live line on a terminal's standard error; yields a function of things done and their number.

    ``things``, like ``images``, are shown per second.
    """
    columns = TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    rate = [_Rate(things)] if things else []
    console = Console(stderr=True)
    with Progress(*columns, *rate, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


@contextmanager
def bytes_line() -> Iterator[Callable[[str, int, int | None], None]]:
    """Likewise for bytes, with their rate; yields a function of what is done, bytes done and their number, if known."""
    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    console = Console(stderr=True)
    is_live = console.is_terminal
    with Progress(*columns, TimeRemainingColumn(), console=console, transient=True, disable=not is_live) as progress:

        def show(what: str, done: int, total: int | None) -> None:
            shown = progress.tasks[0] if progress.tasks else None
            if shown and (what, total) == (shown.description, shown.total) and done >= shown.completed:
                progress.update(shown.id, completed=done)
                return
            if shown:
                progress.remove_task(shown.id)
            progress.add_task(what, total=total, completed=done)  # what was there before has no part in the rate

        yield show
