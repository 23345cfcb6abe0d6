"""Tables of ``ap`` for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.table import Table

from panoptic_blend.metrics.instance_budget import InstanceErrorBudget
from panoptic_blend.metrics.instance_errors import CAUSES
from panoptic_blend.metrics.instance_report import TWELVE, Kind
from panoptic_blend.scoring.instance_findings import InstanceFindings
from panoptic_blend.scoring.instance_tables import class_tables
from panoptic_blend.terminal import percent, right_aligned

_PLURALS: dict[Kind, str] = {"box": "boxes", "mask": "masks"}


def ap_tables(findings: InstanceFindings, *, per_class: bool = False) -> Iterator[Table]:
    """Yield the tables of the figures, with ``per_class`` of each class too, and of errors if they were asked for."""
    if per_class:
        yield from class_tables(findings.report)
    yield figure_table(findings)
    for kind, budget in findings.budgets.items():
        yield error_table(budget, kind)


def figure_table(findings: InstanceFindings) -> Table:
    """The twelve figures of boxes and masks, with bootstrap intervals."""
    kinds = list(findings.curves)
    table = right_aligned("", *(_PLURALS[kind] for kind in kinds), title="COCO's figures of instances")
    columns = [getattr(findings.report, kind).columns() for kind in kinds]
    for name in TWELVE:
        table.add_row(name, *(percent(column[name]) for column in columns))
    return table


def error_table(budget: InstanceErrorBudget, kind: Kind) -> Table:
    """The causes of errors, the costliest first: errors, AP50 that is won by repairing the cause, share of the loss."""
    found = budget.all
    title = f"Points of AP50 lost by {_PLURALS[kind]}: {percent(1 - found.ap50)}"
    table = right_aligned("cause", "errors", "lost", "won if repaired alone", title=title)
    for cause in sorted(CAUSES, key=lambda cause: -found.shares[cause]):
        figures = percent(found.shares[cause]), percent(found.gains[cause])
        table.add_row(cause, f"{found.counts[cause]:,}", *figures)
    for name, gain in ("all false positives", found.false_positives), ("all false negatives", found.false_negatives):
        table.add_row(name, "", "", percent(gain))
    return table
