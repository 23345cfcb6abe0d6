"""Reports as text and as HTML, for consoles and notebooks."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from panoptic_blend.metrics.panoptic_quality import PanopticReport, Quality

_COLUMNS = "", "PQ", "SQ", "RQ", "TP", "FP", "FN"


def report_text(report: PanopticReport) -> str:
    """One table of the groups and of all classes that occur, in percent, with aligned columns."""
    rows = [_COLUMNS, *_rows(report)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_COLUMNS))]
    names = [row[0].ljust(widths[0]) for row in rows]
    figures = (" ".join(x.rjust(width + 1) for x, width in zip(row[1:], widths[1:], strict=True)) for row in rows)
    return "\n".join(f"{name}{line}".rstrip() for name, line in zip(names, figures, strict=True))


def report_html(report: PanopticReport) -> str:
    """The table of `report_text` as HTML, in which names are escaped."""
    head, *rows = (
        "<tr>" + "".join(f"<{tag}>{escape(cell)}</{tag}>" for cell in row) + "</tr>"
        for tag, row in [("th", _COLUMNS), *(("td", row) for row in _rows(report))]
    )
    return f"<table><thead>{head}</thead><tbody>{''.join(rows)}</tbody></table>"


def _rows(report: PanopticReport) -> Iterable[Sequence[str]]:
    for group, means in report.groups.items():
        yield f"{group} ({means['n']} classes)", *_percent(means), "", "", ""
    for category in report.categories:
        if report.occurs(category.id):
            found = report.per_class[category.id]
            yield " ".join(category.name.split()), *_percent(found), *(str(found[key]) for key in ("tp", "fp", "fn"))


def _percent(quality: Quality) -> list[str]:
    figures = quality["pq"], quality["sq"], quality["rq"]
    return ["-" if math.isnan(figure) else f"{100 * figure:.1f}" for figure in figures]
