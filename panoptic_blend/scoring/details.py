"""Compute all detailed metrics and write them as tables and a summary; docs/evaluation.md defines the columns."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal, cast

from panoptic_blend.files import filling, without_nan
from panoptic_blend.formats.parquet import write_parquet
from panoptic_blend.metrics.causes import Cause
from panoptic_blend.metrics.confusion import confusion
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.error_budget import ErrorBudget, error_budget
from panoptic_blend.metrics.panoptic_quality import PanopticReport
from panoptic_blend.metrics.resampling import Intervals, PairedComparison, compare_results, image_qualities, intervals
from panoptic_blend.metrics.sparse import Integers
from panoptic_blend.scoring.csv_tables import Row, image_column, known, write_csv
from panoptic_blend.scoring.further import quality_rows
from panoptic_blend.scoring.sections import Section, summaries
from panoptic_blend.structures import Category, ImageId

NO_CLASS = "(none)"
"""Name of row and column 0 of a confusion matrix."""

SUMMARY = "summary.json"
"""The file of a folder of tables by which the folder is recognized."""

TableFormat = Literal["csv", "parquet"]


@dataclass(frozen=True)
class Resampling:
    """Bootstrap options: number of resamples, confidence level of the interval, and seed."""

    resamples: int = 1000
    level: float = 0.95
    seed: int = 0


@dataclass(frozen=True)
class Findings:
    """All metrics of one result set, and its comparison with another if there is one."""

    report: PanopticReport
    boundary: PanopticReport | None
    intervals: Intervals
    sizes: dict[str, PanopticReport]
    budget: ErrorBudget
    compared: PairedComparison | None
    file_names: Mapping[ImageId, str]
    """Of the pictures, as far as they are known."""
    other_report: PanopticReport | None = None
    """Of the result set that is compared."""


def compute_findings(
    details: PanopticDetails,
    other: PanopticDetails | None,
    resampling: Resampling,
    file_names: Mapping[ImageId, str] | None = None,
) -> Findings:
    """Compute all metrics; ``other`` is a result set for the same images, to be compared with the first."""
    options, tallies = asdict(resampling), details.tallies()
    return Findings(
        report=details.compute(),
        boundary=details.compute(boundary=True) if details.boundary else None,
        intervals=intervals(tallies, **options),
        sizes=details.by_size(),
        budget=error_budget(details),
        compared=None if other is None else compare_results(tallies, other.tallies(), **options),
        file_names=file_names or {},
        other_report=None if other is None else other.compute(),
    )


def write_details(
    out: Path,
    details: PanopticDetails,
    findings: Findings,
    resampling: Resampling,
    table_format: TableFormat = "csv",
    *,
    sections: Sequence[Section] = (),
    overwrite: bool = False,
) -> None:
    """Write the folder ``out`` atomically; raises PanopticBlendError unless it is absent, empty, or to ``overwrite``.

    ``table_format`` is the format of the long tables, segments and images; the other tables are CSV.
    """
    names = {id: category.name for id, category in details.categories.items()}
    files = findings.file_names
    image = image_column(details.images)
    matrices = confusion(details)
    with filling(out, overwrite=overwrite) as folder:
        write = write_csv if table_format == "csv" else write_parquet
        write(folder / f"segments.{table_format}", image | _SEGMENT_COLUMNS, _segment_rows(details, names, files))
        write(folder / f"images.{table_format}", image | _IMAGE_COLUMNS, _image_rows(details, files))
        write_csv(folder / "classes.csv", *_classes(findings))
        write_csv(
            folder / "errors.csv",
            ("category", "of", "cause", "lost", "pq_if_mended"),
            _error_rows(findings.budget, names),
        )
        write_csv(folder / "sizes.csv", _SIZE_COLUMNS, _size_rows(findings))
        _write_matrix(folder / "confusion_pixels.csv", matrices.categories, matrices.pixels)
        _write_matrix(folder / "confusion_segments.csv", matrices.categories, matrices.segments)
        if findings.compared:
            rows = [
                (i.image, *map(known, (i.first, i.second, i.difference)), files.get(i.image))
                for i in findings.compared.images
            ]
            write_csv(folder / "comparison.csv", ("image", "pq_first", "pq_second", "difference", "file_name"), rows)
        for file in (file for section in sections for file in section.files()):
            write_csv(folder / file.name, file.header, file.rows)
        content = summary(findings, resampling, sections)
        (folder / SUMMARY).write_text(json.dumps(content, indent=1), encoding="utf-8")


def summary(findings: Findings, resampling: Resampling, sections: Iterable[Section] = ()) -> dict[str, Any]:
    """All metrics of groups and classes, as JSON values."""
    content: dict[str, Any] = {
        **findings.report.figures(),
        "intervals": {
            "method": "studentized bootstrap over images",
            **asdict(resampling),
            **asdict(findings.intervals),
        },
        "sizes": {size: report.groups for size, report in findings.sizes.items()},
        "errors": {
            group: {"pq": budget.pq, "lost": budget.lost, "mended": budget.repaired}
            for group, budget in findings.budget.groups.items()
        },
    }
    if findings.boundary:
        content["boundary"] = findings.boundary.groups
    if findings.compared:
        content["comparison"] = {key: asdict(findings.compared)[key] for key in ("groups", "per_class", "better")}
    if findings.other_report:
        content["comparison"]["second"] = findings.other_report.groups
    content |= summaries(sections)
    return cast(dict[str, Any], without_nan(content))


_SEGMENT_COLUMNS: dict[str, type] = {
    "side": str,
    "segment": int,
    "category": int,
    "class": str,
    "area": int,
    "iou": float,
    "outcome": str,
    "matched_with": int,
    "cause": str,
    "nearest": int,
    "nearest_class": str,
    "nearest_iou": float,
    "file_name": str,
}
_IMAGE_COLUMNS: dict[str, type] = {"pq": float, "tp": int, "fp": int, "fn": int, "file_name": str}
_SIZE_COLUMNS = "size", "category", "of", "pq", "sq", "rq", "tp", "fp", "fn"


def _segment_rows(details: PanopticDetails, names: Mapping[int, str], files: Mapping[ImageId, str]) -> Iterable[Row]:
    for row in details.segments():
        nearest = None if row.nearest_category is None else names[row.nearest_category]
        yield (
            *(row.image, row.side, row.segment, row.category, names[row.category], row.area, row.iou, row.outcome),
            *(row.matched_with, row.cause, row.nearest, nearest, row.nearest_iou, files.get(row.image)),
        )


def _image_rows(details: PanopticDetails, files: Mapping[ImageId, str]) -> Iterable[Row]:
    tallies = details.tallies()
    counts = [array.sum(axis=1).astype(int).tolist() for array in (tallies.tp, tallies.fp, tallies.fn)]
    qualities = map(known, image_qualities(tallies).tolist())
    return zip(tallies.images, qualities, *counts, map(files.get, tallies.images), strict=True)


def _classes(findings: Findings) -> tuple[Row, Iterable[Row]]:
    header = ["category", "class", "kind", "pq", "sq", "rq", "tp", "fp", "fn", "pq_low", "pq_high"]
    if findings.boundary:
        header.append("boundary_pq")
    rows = []
    for category in findings.report.categories:
        quality, interval = findings.report.per_class[category.id], findings.intervals.per_class.get(category.id)
        row: list[object] = [category.id, category.name, "thing" if category.is_thing else "stuff"]
        figures = (quality["pq"], quality["sq"], quality["rq"]) if findings.report.occurs(category.id) else [None] * 3
        row += [*figures, quality["tp"], quality["fp"], quality["fn"]]
        row += [interval.low, interval.high] if interval else [None, None]
        if findings.boundary:
            occurs = findings.boundary.occurs(category.id)
            row.append(findings.boundary.per_class[category.id]["pq"] if occurs else None)
        rows.append(row)
    return header, rows


def _error_rows(budget: ErrorBudget, names: Mapping[int, str]) -> Iterable[Row]:
    named = [(None, group, found) for group, found in budget.groups.items()]
    for category, name, found in [*named, *((id, names[id], found) for id, found in budget.per_class.items())]:
        for cause in Cause:
            yield category, name, cause, found.lost[cause], found.repaired[cause]


def _size_rows(findings: Findings) -> Iterable[Row]:
    return ((size, *row) for size, report in findings.sizes.items() for row in quality_rows(report))


def _write_matrix(path: Path, categories: Sequence[Category], matrix: Integers) -> None:
    names = [NO_CLASS, *(category.name for category in categories)]
    rows = [(name, *row) for name, row in zip(names, matrix.tolist(), strict=True)]
    write_csv(path, ("truth \\ prediction", *names), rows)
