"""Print a table of the BlendMask paper: what is stated of its rows, and what is measured of those with weights.

    python -m evaluation.tables --table 8
    python -m evaluation.tables --table 8 --data datasets/coco --weights blendmask_r50_3x=R_50_3x.pth

``--weights`` names a row, as the column ``row`` lists them, and a file of weights or the name of known ones. Measured
rows are kept as JSON in ``--output``, so an interrupted command continues with the next row, and another format costs
nothing. Their figures are on the split ``--split`` of ``--data``, with 95% bootstrap intervals over the images. Their
time is the median of 50 pictures after 5 that do not count: one picture at a time, from its pixels in memory to all
results, with the resizing and the fusion.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.markup import escape
from rich.table import Table

from evaluation.paper_tables import PaperRow, PaperTable, Stated, paper_tables, sources
from evaluation.row_measurement import TIMED, WARM_UP, Job, Measured, measure
from panoptic_blend.cli import options
from panoptic_blend.cli.running import guarded, stoppable
from panoptic_blend.files import locked
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.table_formats import NOTHING, Figures
from panoptic_blend.terminal import print_tables, right_aligned

Number = Literal["1", "2", "3", "4", "5", "6", "7", "8", "9", "A1"]


def tables(
    table: Annotated[Number, typer.Option(help="Number of the table in the paper.")],
    data: Annotated[Path | None, typer.Option(help="Data set in COCO's layout, for rows with weights.")] = None,
    weights: Annotated[
        list[str] | None,
        typer.Option(metavar="ROW=FILE", help="Measure a row with a file of weights or known ones; may be repeated."),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Argument(help="Changes to the configs of measured rows: key=value ...")
    ] = None,
    split: Annotated[str, typer.Option(help="Split to measure on.")] = "val2017",
    output: Annotated[Path, typer.Option(help="Folder for what is measured.")] = Path("runs/tables"),
    device: options.Device = "auto",
    precision: options.NetworkPrecision = "32-true",
    form: options.Format = None,
) -> None:
    """Print a table of the BlendMask paper, with measured rows."""
    paper = paper_tables()[table]
    given = _weights(table, paper, weights or ())
    if given and data is None:
        raise PanopticBlendError("--weights needs a data set; add --data DIR")
    changes = [f"data.root={data}", f"data.val={split}", *(overrides or ())]
    measured = {}
    with stoppable("interrupted; run the same command again to continue"), locked(output, "--output"):
        for row, source in given.items():
            job = Job(paper.rows[row], source, changes, device, precision)
            measured[row] = measure(job, output / table / f"{row}.json")
    tables_as = options.table_format(form)
    shown = _table(paper, measured, with_names=tables_as == "text")
    print_tables(shown, form=tables_as, remarks=_remarks(paper, measured, f"{data} {split}"))


def _weights(number: str, table: PaperTable, given: Sequence[str]) -> dict[str, str]:
    """The source of weights of each row that has some."""
    found: dict[str, str] = {}
    for item in given:
        name, equals, source = item.partition("=")
        if not (equals and source):
            raise PanopticBlendError(f"--weights {item}: is not ROW=FILE; write it like blender=last.safetensors")
        measurable = [row.name for row in table.rows.values() if row.config]
        if name not in measurable:
            close = difflib.get_close_matches(name, measurable, n=1)
            problem = "has no config for this row, which is quoted" if name in table.rows else "has no such row"
            remedy = f"did you mean {close[0]}?" if close else f"choose one of {', '.join(measurable)}"
            raise PanopticBlendError(f"--weights {name}: table {number} {problem}; {remedy}")
        if name in found:
            raise PanopticBlendError(f"--weights {name}: is given twice; give one file for each row")
        found[name] = source
    return found


def _table(paper: PaperTable, measured: Mapping[str, Measured], *, with_names: bool) -> Table:
    """A line for each source of figures of a row, and one for its measured figures."""
    names = (["row"] if with_names else []) + [*paper.words, "by"]
    columns = ["time, ms" if name == "time" else name for name in paper.figures]
    table = right_aligned(*names, *columns, title=paper.title, words=len(names))
    with_interval = {name for one in measured.values() for name in one.intervals}
    for row in paper.rows.values():
        words = [escape(word) for word in ([row.name] if with_names else []) + list(row.cells)]
        for by, cells in _lines(row, paper.figures, measured.get(row.name), with_interval):
            table.add_row(*words, by, *cells)
    return table


def _lines(
    row: PaperRow, columns: Sequence[str], measured: Measured | None, with_interval: set[str]
) -> Iterator[tuple[str, list[str | Figures]]]:
    """The source and the cells of every line of a row; one of dashes for a row of which nothing is known."""
    for source, stated in row.stated.items():
        yield source, [_stated_cell(stated, name, name in with_interval) for name in columns]
    if measured:
        yield "measured", [_measured_cell(measured, name, name in with_interval) for name in columns]
    elif not row.stated:
        yield NOTHING, [_stated_cell({}, name, name in with_interval) for name in columns]


def _stated_cell(stated: Stated, name: str, has_interval: bool) -> str | Figures:
    value = stated.get(name)
    text = NOTHING if value is None else str(value)
    return _with_interval(text, None) if has_interval else text


def _measured_cell(measured: Measured, name: str, has_interval: bool) -> str | Figures:
    if name == "time":
        return f"{measured.milliseconds:.1f}"
    value = measured.figures.get(name)
    text = NOTHING if value is None else f"{100 * value:.1f}"
    return _with_interval(text, measured.intervals.get(name)) if has_interval else text


def _with_interval(text: str, interval: tuple[float | None, float | None] | None) -> Figures:
    low, high = interval or (None, None)
    value = "" if text == NOTHING else text
    if low is None or high is None:
        return Figures(text, {"": value, "low": "", "high": ""})
    bounds = f"{100 * low:.1f}", f"{100 * high:.1f}"
    return Figures(f"{text} ({bounds[0]} to {bounds[1]})", {"": value, "low": bounds[0], "high": bounds[1]})


def _remarks(paper: PaperTable, measured: Mapping[str, Measured], data: str) -> list[str]:
    """Lines about the table, its sources, and how rows were measured."""
    used = dict.fromkeys(source for row in paper.rows.values() for source in row.stated)
    lines = [*paper.notes, *(f"{source}: {sources()[source]}" for source in used)]
    if any(not row.stated and row.name not in measured for row in paper.rows.values()):
        lines.append("-: no source that states the figures could be read; give weights to measure the row")
    for how in dict.fromkeys((m.images, m.truth, m.device) for m in measured.values()):
        images, truth, device = how
        lines.append(
            f"measured: {images} images of {data}, AP against its annotation of {truth}, 95% intervals in brackets; "
            f"time: median of {TIMED} pictures after {WARM_UP}, one at a time, on {device}"
        )
    return lines


if __name__ == "__main__":
    guarded(lambda: typer.run(tables))
