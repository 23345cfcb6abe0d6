"""Plot the losses, the PQ and the AP of a training run."""

from __future__ import annotations

from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from panoptic_blend.files import replacing
from panoptic_blend.training.log import read_log

_QUALITIES = ("PQ", "PQ_Th", "PQ_St", "AP_box", "AP_Th")


def draw_curves(folder: Path) -> Path:
    """Draw every loss term, PQ and AP from the log in ``folder``, as ``curves.png``; return its path."""
    records = read_log(folder)
    figure = Figure(figsize=(10, 4), layout="constrained")
    FigureCanvasAgg(figure)
    losses, qualities = figure.subplots(1, 2, sharex=True)
    steps = [record for record in records if "loss" in record]
    for name in sorted({name for record in steps for name in record if name.startswith("loss")}):
        points = [(record["iteration"], record[name]) for record in steps if name in record]
        label = "sum" if name == "loss" else name.removeprefix("loss_")
        losses.plot(*zip(*points, strict=True), label=label, linewidth=1.6 if name == "loss" else 0.8)
    for name in _QUALITIES:
        if points := [(record["iteration"], 100 * record[name]) for record in records if record.get(name) is not None]:
            qualities.plot(*zip(*points, strict=True), marker="o", label=name)
    losses.set(title="loss", xlabel="iteration", yscale="log")
    of_average = any(record.get("weights") == "averaged" for record in records)
    title = "quality in percent" + (", averaged weights" if of_average else "")
    qualities.set(title=title, xlabel="iteration", ylim=(0, 100))
    for axes in (losses, qualities):
        axes.grid(alpha=0.3)
        if axes.lines:
            axes.legend(fontsize="small")
    path = folder / "curves.png"
    with replacing(path) as temporary:
        figure.savefig(temporary, dpi=120)
    return path
