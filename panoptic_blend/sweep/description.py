"""Show the results of a sweep: a table, lines of text, a CSV file of all combinations, and a heat map."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from panoptic_blend.files import replacing
from panoptic_blend.metrics.panoptic_quality import GROUPS
from panoptic_blend.sweep.grid import Setting
from panoptic_blend.sweep.sweep import BEST, CURRENT, RESAMPLES, Highlight, Sweep
from panoptic_blend.terminal import percent, right_aligned

_COLUMNS = ("confidence", "overlap", "stuff_area", "PQ", "PQ_Th", "PQ_St")
_MARKERS = {"o": 18, "s": 18, "D": 18, "^": 30, "*": 34}
"""Matplotlib markers of the highlights, in order, with the size in points that leaves the number in a cell visible."""

_NOTICEABLE = 0.001
"""A loss of PQ, as a fraction, from which on it is warned of."""

_RING: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": "red", "markeredgewidth": 1.6}


def table(sweep: Sweep) -> Table:
    """A table of the highlights in percent; gains are over the current setting, with 95 % intervals."""
    columns = "setting", *_COLUMNS[3:], "gain", "95 %"
    title = f"Fusion on {sweep.images} images: confidence/overlap/stuff area"
    result = right_aligned("", *columns, title=title)
    for highlight in sweep.highlights:
        figures = [percent(value, ".2f") for value in highlight.pq]
        gain, low, high = (percent(value, "+.2f") for value in (highlight.gain, highlight.low, highlight.high))
        change = ("", "") if highlight.name == CURRENT else (gain, f"{low} {high}")
        style = "bold" if highlight.name == BEST else None
        result.add_row(highlight.name, _short(highlight.setting), *figures, *change, style=style)
    return result


def lines(sweep: Sweep) -> Iterator[str]:
    """The best setting as overrides, how certain its gain is, and what things and stuff gain or lose."""
    best = sweep.highlight(BEST)
    yield f"best of {sweep.pq[..., 0].size} combinations: {best.setting.overrides()}"
    if best.setting == sweep.highlight(CURRENT).setting:
        yield "this is the current setting"
        return
    certain = min(max(best.low, 0.0), best.gain)
    yield (
        f"gain in {_metric(sweep)} over the current setting: {100 * best.gain:.2f}, of which "
        f"{100 * (best.gain - certain):.2f} are within the confidence interval and {100 * certain:.2f} beyond it "
        f"(95 %, {RESAMPLES} paired resamples of the images)"
    )
    held_out = percent(sweep.held_out_gain, "+.2f")
    yield f"held-out gain, chosen on one half of the images and measured on the other: {held_out}"
    yield from _trade(sweep)


def _trade(sweep: Sweep) -> Iterator[str]:
    """PQ of things and of stuff before and after, and a warning where one of them loses."""
    before_and_after = (sweep.highlight(name).pq[1:] for name in (CURRENT, BEST))
    for column, objective, before, after in zip(_COLUMNS[4:], ("things", "stuff"), *before_and_after, strict=True):
        change = f"{percent(before, '.2f')} -> {percent(after, '.2f')}"
        if before - after > _NOTICEABLE:
            share, remedy = 1 - after / before, f"to rank by {objective}, add --objective {objective}"
            yield f"warning: {column} falls by {100 * share:.0f} %, {change}; {remedy}"
        else:
            yield f"{objective}: {column} {change}"


def write_csv(sweep: Sweep, path: Path) -> None:
    """Write all combinations with their PQ as fractions, at full precision."""
    rows = zip(sweep.grid.settings(), sweep.pq.reshape(-1, len(GROUPS)).tolist(), strict=True)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows([*vars(setting).values(), *pq] for setting, pq in rows)


def draw_heat_map(sweep: Sweep, path: Path) -> None:
    """Draw PQ over confidence and overlap at the best stuff area, and beside it PQ over the stuff area."""
    figure = Figure(figsize=(13, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    plane, curve = figure.subplots(1, 2, width_ratios=(3, 1))
    _draw_plane(figure, plane, sweep)
    _draw_curve(curve, sweep)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_plane(figure: Figure, axes: Axes, sweep: Sweep) -> None:
    grid, best = sweep.grid, sweep.highlight(BEST).setting
    slice_ = 100 * sweep.pq[:, :, grid.stuff_areas.index(best.stuff_area), GROUPS.index(sweep.group)].T
    image = axes.imshow(slice_, origin="lower", aspect="auto", cmap="viridis")
    figure.colorbar(image, ax=axes, label=_metric(sweep))
    middle = (slice_.min() + slice_.max()) / 2
    for (y, x), value in np.ndenumerate(slice_):
        axes.text(x, y, f"{value:.1f}", ha="center", va="center", fontsize=6.5, color="wk"[int(value > middle)])
    _draw_highlights(axes, sweep)
    axes.set_xticks(range(len(grid.confidences)), [f"{value:g}" for value in grid.confidences])
    axes.set_yticks(range(len(grid.overlaps)), [f"{value:g}" for value in grid.overlaps])
    axes.set(xlabel="confidence: minimum score of an instance", ylabel="overlap: maximum covered share of an instance")
    axes.set_title(f"{_metric(sweep)} at the best stuff area, {best.stuff_area}; the legend has each setting's own PQ")


def _draw_highlights(axes: Axes, sweep: Sweep) -> None:
    """Outline the cells of the highlights; further outlines of the same cell are larger."""
    grid = sweep.grid
    drawn: dict[tuple[float, float], int] = {}
    for highlight, (marker, size) in zip(sweep.highlights, _MARKERS.items(), strict=True):
        cell = highlight.setting.confidence, highlight.setting.overlap
        drawn[cell] = drawn.get(cell, 0) + 1
        x, y = _interpolated(grid.confidences, cell[0]), _interpolated(grid.overlaps, cell[1])
        size += 8 * (drawn[cell] - 1)
        [ring] = axes.plot(x, y, marker, markersize=size, label=_label(highlight, sweep), **_RING)
        ring.set_path_effects([patheffects.withStroke(linewidth=3.2, foreground="white")])
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, fontsize="small", markerscale=0.4)


def _label(highlight: Highlight, sweep: Sweep) -> str:
    pq = 100 * highlight.pq[GROUPS.index(sweep.group)]
    return f"{highlight.name}: {_short(highlight.setting)}, {_metric(sweep)} {pq:.2f}"


def _draw_curve(axes: Axes, sweep: Sweep) -> None:
    """Plot PQ over the stuff area, evenly spaced, because the areas are 0 and roughly powers of two."""
    grid = sweep.grid
    for name in (CURRENT, BEST):
        setting = sweep.highlight(name).setting
        row = sweep.pq[grid.confidences.index(setting.confidence), grid.overlaps.index(setting.overlap)]
        label = f"{name}: {setting.confidence:g}/{setting.overlap:g}"
        axes.plot(100 * row[:, GROUPS.index(sweep.group)], marker="o", label=label)
    axes.set_xticks(range(len(grid.stuff_areas)), [str(area) for area in grid.stuff_areas])
    axes.set(xlabel="stuff area: minimum pixels of a stuff segment", title=f"{_metric(sweep)} by stuff area")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _interpolated(values: tuple[float, ...], value: float) -> float:
    """The position of ``value`` on an axis on which the rising ``values`` are at 0, 1, ..., within its ends."""
    below = [i for i, known in enumerate(values) if known <= value]
    if not below or below[-1] == len(values) - 1:
        return float(len(below) - 1 if below else 0)
    i = below[-1]
    return i + (value - values[i]) / (values[i + 1] - values[i])


def _short(setting: Setting) -> str:
    return f"{setting.confidence:g}/{setting.overlap:g}/{setting.stuff_area}"


def _metric(sweep: Sweep) -> str:
    return {"All": "PQ", "Things": "PQ_Th", "Stuff": "PQ_St"}[sweep.group]
