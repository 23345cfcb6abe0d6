"""Metrics of a report, in the form that the script of the page reads; docs/evaluation.md defines them."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any, cast

import numpy as np

from panoptic_blend.files import without_nan
from panoptic_blend.metrics.causes import Cause
from panoptic_blend.metrics.confusion import confusion
from panoptic_blend.metrics.covering import parsing_covering
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.error_budget import Budget
from panoptic_blend.metrics.map_iou import map_iou
from panoptic_blend.metrics.pq_dagger import pq_dagger
from panoptic_blend.metrics.resampling import Interval, compare_results, image_qualities
from panoptic_blend.metrics.sparse import Integers
from panoptic_blend.metrics.thresholds import STRICTER, quality_at
from panoptic_blend.scoring.csv_tables import known
from panoptic_blend.scoring.details import Resampling, compute_findings
from panoptic_blend.scoring.groups import Columns, group_quality


def result_figures(details: PanopticDetails, resampling: Resampling) -> dict[str, Any]:
    """All metrics of one result set, including those of its images by ascending id."""
    findings = compute_findings(details, None, resampling)
    tallies, matrices = details.tallies(), confusion(details)
    counts = [array.sum(axis=1).astype(int).tolist() for array in (tallies.tp, tallies.fp, tallies.fn)]
    classes = {}
    for category in findings.report.categories:
        quality, interval = findings.report.per_class[category.id], findings.intervals.per_class.get(category.id)
        if interval:
            row: dict[str, Any] = {key: quality[key] for key in ("pq", "sq", "rq", "tp", "fp", "fn")}
            row |= {"rare": category.id in findings.intervals.too_rare}
            classes[category.id] = row | _bounds(interval) | _budget(findings.budget.per_class[category.id])
    groups = {}
    for group, means in findings.report.groups.items():
        extra = _bounds(findings.intervals.groups[group]) | _budget(findings.budget.groups[group])
        groups[group] = {**means, **extra}
    figures = {
        "groups": groups,
        "classes": classes,
        "stricter": _stricter(details),
        "beside": _beside(details),
        "too_rare": len(findings.intervals.too_rare),
        "sizes": {size: report.groups for size, report in findings.sizes.items()},
        "confusion": {"segments": _sparse(matrices.segments), "pixels": _sparse(matrices.pixels)},
        "images": {
            "pq": [known(figure) for figure in np.round(image_qualities(tallies), 5).tolist()],
            **dict(zip(("tp", "fp", "fn"), counts, strict=True)),
        },
    }
    return cast(dict[str, Any], without_nan(figures))


def difference_figures(first: PanopticDetails, second: PanopticDetails, resampling: Resampling) -> dict[str, Any]:
    """PQ of the second result set minus that of the first, of groups and classes, with intervals."""
    compared = compare_results(first.tallies(), second.tallies(), **asdict(resampling))
    groups = {group: asdict(found) | {"better": compared.better[group]} for group, found in compared.groups.items()}
    classes = {id: asdict(found) for id, found in compared.per_class.items()}
    return {"groups": without_nan(groups), "classes": classes}


def group_figures(details: PanopticDetails, columns: Columns, resampling: Resampling) -> dict[str, Any]:
    """PQ of the groups of images of each column, over how many classes, and its interval."""
    return {
        column: {
            name: {
                "images": group.images,
                "n": group.report["All"]["n"],
                **cast(dict[str, Any], without_nan(asdict(group.intervals.groups["All"]))),
                "rare": len(group.intervals.too_rare),
            }
            for name, group in groups.items()
        }
        for column, groups in group_quality(details, columns, resampling).columns.items()
    }


def _bounds(interval: Interval) -> dict[str, float]:
    return {"low": interval.low, "high": interval.high}


def _budget(budget: Budget) -> dict[str, list[float]]:
    """PQ lost to each cause, and PQ if it were repaired, in the order of `Cause`."""
    return {"lost": [budget.lost[cause] for cause in Cause], "mended": [budget.repaired[cause] for cause in Cause]}


def _stricter(details: PanopticDetails) -> dict[str, Any]:
    """PQ at IoU thresholds from 0.5 on, of groups and of the classes that occur."""
    reports = list(quality_at(details, STRICTER).values())
    occurring = [category.id for category in reports[0].categories if reports[0].occurs(category.id)]
    return {
        "ious": [percent / 100 for percent in STRICTER],
        "groups": {group: [report[group]["pq"] for report in reports] for group in reports[0].groups},
        "classes": {id: [report.per_class[id]["pq"] for report in reports] for id in occurring},
    }


def _beside(details: PanopticDetails) -> dict[str, dict[str, float]]:
    """The figures beside PQ that are means over classes, of each group; NaN over none."""
    iou = map_iou(details)
    return {
        "mIoU": iou.means.groups,
        "frequency-weighted IoU": iou.frequency_weighted,
        "PQ-dagger": pq_dagger(details).groups,
        "covering": parsing_covering(details).groups,
    }


def _sparse(matrix: Integers) -> list[list[int]]:
    """Row, column and count of every nonzero entry."""
    rows, columns = np.nonzero(matrix)
    return np.stack([rows, columns, matrix[rows, columns]], axis=1).tolist()
