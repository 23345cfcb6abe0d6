"""Write the folder of ``ap --details``; docs/instances.md defines the columns."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any, cast

from panoptic_blend.files import filling, without_nan
from panoptic_blend.formats.parquet import write_parquet
from panoptic_blend.metrics.instance_budget import InstanceBudget
from panoptic_blend.metrics.instance_errors import CAUSES
from panoptic_blend.metrics.instance_matching import IOU_THRESHOLDS
from panoptic_blend.metrics.instance_report import TWELVE
from panoptic_blend.metrics.precision_recall import Curve
from panoptic_blend.scoring.csv_tables import Row, image_column, write_csv
from panoptic_blend.scoring.details import SUMMARY, Resampling, TableFormat
from panoptic_blend.scoring.instance_files import InstanceFiles
from panoptic_blend.scoring.instance_findings import InstanceFindings
from panoptic_blend.scoring.instance_rows import InstanceRows, detection_columns, instance_columns

ALL = "All"
_OF = "category", "of", "by"
_BOUNDS = "difference", "low", "high"


def write_instance_details(
    out: Path,
    files: InstanceFiles,
    findings: InstanceFindings,
    resampling: Resampling,
    table_format: TableFormat = "csv",
    *,
    overwrite: bool = False,
) -> None:
    """Write the folder ``out`` atomically; raises PanopticBlendError unless it is absent, empty, or to ``overwrite``.

    ``table_format`` is the format of the long tables, detections and instances; the other tables are CSV.
    """
    kinds, rows = list(findings.curves), InstanceRows(files, findings.diagnoses)
    image = image_column(files.truth.images.ids)
    with filling(out, overwrite=overwrite) as folder:
        write = write_csv if table_format == "csv" else write_parquet
        write(folder / f"detections.{table_format}", image | detection_columns(kinds), rows.detections())
        write(folder / f"instances.{table_format}", image | instance_columns(kinds), rows.instances())
        write_csv(folder / "classes.csv", *_classes(findings))
        write_csv(folder / "curves.csv", (*_OF, "iou", "recall", "precision", "score"), _curves(findings))
        write_csv(folder / "errors.csv", (*_OF, "cause", "count", "gain", "share"), _errors(findings))
        if findings.compared:
            write_csv(folder / "comparison.csv", (*_OF, "first", "second", *_BOUNDS), _comparison(findings))
        (folder / SUMMARY).write_text(json.dumps(instance_summary(findings, resampling), indent=1), encoding="utf-8")


def instance_summary(findings: InstanceFindings, resampling: Resampling) -> dict[str, Any]:
    """All figures as JSON values."""
    content: dict[str, Any] = {
        **findings.report.figures(),
        "intervals": {
            "method": "normal bootstrap over images",
            **asdict(resampling),
            **{kind: asdict(found) for kind, found in findings.intervals.items()},
        },
    }
    if findings.budgets:
        content["errors"] = {kind: _budget(found.all) for kind, found in findings.budgets.items()}
    if findings.other_report:
        compared = {kind: asdict(found) for kind, found in findings.compared.items()}
        content["comparison"] = {"second": findings.other_report.figures(), **compared}
    return cast(dict[str, Any], without_nan(content))


def _budget(budget: InstanceBudget) -> dict[str, Any]:
    return {
        "AP50": budget.ap50,
        "counts": budget.counts,
        "gains": budget.gains,
        "shares": budget.shares,
        "false_positives": budget.false_positives,
        "false_negatives": budget.false_negatives,
    }


def _classes(findings: InstanceFindings) -> tuple[Row, Iterator[Row]]:
    kinds = list(findings.curves)
    header = ["category", "class", "instances", "detections"]
    for kind in kinds:
        header += [f"{kind}_{name}" for name in (*TWELVE, "AP_low", "AP_high")]

    def rows() -> Iterator[Row]:
        for category in findings.report.categories:
            own = findings.report.per_class[category.id]
            row: list[object] = [category.id, category.name, own.instances, own.detections]
            for kind in kinds:
                interval = findings.intervals[kind].per_class.get(category.id)
                bounds = (interval.low, interval.high) if interval else (None, None)
                row += [*getattr(own, kind).columns().values(), *bounds]
            yield row

    return header, rows()


def _curves(findings: InstanceFindings) -> Iterator[Row]:
    for kind, found in findings.curves.items():
        yield from _curve_rows((None, ALL, kind), found.curve())
        for position, category in enumerate(findings.report.categories):
            if findings.report.per_class[category.id].instances:
                yield from _curve_rows((category.id, category.name, kind), found.curve(position))


def _curve_rows(of: Row, curve: Curve) -> Iterator[Row]:
    for threshold, precisions, scores in zip(IOU_THRESHOLDS, curve.precision, curve.scores, strict=True):
        for row in zip(curve.recalls.tolist(), precisions.tolist(), scores.tolist(), strict=True):
            yield *of, round(float(threshold), 2), *row


def _errors(findings: InstanceFindings) -> Iterator[Row]:
    for kind, budget in findings.budgets.items():
        yield from _error_rows((None, ALL, kind), budget.all)
        for category in findings.report.categories:
            yield from _error_rows((category.id, category.name, kind), budget.per_class[category.id])


def _error_rows(of: Row, budget: InstanceBudget) -> Iterator[Row]:
    for cause in CAUSES:
        yield *of, cause, budget.counts[cause], budget.gains[cause], budget.shares[cause]
    yield *of, "false positives", None, budget.false_positives, None
    yield *of, "false negatives", None, budget.false_negatives, None


def _comparison(findings: InstanceFindings) -> Iterator[Row]:
    """AP of all classes and of each class in both result sets, and the difference with its interval."""
    assert findings.other_report
    first, second = findings.report, findings.other_report
    for kind, found in findings.compared.items():
        overall = getattr(first, kind).ap, getattr(second, kind).ap
        yield None, ALL, kind, *overall, *astuple(found.figures["AP"])
        for category in first.categories:
            if interval := found.per_class.get(category.id):
                both = (getattr(each.per_class[category.id], kind).ap for each in (first, second))
                yield category.id, category.name, kind, *both, *astuple(interval)
