"""Tables of metrics for a terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.markup import escape
from rich.table import Table

from panoptic_blend.files import printable
from panoptic_blend.metrics.panoptic_quality import GROUPS, PanopticReport
from panoptic_blend.terminal import percent, right_aligned


def quality_table(report: PanopticReport) -> Table:
    """PQ, SQ and RQ in percent, averaged over all, thing and stuff classes."""
    table = right_aligned("", "PQ", "SQ", "RQ", "classes", title="Panoptic quality")
    for group in GROUPS:
        quality = report[group]
        figures = (percent(value) for value in (quality["pq"], quality["sq"], quality["rq"]))
        table.add_row(group, *figures, str(quality["n"]))
    return table


def class_table(report: PanopticReport) -> Table:
    """PQ, SQ and RQ in percent, and TP, FP and FN, of every class that occurs."""
    table = right_aligned("category", "kind", "PQ", "SQ", "RQ", "TP", "FP", "FN", words=2)
    for category in report.categories:
        quality = report.per_class[category.id]
        counts = quality["tp"], quality["fp"], quality["fn"]
        if any(counts):
            figures = (percent(value) for value in (quality["pq"], quality["sq"], quality["rq"]))
            kind = "thing" if category.is_thing else "stuff"
            table.add_row(escape(printable(category.name)), kind, *figures, *map(str, counts))
    return table


def column_table(columns: Mapping[str, float]) -> Table:
    """The columns of BlendMask's appendix A, table 1, in percent."""
    table = right_aligned(*columns, title="All metrics", words=0)
    table.add_row(*map(percent, columns.values()))
    return table


def nothing_to_score(report: PanopticReport) -> str | None:
    """A line that explains the dashes of a report over nothing; None for all others."""
    if report["All"]["n"]:
        return None
    return "nothing to score: truth and results have no segment that counts (void and crowds do not)"
