"""PQ of groups of images, such as sites, weather or cameras, that a CSV file names (``pq --group-by``)."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rich.markup import escape
from rich.table import Table

from panoptic_blend.files import printable, require_file
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.panoptic_quality import PanopticReport
from panoptic_blend.metrics.resampling import Intervals, intervals
from panoptic_blend.scoring.csv_tables import Row
from panoptic_blend.scoring.detail_tables import bounds
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.further import quality_rows
from panoptic_blend.scoring.sections import File
from panoptic_blend.structures import ImageId, PanopticBlendError
from panoptic_blend.terminal import percent, right_aligned

IMAGE, FILE_NAME = "image", "file_name"
"""The columns that say which image a row is of: by its id or the name of its picture, or only by the name."""

MOST_GROUPS = 100
"""A column with more values is no column of groups."""

Columns = dict[str, dict[str, list[ImageId]]]
"""The images of each group, by the name of the column and the value in it."""


def read_groups(path: Path, file_names: Mapping[ImageId, str]) -> Columns:
    """Read the groups of all images, whose ids and names of pictures are ``file_names``.

    The CSV file has a header with `IMAGE` or `FILE_NAME`, and every other column puts each image into one group.

    Raises:
        PanopticBlendError: the file is no such table, names an unknown image or one twice, or lacks one.
    """
    head, *rows = _rows(path)
    key = next((name for name in (IMAGE, FILE_NAME) if name in head), None)
    if key is None:
        raise PanopticBlendError(f"{path}: row 1 has no column `{IMAGE}` or `{FILE_NAME}`; name one of the two so")
    names = [name for name in head if name not in (IMAGE, FILE_NAME)]
    if not names or "" in names or len(set(names)) < len(names):
        raise PanopticBlendError(
            f"{path}: row 1 must name at least one column of groups, each by a name of its own; it is {','.join(head)}"
        )
    known, place = _images_by(key, file_names), head.index(key)
    columns: Columns = {name: {} for name in names}
    rows_of: dict[ImageId, int] = {}
    for number, row in enumerate(rows, start=2):
        where = f"{path}: row {number}"
        if len(row) != len(head):
            raise PanopticBlendError(f"{where} has {len(row)} cells and the header {len(head)}; give one per column")
        if row[place] not in known:
            raise PanopticBlendError(
                f"{where}: `{printable(row[place])}` is no image of the ground truth; column `{IMAGE}` takes ids and "
                f"names of pictures, `{FILE_NAME}` only names, and a name has to be of one picture"
            )
        image = known[row[place]]
        if image in rows_of:
            raise PanopticBlendError(f"{where}: image {image} is in row {rows_of[image]} too; keep one of the two rows")
        rows_of[image] = number
        for name, value in zip(head, row, strict=True):
            if name in columns:
                columns[name].setdefault(value.strip() or "(empty)", []).append(image)
    if missing := [image for image in file_names if image not in rows_of]:
        raise PanopticBlendError(
            f"{path}: no row for image {missing[0]} ({len(missing)} of {len(file_names)} images have none); add a row "
            "for each"
        )
    for name, groups in columns.items():
        if len(groups) > MOST_GROUPS:
            raise PanopticBlendError(
                f"{path}: column `{printable(name)}` has {len(groups)} different values, more than {MOST_GROUPS} "
                "groups; remove the column"
            )
    return columns


def _rows(path: Path) -> list[list[str]]:
    require_file(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            rows = [[cell.strip() for cell in row] for row in csv.reader(file, strict=True)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise PanopticBlendError(f"{path}: is not a CSV file in UTF-8 ({error}); save it as one") from None
    while rows and not rows[-1]:
        rows.pop()
    if not rows:
        raise PanopticBlendError(f"{path}: is empty; give a header and a row for each image")
    return rows


def _images_by(key: str, file_names: Mapping[ImageId, str]) -> dict[str, ImageId]:
    """The images by the name of their picture if that is unique, and in the column `IMAGE` by id, which goes first."""
    by_id = {str(image): image for image in file_names} if key == IMAGE else {}
    counts: dict[str, int] = {}
    for name in file_names.values():
        counts[name] = counts.get(name, 0) + 1
    return {name: image for image, name in file_names.items() if name and counts[name] == 1} | by_id


@dataclass(frozen=True)
class Group:
    """The figures of one group of ``images`` images."""

    images: int
    report: PanopticReport
    intervals: Intervals

    @property
    def pq(self) -> float:
        """PQ of all classes that occur in the group."""
        return self.report["All"]["pq"]


@dataclass(frozen=True)
class GroupedQuality:
    """The figures of the groups of every column, beside PQ of all images, ``overall``."""

    overall: float
    columns: dict[str, dict[str, Group]]
    key = "groups"

    def tables(self) -> Iterable[Table]:
        """A table for each column, the worst group first."""
        for column, groups in self.columns.items():
            table = right_aligned(
                escape(printable(column)),
                *("images", "classes", "PQ", "interval", "SQ", "RQ", "PQ Things", "PQ Stuff"),
                title=f"PQ by {escape(printable(column))}",
            )
            for name, group in _worst_first(groups):
                all_classes = group.report["All"]
                table.add_row(
                    escape(printable(name)),
                    *(str(group.images), str(all_classes["n"]), percent(group.pq)),
                    bounds(group.intervals.groups["All"]),
                    *(percent(all_classes["sq"]), percent(all_classes["rq"])),
                    *(percent(group.report[kind]["pq"]) for kind in ("Things", "Stuff")),
                )
            yield table

    def remarks(self) -> Iterable[str]:
        """The worst group of each column, and a warning where groups have different classes."""
        for column, groups in self.columns.items():
            name = printable(column)
            if worst := self._worst(groups):
                found = groups[worst]
                interval = bounds(found.intervals.groups["All"])
                yield (
                    f"worst {name}: {printable(worst)}, PQ {percent(found.pq)} (interval {interval}, "
                    f"images: {found.images}), {100 * (self.overall - found.pq):.1f} below all images"
                )
            if len(classes := {tuple(filter(g.report.occurs, g.report.per_class)) for g in groups.values()}) > 1:
                sizes = sorted(map(len, classes))
                yield (
                    f"the groups of {name} have different classes ({sizes[0]} to {sizes[-1]}), and PQ of each is over "
                    "its own; groups.csv of --details has the figures by class"
                )

    def _worst(self, groups: Mapping[str, Group]) -> str | None:
        """The group with the lowest PQ; None if all are alike."""
        known = {name: group.pq for name, group in groups.items() if not math.isnan(group.pq)}
        return min(known, key=lambda name: known[name]) if len(set(known.values())) > 1 else None

    def summary(self) -> Any:
        """By column, the name of the worst group and the figures of all groups."""
        return {
            column: {
                "worst": self._worst(groups),
                "groups": {
                    name: {"images": group.images, **group.report.figures(), "intervals": asdict(group.intervals)}
                    for name, group in groups.items()
                },
            }
            for column, groups in self.columns.items()
        }

    def files(self) -> Iterable[File]:
        """``groups.csv``: rows for the means and for every class that occurs in each group."""
        header = "column", "group", "images", "category", "of", "pq", "sq", "rq", "tp", "fp", "fn", "pq_low", "pq_high"
        yield File("groups.csv", header, self._csv_rows())

    def _csv_rows(self) -> Iterator[Row]:
        for column, groups in self.columns.items():
            for name, group in groups.items():
                for category, of, *figures in quality_rows(group.report):
                    found = group.intervals
                    interval = found.groups[str(of)] if category is None else found.per_class[int(str(category))]
                    yield column, name, group.images, category, of, *figures, interval.low, interval.high


def group_quality(details: PanopticDetails, columns: Columns, resampling: Resampling) -> GroupedQuality:
    """Compute the figures of all groups, with intervals over the images of each."""
    return GroupedQuality(
        details.compute()["All"]["pq"],
        {
            column: {name: _group(details.subset(images), resampling) for name, images in groups.items()}
            for column, groups in columns.items()
        },
    )


def _group(details: PanopticDetails, resampling: Resampling) -> Group:
    return Group(len(details), details.compute(), intervals(details.tallies(), **asdict(resampling)))


def _worst_first(groups: Mapping[str, Group]) -> Sequence[tuple[str, Group]]:
    """Groups by PQ; those without any come last."""
    return sorted(groups.items(), key=lambda item: (math.isnan(item[1].pq), item[1].pq))
