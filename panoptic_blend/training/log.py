"""Progress of a training run: a live status line, the log ``log.jsonl``, and TensorBoard."""

from __future__ import annotations

import json
import math
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from types import TracebackType
from typing import IO, Any

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from torch.utils.tensorboard import SummaryWriter

from panoptic_blend.files import name_in_errors, replacing, without_nan
from panoptic_blend.inference.evaluation import Evaluation
from panoptic_blend.metrics.resampling import Interval
from panoptic_blend.terminal import percent

_LOG = "log.jsonl"
_WINDOW = 20
"""Number of iterations over which the status line averages speed and losses."""
_MUCH_SLOWER = 1.5
"""Steps that take this many times what was planned are told."""


@dataclass(frozen=True)
class IterationRecord:
    """The record of one iteration, counted from 1.

    ``images`` is the number of images in the batch, ``data_seconds`` the time spent waiting for it, and
    ``step_seconds`` the time of the whole iteration.
    """

    iteration: int
    lr: float
    losses: dict[str, float]
    images: int
    data_seconds: float
    step_seconds: float


class Reporter:
    """A context manager that reports a run of ``total`` iterations to the terminal, ``log.jsonl`` and TensorBoard.

    A terminal shows a live status line; other outputs get one line per logged iteration. Without a ``folder`` nothing
    is reported; only the first process of a run has one. If steps take much longer than ``planned`` seconds, a line
    says so once.
    """

    def __init__(
        self,
        folder: Path | None,
        total: int,
        start: int = 0,
        console: Console | None = None,
        planned: float | None = None,
    ) -> None:
        self._console = console or Console(quiet=folder is None)
        self._planned = planned
        self._steps, self._paused, self._ended = 0, 0.0, perf_counter()
        self._total, self._recent = total, deque[IterationRecord](maxlen=_WINDOW)
        self._log = _reopened(folder, start) if folder else None
        self._board = SummaryWriter(str(folder), purge_step=start + 1 if start else None) if folder else None
        self._skipped = sum("skipped" in record for record in read_log(folder)) if folder else 0
        wrapped = TextColumn("{task.fields[status]}", table_column=Column(ratio=1))  # wraps in a narrow terminal
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
        """Show an iteration, and log it if ``is_logged``."""
        self._recent.append(record)
        now = perf_counter()
        self._paused += max(now - self._ended - record.step_seconds, 0)
        self._steps, self._ended = self._steps + 1, now
        status = self._status()
        self._live.update(self._task, completed=record.iteration, description="training", status=status)
        self._compare_with_plan()
        if not is_logged:
            return
        if not self._console.is_terminal:
            self.say(status.replace("\n", "  "))
        values = {"lr": record.lr, **record.losses, "loss": sum(record.losses.values())}
        values |= {"data_seconds": record.data_seconds, "step_seconds": record.step_seconds}
        self._write(record.iteration, values)

    def _compare_with_plan(self) -> None:
        seconds = sum(record.step_seconds for record in self._recent) / len(self._recent)
        if self._planned is None or len(self._recent) < _WINDOW or seconds < _MUCH_SLOWER * self._planned:
            return
        left = self._total - self._recent[-1].iteration
        expected, planned = (timedelta(seconds=round(left * each)) for each in (seconds, self._planned))
        self.say(
            f"steps take {seconds:.2f} s, and {self._planned:.2f} s were planned: the training will take {expected} "
            f"more instead of {planned}; the plan stays, so that the run can be resumed"
        )
        self._planned = None

    def skipped(self, iteration: int, problems: Sequence[str]) -> None:
        """Show the images that an iteration skipped, and log how many the run has skipped so far.

        Args:
            problems: for each image, the message that names its file.
        """
        for problem in problems:
            self._skipped += 1
            self.say(f"iteration {iteration}: skipped {problem}")
            self._write(iteration, {"skipped": self._skipped})

    def evaluating(self, done: int, total: int) -> None:
        """Show the progress of an evaluation."""
        self._live.update(self._task, description="evaluating", status=f"image {done}/{total}")

    def evaluated(self, iteration: int, evaluation: Evaluation, of_average: bool = False) -> None:
        """Show and log the result of an evaluation; ``of_average`` if it is that of averaged weights."""
        figures, truth = evaluation.figures(), evaluation.instance_truth
        line = "  ".join(f"{name} {percent(value)}" for name, value in figures.items())
        self.say(f"iteration {iteration}: {line}  (truth of AP: {truth}{'; averaged weights' if of_average else ''})")
        self._write(iteration, figures, instance_truth=truth, **({"weights": "averaged"} if of_average else {}))

    def gained(self, iteration: int, gain: Interval, best: int, waited: int) -> None:
        """Show and log the gain of an evaluation over the best before it, of the iteration ``best``.

        Args:
            waited: the number of evaluations in a row without gain.
        """
        bounds = f"{100 * gain.value:+.1f} ({100 * gain.low:+.1f} to {100 * gain.high:+.1f})"
        tail = f", {waited} in a row without gain" if waited else ""
        self.say(f"iteration {iteration}: PQ {bounds} against iteration {best}{tail}")
        self._write(iteration, {"PQ_gain": gain.value, "PQ_gain_low": gain.low, "PQ_gain_high": gain.high})

    def _write(self, iteration: int, values: dict[str, float], **words: str) -> None:
        if self._log is None or self._board is None:
            return
        with name_in_errors(Path(self._log.name)):
            self._log.write(json.dumps({"iteration": iteration, **without_nan(values), **words}) + "\n")
            self._log.flush()
        for name, value in values.items():
            if not math.isnan(value):
                self._board.add_scalar(name, value, iteration)

    def _status(self) -> str:
        last, count = self._recent[-1], len(self._recent)
        seconds = sum(record.step_seconds for record in self._recent)
        rate = sum(record.images for record in self._recent) / seconds
        each = seconds / count + self._paused / self._steps  # evaluations and states take time between steps
        left = timedelta(seconds=round((self._total - last.iteration) * each))
        means = {name: sum(record.losses[name] for record in self._recent) / count for name in last.losses}
        terms = "  ".join(f"{name.removeprefix('loss_')} {value:.3f}" for name, value in means.items())
        return f"{last.iteration}/{self._total}  {rate:.1f} images/s  {left} left\n{terms}"


def read_log(folder: Path) -> list[dict[str, Any]]:
    """Read the log of a run: records of iterations have ``loss``, those of evaluations ``AP_box``.

    A figure over nothing, such as mIoU without stuff, is None. Lines that a crash has cut short are ignored.
    """
    path = folder / _LOG
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.exists() else []
    records = []
    for line in lines:
        with suppress(ValueError, RecursionError):
            records.append(json.loads(line))
    return [record for record in records if isinstance(record, dict) and "iteration" in record]


def _reopened(folder: Path, start: int) -> IO[str]:
    """Open the log for appending, without the records that a run resumed after iteration ``start`` writes again.

    These are the later iterations, and an evaluation at ``start``.
    """
    again = {"AP_box", "PQ_gain"}
    kept = [x for x in read_log(folder) if x["iteration"] < start or (x["iteration"] == start and not again & x.keys())]
    with replacing(folder / _LOG) as temporary:
        temporary.write_text("".join(json.dumps(record) + "\n" for record in kept if start), encoding="utf-8")
    return (folder / _LOG).open("a", encoding="utf-8")
