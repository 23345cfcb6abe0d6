"""Figures other than PQ that follow from the same overlaps, and are computed on request (``pq --also``)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from panoptic_blend.metrics.calibration import calibration
from panoptic_blend.metrics.class_means import ClassMeans
from panoptic_blend.metrics.covering import parsing_covering
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.map_iou import MapIoU, map_iou
from panoptic_blend.metrics.panoptic_quality import GROUPS, PanopticReport
from panoptic_blend.metrics.pq_dagger import pq_dagger
from panoptic_blend.metrics.thresholds import mean_quality, quality_at
from panoptic_blend.scoring.calibrated import CalibratedScores
from panoptic_blend.scoring.csv_tables import Row
from panoptic_blend.scoring.sections import File, Section
from panoptic_blend.structures import Category, PanopticBlendError
from panoptic_blend.terminal import percent, right_aligned

FURTHER = ("miou", "pq-dagger", "covering", "thresholds", "calibration")
"""What ``--also`` computes."""


def parse_names(text: str | None) -> tuple[str, ...]:
    """The names in a list such as ``miou,thresholds``, in the order of `FURTHER`; ``all`` stands for all of them."""
    names = [name.strip() for name in text.split(",")] if text is not None else []
    unknown = [name for name in names if name not in (*FURTHER, "all")]
    if unknown:
        raise PanopticBlendError(f"--also: `{unknown[0]}` is no figure; give some of {', '.join(FURTHER)}, or all")
    return tuple(name for name in FURTHER if name in names or "all" in names)


def further_sections(details: PanopticDetails, names: Sequence[str]) -> Iterator[Section]:
    """Yield the figures ``names`` of one result set."""
    categories = tuple(details.categories.values())
    means: dict[str, ClassMeans] = {}
    iou = map_iou(details) if "miou" in names else None
    if iou:
        means["miou"] = iou.means
    if "pq-dagger" in names:
        means["pq-dagger"] = pq_dagger(details)
    if "covering" in names:
        means["covering"] = parsing_covering(details)
    if means:
        yield FurtherMeans(categories, means, iou)
    if "thresholds" in names:
        yield Curve(quality_at(details))
    if "calibration" in names:
        yield CalibratedScores(calibration(details))


_TITLES = {"miou": "mIoU", "pq-dagger": "PQ-dagger", "covering": "covering"}


@dataclass(frozen=True)
class FurtherMeans:
    """Figures that are means over classes, by their names in `FURTHER`."""

    categories: Sequence[Category]
    means: dict[str, ClassMeans]
    iou: MapIoU | None
    key = "also"

    def tables(self) -> Iterable[Table]:
        """One table of the groups."""
        weighted = ["frequency-weighted IoU"] if self.iou else []
        table = right_aligned("", *(_TITLES[name] for name in self.means), *weighted, title="Figures beside PQ")
        for group in GROUPS:
            cells = [percent(found.groups[group]) for found in self.means.values()]
            table.add_row(group, *cells, *([percent(self.iou.frequency_weighted[group])] if self.iou else []))
        yield table

    def remarks(self) -> Iterable[str]:
        """No remarks."""
        return ()

    def summary(self) -> Any:
        """The groups and classes of each figure."""
        found: dict[str, dict[str, Any]] = {
            name: {"groups": means.groups, "classes": means.counts, "per_class": means.per_class}
            for name, means in self.means.items()
        }
        if self.iou:
            found["miou"]["frequency_weighted"] = self.iou.frequency_weighted
        return found

    def files(self) -> Iterable[File]:
        """``also.csv``: a row for each group and class; only groups have a frequency-weighted IoU."""
        columns = [means.groups for means in self.means.values()]
        weighted = [self.iou.frequency_weighted] if self.iou else []
        rows: list[Row] = [(None, group, *(column[group] for column in (*columns, *weighted))) for group in GROUPS]
        for category in self.categories:
            figures = [means.per_class.get(category.id) for means in self.means.values()]
            rows.append((category.id, category.name, *figures, *(None for _ in weighted)))
        header = "category", "of", *self.means, *("frequency_weighted_iou" for _ in weighted)
        yield File("also.csv", header, rows)


@dataclass(frozen=True)
class Curve:
    """PQ, SQ and RQ by the IoU threshold of a match, in percent."""

    reports: dict[int, PanopticReport]
    key = "thresholds"

    def tables(self) -> Iterable[Table]:
        """PQ of the groups, and RQ and SQ of all classes."""
        table = right_aligned(
            "IoU above", *(f"PQ {group}" for group in GROUPS), "SQ All", "RQ All", title="PQ by threshold of a match"
        )
        for threshold, report in self.reports.items():
            cells = (percent(report[group]["pq"]) for group in GROUPS)
            table.add_row(f"{threshold / 100:.2f}", *cells, percent(report["All"]["sq"]), percent(report["All"]["rq"]))
        table.add_row("mean of 0.50 to 0.95", *(percent(mean_quality(self.reports, g)) for g in GROUPS), "", "")
        yield table

    def remarks(self) -> Iterable[str]:
        """No remarks."""
        return ()

    def summary(self) -> Any:
        """The figures by threshold, of groups and classes, and the mean PQ of the thresholds from 0.5 on."""
        return {
            "mean": {group: mean_quality(self.reports, group) for group in GROUPS},
            "at": {f"{threshold / 100:.2f}": report.figures() for threshold, report in self.reports.items()},
        }

    def files(self) -> Iterable[File]:
        """``thresholds.csv``: a row for each threshold and each group or class that occurs."""
        yield File(
            "thresholds.csv",
            ("iou", "category", "of", "pq", "sq", "rq", "tp", "fp", "fn"),
            ((threshold / 100, *row) for threshold, report in self.reports.items() for row in quality_rows(report)),
        )


def quality_rows(report: PanopticReport) -> Iterator[Row]:
    """Category id, name, PQ, SQ, RQ, TP, FP and FN of the groups, which have no id and counts, and of all classes."""
    for group, quality in report.groups.items():
        yield None, group, quality["pq"], quality["sq"], quality["rq"], None, None, None
    for category in report.categories:
        if report.occurs(category.id):
            found = report.per_class[category.id]
            figures = found["pq"], found["sq"], found["rq"]
            yield category.id, category.name, *figures, found["tp"], found["fp"], found["fn"]
