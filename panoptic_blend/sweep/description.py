"""What a sweep found: a table, lines, a CSV of all combinations, and a heat map."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from matplotlib import patheffects
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.table import Table

from panoptic_blend.files import replacing
from panoptic_blend.metrics.panoptic_quality import GROUPS
from panoptic_blend.sweep.grid import Setting
from panoptic_blend.sweep.sweep import BEST, PRESENT, RESAMPLES, Mark, Sweep
from panoptic_blend.terminal import right_aligned

_COLUMNS = ("confidence", "overlap", "stuff_area", "PQ", "PQ_Th", "PQ_St")
_MARKERS = {"o": 18, "s": 18, "D": 18, "^": 30, "*": 34}
"""Of the marks, in their order, with the size in points at which the figure of a cell shows within."""


_RING: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": "red", "markeredgewidth": 1.6}


def table(sweep: Sweep) -> Table:
    """The marks, in percent; gains are over the present setting, with their interval of 95 %."""
    columns = "setting", *_COLUMNS[3:], "gain", "95 %"
    title = f"Fusion on {sweep.images} images: confidence/overlap/stuff area"
    result = right_aligned("", *columns, title=title)
    for mark in sweep.marks:
        figures = [f"{100 * value:.2f}" for value in mark.pq]
        gain, low, high = (f"{100 * value:+.2f}" for value in (mark.gain, mark.low, mark.high))
        change = ("", "") if mark.name == PRESENT else (gain, f"{low} {high}")
        style = "bold" if mark.name == BEST else None
        result.add_row(mark.name, _short(mark.setting), *figures, *change, style=style)
    return result


def lines(sweep: Sweep) -> Iterator[str]:
    """The best setting as overrides, and how sure its gain is."""
    best = sweep.mark(BEST)
    yield f"best of {sweep.pq[..., 0].size} combinations: {best.setting.overrides()}"
    if best.setting == sweep.mark(PRESENT).setting:
        yield "that is the present setting"
        return
    certain = min(max(best.low, 0.0), best.gain)
    yield (
        f"gain in {_name(sweep)} over the present setting: {100 * best.gain:.2f}, of which "
        f"{100 * (best.gain - certain):.2f} are within the confidence interval and {100 * certain:.2f} beyond it "
        f"(95 %, {RESAMPLES} paired resamples of the images)"
    )
    yield f"gain if chosen on one half of the images and measured on the other: {100 * sweep.held_out:+.2f}"


def write_csv(sweep: Sweep, path: Path) -> None:
    """All combinations with their PQ as fractions, at full precision."""
    rows = zip(sweep.grid.settings(), sweep.pq.reshape(-1, len(GROUPS)).tolist(), strict=True)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        writer.writerows([*vars(setting).values(), *pq] for setting, pq in rows)


def draw_heat_map(sweep: Sweep, path: Path) -> None:
    """PQ over confidence and overlap at the best stuff area, with the marks; beside it PQ over the stuff area."""
    figure = Figure(figsize=(13, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    plane, curve = figure.subplots(1, 2, width_ratios=(3, 1))
    _draw_plane(figure, plane, sweep)
    _draw_curve(curve, sweep)
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)


def _draw_plane(figure: Figure, axes: Axes, sweep: Sweep) -> None:
    grid, best = sweep.grid, sweep.mark(BEST).setting
    slice_ = 100 * sweep.pq[:, :, grid.stuff_areas.index(best.stuff_area), GROUPS.index(sweep.group)].T
    image = axes.imshow(slice_, origin="lower", aspect="auto", cmap="viridis")
    figure.colorbar(image, ax=axes, label=_name(sweep))
    middle = (slice_.min() + slice_.max()) / 2
    for (y, x), value in ((place, slice_[place]) for place in _places(slice_.shape)):
        axes.text(x, y, f"{value:.1f}", ha="center", va="center", fontsize=6.5, color="wk"[int(value > middle)])
    _draw_marks(axes, sweep)
    axes.set_xticks(range(len(grid.confidences)), [f"{value:g}" for value in grid.confidences])
    axes.set_yticks(range(len(grid.overlaps)), [f"{value:g}" for value in grid.overlaps])
    axes.set(xlabel="confidence: least score of an instance", ylabel="overlap: largest covered share of an instance")
    axes.set_title(f"{_name(sweep)} at the best stuff area, {best.stuff_area}; that of the marks at their own is below")


def _draw_marks(axes: Axes, sweep: Sweep) -> None:
    """Outlines around cells, larger where several lie on one; the legend gives each PQ at its own stuff area."""
    grid = sweep.grid
    drawn: dict[tuple[float, float], int] = {}
    for mark, (marker, size) in zip(sweep.marks, _MARKERS.items(), strict=True):
        place = mark.setting.confidence, mark.setting.overlap
        drawn[place] = drawn.get(place, 0) + 1
        x, y = _between(grid.confidences, place[0]), _between(grid.overlaps, place[1])
        size += 8 * (drawn[place] - 1)
        [ring] = axes.plot(x, y, marker, markersize=size, label=_label(mark, sweep), **_RING)
        ring.set_path_effects([patheffects.withStroke(linewidth=3.2, foreground="white")])
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.12), ncols=2, fontsize="small", markerscale=0.4)


def _label(mark: Mark, sweep: Sweep) -> str:
    return f"{mark.name}: {_short(mark.setting)}, {_name(sweep)} {100 * mark.pq[GROUPS.index(sweep.group)]:.2f}"


def _draw_curve(axes: Axes, sweep: Sweep) -> None:
    """Evenly spaced: the areas are about powers of two, and 0."""
    grid = sweep.grid
    for name in (PRESENT, BEST):
        setting = sweep.mark(name).setting
        row = sweep.pq[grid.confidences.index(setting.confidence), grid.overlaps.index(setting.overlap)]
        label = f"{name}: {setting.confidence:g}/{setting.overlap:g}"
        axes.plot(100 * row[:, GROUPS.index(sweep.group)], marker="o", label=label)
    axes.set_xticks(range(len(grid.stuff_areas)), [str(area) for area in grid.stuff_areas])
    axes.set(xlabel="stuff area: least pixels of a stuff segment", title=f"{_name(sweep)} by stuff area")
    axes.grid(alpha=0.3)
    axes.legend(fontsize="small")


def _between(values: tuple[float, ...], value: float) -> float:
    """Where ``value`` lies on an axis on which ``values`` are 0, 1, ..."""
    below = [i for i, known in enumerate(values) if known <= value]
    if not below or below[-1] == len(values) - 1:
        return float(len(below) - 1 if below else 0)
    i = below[-1]
    return i + (value - values[i]) / (values[i + 1] - values[i])


def _places(shape: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    return ((y, x) for y in range(shape[0]) for x in range(shape[1]))


def _short(setting: Setting) -> str:
    return f"{setting.confidence:g}/{setting.overlap:g}/{setting.stuff_area}"


def _name(sweep: Sweep) -> str:
    return {"All": "PQ", "Things": "PQ_Th"}[sweep.group]
