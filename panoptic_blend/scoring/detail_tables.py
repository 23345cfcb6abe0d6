"""Tables of ``pq --details`` and ``pq --compare`` for a terminal."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Iterator, Mapping

from rich.markup import escape
from rich.table import Table

from panoptic_blend.files import printable
from panoptic_blend.metrics.causes import Cause
from panoptic_blend.metrics.error_budget import ErrorBudget
from panoptic_blend.metrics.panoptic_quality import GROUPS, PanopticReport
from panoptic_blend.metrics.resampling import ENOUGH_IMAGES, Interval, Intervals, PairedComparison
from panoptic_blend.scoring.details import Findings
from panoptic_blend.scoring.tables import class_table, quality_table
from panoptic_blend.structures import Category, ImageId
from panoptic_blend.table_formats import NOTHING, Figures
from panoptic_blend.terminal import percent, right_aligned


def all_tables(findings: Findings) -> Iterator[Table]:
    """Yield all tables of scored results: classes, groups, `detail_tables`, and `comparison_tables` if compared."""
    yield class_table(findings.report)
    yield quality_table(findings.report)
    yield from detail_tables(findings)
    if findings.compared and findings.other_report:
        reports = findings.report, findings.other_report
        yield from comparison_tables(findings.compared, reports, findings.file_names)


def detail_tables(findings: Findings) -> Iterator[Table]:
    """Yield the tables of intervals and Boundary PQ, sizes, and the error budget, in percent."""
    yield interval_table(findings.intervals, findings.boundary)
    yield size_table(findings.sizes)
    yield budget_table(findings.budget)


def interval_table(found: Intervals, boundary: PanopticReport | None) -> Table:
    """PQ of the groups with bootstrap intervals, and Boundary PQ if computed."""
    table = right_aligned(
        "", "PQ", "interval", *(["Boundary PQ"] if boundary else []), title="PQ with bootstrap interval"
    )
    for group in GROUPS:
        interval = found.groups[group]
        boundary_pq = [percent(boundary[group]["pq"])] if boundary else []
        table.add_row(group, percent(interval.value), bounds(interval), *boundary_pq)
    return table


def rare_classes(findings: Findings) -> str | None:
    """A line that names the classes in too few images for an interval; None if there are none."""
    found = findings.intervals
    return rare_line(found.too_rare, len(found.per_class), findings.report.categories, "groups")


def rare_line(too_rare: Collection[int], total: int, categories: Iterable[Category], means: str) -> str | None:
    """A line that names the classes ``too_rare`` for an interval, which spoil those of the ``means``; None without."""
    if not too_rare:
        return None
    names = [printable(category.name) for category in categories if category.id in set(too_rare)]
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return (
        f"{len(names)} of {total} classes occur in fewer than {ENOUGH_IMAGES} images, too few for an "
        f"interval, and make those of the {means} unreliable: {', '.join(names[:5])}{more}"
    )


def size_table(sizes: dict[str, PanopticReport]) -> Table:
    """PQ, SQ and RQ of small, medium and large segments."""
    heads = [f"{figure} {size}" for size in sizes for figure in ("PQ", "SQ", "RQ")]
    table = right_aligned("", *heads, title="Quality by segment size")
    for group in GROUPS:
        qualities = [report[group] for report in sizes.values()]
        table.add_row(group, *(percent(value) for q in qualities for value in (q["pq"], q["sq"], q["rq"])))
    return table


def budget_table(budget: ErrorBudget) -> Table:
    """Points lost to each cause, the largest first, and PQ if that cause alone were repaired."""
    table = right_aligned(
        "cause", *(f"{group} lost" for group in GROUPS), "PQ if repaired", title="Points of PQ lost to each cause"
    )
    causes = sorted(Cause, key=lambda cause: -budget.groups["All"].lost[cause])
    for cause in causes:
        lost = (percent(budget.groups[group].lost[cause]) for group in GROUPS)
        table.add_row(cause, *lost, percent(budget.groups["All"].repaired[cause]))
    return table


def comparison_tables(
    compared: PairedComparison,
    reports: tuple[PanopticReport, PanopticReport],
    file_names: Mapping[ImageId, str],
    images: int = 10,
) -> Iterator[Table]:
    """Yield the tables of both PQs and their differences, and of the images that differ most."""
    table = right_aligned(
        "",
        "first PQ",
        "second PQ",
        "difference",
        "interval",
        "second better in",
        title="Second result set minus the first",
    )
    for group in GROUPS:
        interval = compared.groups[group]
        better = share_of_resamples(compared.better[group], interval)
        both = (percent(report[group]["pq"]) for report in reports)
        table.add_row(group, *both, percent(interval.value, "+.2f"), bounds(interval, signed=True), better)
    yield table
    table = right_aligned("image", "first", "second", "difference", title="Images with the largest difference in PQ")
    for image in [image for image in compared.images if not math.isnan(image.difference)][:images]:
        figures = f"{100 * image.first:.1f}", f"{100 * image.second:.1f}", f"{100 * image.difference:+.1f}"
        table.add_row(escape(printable(file_names.get(image.image) or str(image.image))), *figures)
    yield table


def share_of_resamples(better: float, difference: Interval) -> Figures:
    """The share of resamples in which the second result set is ``better``; a dash for a ``difference`` of nothing."""
    if math.isnan(difference.value):
        return Figures(NOTHING, {"%": ""})
    share = percent(better)
    return Figures(f"{share}% of resamples", {"%": share})


def bounds(interval: Interval, *, signed: bool = False) -> Figures:
    if math.isnan(interval.value):
        return Figures(NOTHING, {"low": "", "high": ""})
    low, high = (percent(bound, "+.2f" if signed else ".1f") for bound in (interval.low, interval.high))
    return Figures(f"{low} to {high}", {"low": low, "high": high})
