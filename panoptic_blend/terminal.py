"""Tables and live progress lines on a terminal."""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from rich import progress as live
from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from panoptic_blend.failures import doing
from panoptic_blend.structures import Progress
from panoptic_blend.table_formats import NOTHING, TableFormat, comma_separated, latex, markdown


def print_tables(*tables: Table, form: TableFormat = "text", remarks: Iterable[str] = ()) -> None:
    """Print tables and the lines that explain them.

    As text, tables have the width of the terminal; in a file or pipe, which has no width, no text is cut or folded.
    In all other forms there is an empty line between tables, and ``remarks`` go to standard error.
    """
    with doing("standard output"):
        if form == "text":
            console = Console()
            if not console.is_terminal:
                console.width = _ANY_WIDTH
            console.print(*tables)
        else:
            write, line_end = _WRITERS[form]
            text = line_end.join(map(write, tables))
            sys.stdout.write(text if os.linesep == "\n" else text.replace("\r\n", "\n"))  # Windows adds its own \r
        for remark in remarks:
            print(remark, file=sys.stdout if form == "text" else sys.stderr)


_WRITERS: dict[str, tuple[Callable[[Table], str], str]] = {
    "latex": (latex, "\n"),
    "markdown": (markdown, "\n"),
    "csv": (comma_separated, "\r\n"),
}


def print_json(value: object) -> None:
    """Print a value as one line of JSON."""
    with doing("standard output"):
        print(json.dumps(value))


_ANY_WIDTH = 2**15


def right_aligned(*columns: str | Column, title: str | None = None, words: int = 1) -> Table:
    """An empty table whose first ``words`` columns hold text and whose other columns hold right-aligned numbers."""
    table = Table(*columns, title=title)
    for column in table.columns[words:]:
        column.justify = "right"
    return table


def percent(fraction: float, form: str = ".1f") -> str:
    """A fraction in percent; a dash for NaN, a figure over nothing."""
    return NOTHING if math.isnan(fraction) else format(100 * fraction, form)


class _Rate(live.ProgressColumn):
    """A column of items per second, without the items that were done before the first report."""

    def __init__(self, items: str) -> None:
        super().__init__()
        self._items = items

    def render(self, task: live.Task) -> Text:
        return Text(f"{task.speed:.1f} {self._items}/s" if task.speed else "", style="progress.data.speed")


@contextmanager
def progress_line(task: str, items: str = "") -> Iterator[Progress]:
    """Show a live progress line on standard error if that is a terminal.

    Args:
        task: the activity, such as ``evaluating``.
        items: the counted noun, such as ``images``; if given, the rate per second is shown too.
    """
    columns = (
        live.TextColumn("{task.description}"),
        live.BarColumn(),
        live.MofNCompleteColumn(),
        live.TimeRemainingColumn(),
    )
    rate = [_Rate(items)] if items else []
    console = Console(stderr=True)
    with live.Progress(*columns, *rate, console=console, transient=True, disable=not console.is_terminal) as bar:
        number = bar.add_task(task, total=None)
        yield lambda done, total: bar.update(number, completed=done, total=total)


@contextmanager
def bytes_line() -> Iterator[Callable[[str, int, int | None], None]]:
    """Show a live line for transfers; yield a function of the task, the bytes done, and the total bytes, if known."""
    columns = (
        live.TextColumn("{task.description}"),
        live.BarColumn(),
        live.DownloadColumn(),
        live.TransferSpeedColumn(),
        live.TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    with live.Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:

        def show(task: str, done: int, total: int | None) -> None:
            shown = bar.tasks[0] if bar.tasks else None
            if shown and (task, total) == (shown.description, shown.total) and done >= shown.completed:
                bar.update(shown.id, completed=done)
                return
            if shown:
                bar.remove_task(shown.id)
            # a new task, so that bytes of an earlier run do not count as speed
            bar.add_task(task, total=total, completed=done)

        yield show
