"""Tables of COCO's twelve figures for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Literal

from rich.markup import escape
from rich.table import Table

from panoptic_blend.files import printable
from panoptic_blend.metrics.instance_report import KINDS, TWELVE, InstanceFigures, InstanceReport, Kind
from panoptic_blend.terminal import percent, right_aligned

_PRECISIONS = tuple(name for name in TWELVE if name.startswith("AP"))
_RECALLS = tuple(name for name in TWELVE if name.startswith("AR"))

InstanceTruth = Literal["instances", "panoptic"]
"""The annotation that is the truth of AP: that of COCO's instances, or the things of panoptic maps.

Only AP against instances is comparable with published figures: in panoptic maps, instances do not overlap.
"""


def instance_tables(report: InstanceReport, truth: InstanceTruth = "instances") -> Iterator[Table]:
    """COCO's twelve figures in percent: a table of average precisions, and one of average recalls."""
    for name, columns in (("precision", _PRECISIONS), ("recall", _RECALLS)):
        table = right_aligned("", *columns, title=f"Average {name} (truth: {truth})")
        for kind in KINDS:
            if figures := getattr(report, kind):
                table.add_row(kind, *_percents(figures, columns))
        yield table


def class_tables(report: InstanceReport, truth: InstanceTruth = "instances") -> Iterator[Table]:
    """Average precisions and AR100 of every class in the truth or the results: a table by box and one by mask."""
    for kind in KINDS:
        if getattr(report, kind):
            yield _class_table(report, kind, truth)


def _class_table(report: InstanceReport, kind: Kind, truth: InstanceTruth) -> Table:
    columns = *_PRECISIONS, "AR100"
    table = right_aligned("category", "instances", *columns, title=f"Classes by {kind} (truth: {truth})")
    for category in report.categories:
        own = report.per_class[category.id]
        if own.instances or own.detections:
            figures = _percents(getattr(own, kind), columns)
            table.add_row(escape(printable(category.name)), str(own.instances), *figures)
    return table


def _percents(figures: InstanceFigures, names: Sequence[str]) -> Iterator[str]:
    found = figures.columns()
    return (percent(found[name]) for name in names)
