"""What a run tells: a live line, a JSON-lines log and TensorBoard."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from torch.utils.tensorboard import SummaryWriter

from panoptic_blend.files import replacing
from panoptic_blend.inference.evaluation import Evaluation

_LOG = "log.jsonl"
_WINDOW = 20
"""Iterations over which speed and losses are averaged on the live line."""


@dataclass(frozen=True)
class IterationRecord:
    """One iteration: its number from 1, learning rate, loss terms, images, and seconds of loading and in all."""

    iteration: int
    lr: float
    losses: dict[str, float]
    images: int
    data_seconds: float
    step_seconds: float


class Reporter:
    """Tells a terminal, ``log.jsonl`` and TensorBoard of a run of ``total`` iterations; a context manager.

    Without a ``folder`` it tells nobody anything: only the first process of a run reports.

    On a terminal a live line shows the progress; elsewhere a plain line every logged iteration does.
    """

    def __init__(self, folder: Path | None, total: int, start: int = 0, console: Console | None = None) -> None:
        self._console = console or Console(quiet=folder is None)
        self._total, self._recent = total, deque[IterationRecord](maxlen=_WINDOW)
        self._log = _reopened(folder, start) if folder else None
        self._board = SummaryWriter(str(folder), purge_step=start + 1 if start else None) if folder else None
        self._skipped = sum("skipped" in record for record in read_log(folder)) if folder else 0
        wrapped = TextColumn("{task.fields[status]}", table_column=Column(ratio=1))  # all of it at any width
        columns = TextColumn("{task.description}"), BarColumn(bar_width=10), wrapped
        is_live = self._console.is_terminal
        self._live = Progress(*columns, console=self._console, transient=True, expand=True, disable=not is_live)
        self._task = self._live.add_task("training", total=total, completed=start, status="starting")

    def __enter__(self) -> Reporter:
        self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._live.stop()
        if self._log and self._board:
            self._log.close()
            self._board.close()

    def say(self, text: str) -> None:
        """Print a line."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def step(self, record: IterationRecord, is_logged: bool) -> None:
        """Show an iteration; keep it too if ``is_logged``."""
        self._recent.append(record)
        status = self._status()
        self._live.update(self._task, completed=record.iteration, description="training", status=status)
        if not is_logged:
            return
        if not self._console.is_terminal:
            self.say(status.replace("\n", "  "))
        values = {"lr": record.lr, **record.losses, "loss": sum(record.losses.values())}
        values |= {"data_seconds": record.data_seconds, "step_seconds": record.step_seconds}
        self._keep(record.iteration, values)

    def skipped(self, iteration: int, problems: Sequence[str]) -> None:
        """Show and keep which images an iteration did without, and how many the run has so far."""
        for problem in problems:
            self._skipped += 1
            self.say(f"iteration {iteration}: skipped {problem}")
            self._keep(iteration, {"skipped": self._skipped})

    def evaluating(self, done: int, total: int) -> None:
        """Show how far an evaluation is."""
        self._live.update(self._task, description="evaluating", status=f"image {done}/{total}")

    def evaluated(self, iteration: int, evaluation: Evaluation) -> None:
        """Show and keep what an evaluation found."""
        columns = evaluation.columns()
        self.say(f"iteration {iteration}: " + "  ".join(f"{k} {100 * v:.1f}" for k, v in columns.items()))
        self._keep(iteration, columns)

    def _keep(self, iteration: int, values: dict[str, float]) -> None:
        if self._log is None or self._board is None:
            return
        self._log.write(json.dumps({"iteration": iteration, **values}) + "\n")
        self._log.flush()
        for name, value in values.items():
            self._board.add_scalar(name, value, iteration)

    def _status(self) -> str:
        last, count = self._recent[-1], len(self._recent)
        seconds = sum(record.step_seconds for record in self._recent)
        rate = sum(record.images for record in self._recent) / seconds
        left = timedelta(seconds=round((self._total - last.iteration) * seconds / count))
        means = {name: sum(record.losses[name] for record in self._recent) / count for name in last.losses}
        terms = "  ".join(f"{name.removeprefix('loss_')} {value:.3f}" for name, value in means.items())
        return f"{last.iteration}/{self._total}  {rate:.1f} images/s  {left} left\n{terms}"


def read_log(folder: Path) -> list[dict[str, Any]]:
    """The records of a run so far: of logged iterations, with ``loss``, and of evaluations, with ``PQ``.

    A line that was cut short, as a crash leaves it, is passed over.
    """
    path = folder / _LOG
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    records = []
    for line in lines:
        with suppress(ValueError):
            records.append(json.loads(line))
    return [record for record in records if isinstance(record, dict) and "iteration" in record]


def _reopened(folder: Path, start: int) -> IO[str]:
    """The log, open for writing, without what a resumed run will write again: later steps, an evaluation just now."""
    kept = [x for x in read_log(folder) if x["iteration"] < start or (x["iteration"] == start and "PQ_Th" not in x)]
    with replacing(folder / _LOG) as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in kept if start), encoding="utf-8")
    return (folder / _LOG).open("a", encoding="utf-8")
