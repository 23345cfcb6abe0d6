"""Tables of ``ap`` for a terminal."""

from __future__ import annotations

from collections.abc import Iterator

from rich.markup import escape
from rich.table import Table

from panoptic_blend.files import printable
from panoptic_blend.metrics.instance_budget import InstanceErrorBudget
from panoptic_blend.metrics.instance_errors import CAUSES
from panoptic_blend.metrics.instance_report import TWELVE, Kind
from panoptic_blend.scoring.detail_tables import bounds, rare_line, share_of_resamples
from panoptic_blend.scoring.instance_findings import InstanceFindings
from panoptic_blend.scoring.instance_tables import class_tables
from panoptic_blend.table_formats import Figures
from panoptic_blend.terminal import percent, right_aligned

_PLURALS: dict[Kind, str] = {"box": "boxes", "mask": "masks"}


def ap_tables(findings: InstanceFindings, *, per_class: bool = False) -> Iterator[Table]:
    """Yield the tables of the figures, and of errors and of a comparison if they were asked for.

    ``per_class`` adds those of every class.
    """
    if per_class:
        yield from class_tables(findings.report)
    yield figure_table(findings)
    for kind, budget in findings.budgets.items():
        yield error_table(budget, kind)
    for kind in findings.compared:
        yield comparison_table(findings, kind)
    if findings.compared:
        yield class_comparison_table(findings, list(findings.compared)[-1])


def figure_table(findings: InstanceFindings) -> Table:
    """The twelve figures of boxes and masks, with bootstrap intervals."""
    kinds = list(findings.curves)
    headings = [heading for kind in kinds for heading in (_PLURALS[kind], "interval")]
    table = right_aligned("", *headings, title="COCO's figures of instances, with bootstrap intervals")
    for name in TWELVE:
        found = [findings.intervals[kind].figures[name] for kind in kinds]
        table.add_row(name, *(cell for interval in found for cell in (percent(interval.value), bounds(interval))))
    return table


def comparison_table(findings: InstanceFindings, kind: Kind) -> Table:
    """The twelve figures of both result sets by ``kind``, and their difference."""
    assert findings.other_report
    headings = "first", "second", "difference", "interval", "second better in"
    table = right_aligned("", *headings, title=f"Second result set minus the first, by {_PLURALS[kind]}")
    first, second = (getattr(each, kind).columns() for each in (findings.report, findings.other_report))
    found = findings.compared[kind]
    for name in TWELVE:
        difference = found.figures[name]
        figures = percent(first[name]), percent(second[name]), percent(difference.value, "+.2f")
        table.add_row(
            name, *figures, bounds(difference, signed=True), share_of_resamples(found.better[name], difference)
        )
    return table


def class_comparison_table(findings: InstanceFindings, kind: Kind, classes: int = 10) -> Table:
    """The classes whose AP by ``kind`` differs most between both result sets, of those with an interval."""
    assert findings.other_report
    title = f"Classes with the largest difference in AP of {_PLURALS[kind]}"
    table = right_aligned("category", "first", "second", "difference", "interval", title=title)
    found = findings.compared[kind]
    known = [category for category in findings.report.categories if category.id in found.per_class]
    known = [category for category in known if category.id not in found.too_rare]
    for category in sorted(known, key=lambda category: -abs(found.per_class[category.id].value))[:classes]:
        first, second = (
            getattr(each.per_class[category.id], kind).ap for each in (findings.report, findings.other_report)
        )
        interval = found.per_class[category.id]
        figures = percent(first), percent(second), percent(interval.value, "+.2f"), bounds(interval, signed=True)
        table.add_row(escape(printable(category.name)), *figures)
    return table


def rare_instance_classes(findings: InstanceFindings) -> str | None:
    """A line that names the classes with instances in too few images for an interval; None if there are none."""
    found = findings.intervals["box"]
    return rare_line(found.too_rare, len(found.per_class), findings.report.categories, "means over classes")


def error_table(budget: InstanceErrorBudget, kind: Kind) -> Table:
    """The causes of errors, the costliest first: errors, AP50 that is won by repairing the cause, share of the loss."""
    found = budget.all
    title = f"Points of AP50 lost by {_PLURALS[kind]}: {percent(1 - found.ap50)}"
    table = right_aligned("cause", "errors", "lost", "won if repaired alone", title=title)
    for cause in sorted(CAUSES, key=lambda cause: -found.shares[cause]):
        figures = percent(found.shares[cause]), percent(found.gains[cause])
        count = found.counts[cause]
        table.add_row(cause, Figures(f"{count:,}", {"": str(count)}), *figures)
    for name, gain in ("all false positives", found.false_positives), ("all false negatives", found.false_negatives):
        table.add_row(name, "", "", percent(gain))
    return table
