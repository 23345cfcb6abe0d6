"""Markdown tables of `evaluation.ablations`, made of the lines of results alone."""

from __future__ import annotations

import math
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from statistics import median

import numpy as np
from rich.table import Table

from evaluation.ablation_plan import Contrast, Results, as_long, same_time
from evaluation.ablation_plot import differences, svg
from evaluation.ablation_runs import Times
from evaluation.ablation_tables import Experiment, Trial, experiments, scale, table_names
from evaluation.fit_rows import Key, Row, estimate, interval
from panoptic_blend.files import replacing
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.table_formats import NOTHING, markdown
from panoptic_blend.terminal import right_aligned

_SETTING = re.compile(r"(\w+), side (\d+), ")


def report(rows: Mapping[Key, Row], times: Mapping[tuple[str, str], Times]) -> str:
    """All tables, with two for each: the rows, and what the paper's orders are here.

    Raises:
        PanopticBlendError: there are no results.
    """
    if not rows:
        raise PanopticBlendError("there are no results yet; run a table first")
    parts = []
    for experiment, results, setting in shown(rows, times):
        parts += [markdown(rows_table(experiment, results, setting))]
        if experiment.orders:
            parts += [markdown(orders_table(experiment, results))]
    return "\n".join(parts)


def draw(rows: Mapping[Key, Row], times: Mapping[tuple[str, str], Times], folder: Path) -> None:
    """Draw every table as SVG; the names of the files are those of the setting and the table."""
    folder.mkdir(parents=True, exist_ok=True)
    for experiment, results, setting in shown(rows, times):
        if found := differences(experiment, results):
            name = re.sub(r"\W+", "_", f"{setting} table {experiment.number}")
            path = folder / f"{name}.svg"
            axis = f"{experiment.figure} - {experiment.reference}, points, 95%; {setting}"
            with replacing(path) as temporary:
                temporary.write_text(svg(found, experiment.title, axis), encoding="utf-8")
            print(f"see {path}", file=sys.stderr)


def shown(rows: Mapping[Key, Row], times: Mapping[tuple[str, str], Times]) -> Iterator[tuple[Experiment, Results, str]]:
    """The tables with a row besides the reference, for every setting that occurs."""
    for setting in dict.fromkeys(row.experiment for row in rows.values()):
        match = _SETTING.match(setting)
        if match is None:
            raise PanopticBlendError(f"results of {setting!r} are not those of a table; remove their lines")
        size = scale(match[1]).enlarged(int(match[2]))
        results = Results(setting, size, rows, times)
        for experiment in experiments(table_names(), size):
            known = [name for name, trial in experiment.trials.items() if results.rows(trial)]
            if experiment.reference in known and len(known) > 1:
                yield experiment, results, setting


def rows_table(experiment: Experiment, results: Results, setting: str) -> Table:
    """A line for each row: the paper's figure, ours with its interval, and differences from the reference."""
    figures = list(dict.fromkeys([experiment.figure, "AP"]))
    minus = f"- {experiment.reference}"
    columns = ["paper", "seeds", *figures, minus, "ms", f"{minus} at its time", "million weights"]
    if experiment.same_training:
        columns.append(f"{minus} at its training time")
    found = right_aligned("row", *columns, title=f"{experiment.title}; {setting}")
    for name, trial in experiment.trials.items():
        own = results.rows(trial)
        if not own:
            continue
        cells = [interval([row.values(figure) for row in own.values()]) for figure in figures]
        found.add_row(
            *(name, _paper(experiment, trial), str(len(own)), *cells),
            _difference(experiment, results, _against_reference(experiment, trial)),
            *_time(experiment, results, trial),
            *([_same_training(experiment, results, name)] if experiment.same_training else []),
        )
    return found


def orders_table(experiment: Experiment, results: Results) -> Table:
    """A line for each order of the paper: the difference here, and whether it agrees beyond the interval."""
    found = right_aligned(
        "paper's order", "paper", "here", "seeds", "verdict", title=f"Orders, table {experiment.number}"
    )
    for better, worse in experiment.orders:
        contrast = Contrast(experiment.trials[better], ((experiment.trials[worse], 1.0),))
        values = results.values(contrast, experiment.figure)
        stated = [_stated(experiment, experiment.trials[row]) for row in (better, worse)]
        paper = f"{stated[0] - stated[1]:+.1f}" if not any(map(math.isnan, stated)) else NOTHING
        found.add_row(f"{better} above {worse}", paper, interval(values, "+"), str(len(values)), verdict(values))
    return found


def verdict(values: list[np.ndarray]) -> str:
    """Whether a difference that the paper states to be positive is so here, beyond its interval."""
    mean, spread = estimate(values)
    if math.isnan(mean):
        return NOTHING
    if not abs(mean) > spread:
        return "open"
    return ("agrees" if mean > 0 else "contradicts") + (", by pictures alone" if len(values) == 1 else "")


def _against_reference(experiment: Experiment, trial: Trial) -> Contrast | None:
    reference = experiment.trials[experiment.reference]
    return None if trial == reference else Contrast(trial, ((reference, 1.0),))


def _difference(experiment: Experiment, results: Results, contrast: Contrast | None) -> str:
    return interval(results.values(contrast, experiment.figure), "+") if contrast else NOTHING


def _time(experiment: Experiment, results: Results, trial: Trial) -> tuple[str, str, str]:
    """Milliseconds of a picture, the difference from the reference at this time, and the number of weights."""
    times = results.times(experiment)
    if times is None or trial.name not in times.milliseconds:
        return NOTHING, NOTHING, NOTHING
    same = None if trial == experiment.trials[experiment.reference] else same_time(experiment, trial, results)
    milliseconds = f"{median(times.milliseconds[trial.name]):.1f}"
    return milliseconds, _difference(experiment, results, same), f"{times.parameters[trial.name] / 1e6:.2f}"


def _same_training(experiment: Experiment, results: Results, name: str) -> str:
    trial = as_long(experiment, results).get(name)
    return _difference(experiment, results, _against_reference(experiment, trial)) if trial else NOTHING


def _paper(experiment: Experiment, trial: Trial) -> str:
    value = _stated(experiment, trial)
    return NOTHING if math.isnan(value) else f"{value:.1f}"


def _stated(experiment: Experiment, trial: Trial) -> float:
    """The paper's figure of the row with the config of a trial; NaN if no source states it."""
    for row in experiment.paper.rows.values() if experiment.paper else ():
        if row.config == trial.config:
            for stated in row.stated.values():
                value = stated.get(experiment.figure)
                if isinstance(value, int | float):
                    return float(value)
    return math.nan
