"""A check of a data set as lines for people and as a record for machines."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from panoptic_blend.doctor.report import Problem, Repaired, Report, SplitReport, number_of
from panoptic_blend.files import printable
from panoptic_blend.terminal import right_aligned


def summary_table(report: Report) -> Table:
    """One column for each split: how much there is, and how many errors and warnings."""
    table = right_aligned("", *(Column(Text(printable(split.name)), overflow="fold") for split in report.splits))
    counts = [split.counts for split in report.splits]
    for name in ("images", "annotations", "segments", "things", "stuff", "pictures", "maps"):
        table.add_row("PNGs" if name == "maps" else name, *(f"{getattr(count, name):,}" for count in counts))
    table.add_section()
    severities = [_severities(split.problems) for split in report.splits]
    table.add_row("errors", *(f"{errors:,}" for errors, _ in severities))
    table.add_row("warnings", *(f"{warnings:,}" for _, warnings in severities))
    return table


def lines(report: Report) -> Iterator[str]:
    """Every kind of problem: where, how often, what it means, its first cases, what to do."""
    for split in report.splits:
        if split.problems:
            yield f"\n{printable(split.name)} ({printable(str(split.json))})"
            for problem in split.problems:
                yield from _problem_lines(problem)
        if split.mended is not None:
            yield from _mended_lines(split, split.mended)
    if report.between:
        yield "\nbetween splits"
        for problem in report.between:
            yield from _problem_lines(problem)
    yield ""
    found = [problem for split in report.splits for problem in split.remaining] + list(report.between)
    errors, warnings = _severities(found)
    left = " left" if any(split.mended for split in report.splits) else ""
    yield f"{errors:,} errors and {warnings:,} warnings{left}" if errors or warnings else "nothing to complain of"


def record(report: Report) -> dict[str, Any]:
    """All of it for a JSON."""
    return {
        "root": str(report.root),
        "sound": report.is_sound,
        "splits": [_split_record(split) for split in report.splits],
        "between_splits": _problem_records(report.between),
    }


def _severities(problems: tuple[Problem, ...] | list[Problem]) -> tuple[int, int]:
    return number_of("error", problems), number_of("warning", problems)


def _problem_lines(problem: Problem) -> Iterator[str]:
    kind = problem.kind
    yield f"  {kind.severity} {kind.name}, {problem.count:,} x: {kind.meaning}"
    for case in problem.cases:
        yield f"      {printable(case)}"
    if problem.cases and len(problem.cases) < problem.count:
        yield f"      and {problem.count - len(problem.cases):,} more"
    yield f"    to do: {kind.remedy}"


def _mended_lines(split: SplitReport, mended: Repaired) -> Iterator[str]:
    before, after = split.counts, mended.counts
    yield f"\nmended: {printable(str(mended.path))}"
    yield f"  kept {after.images:,} of {before.images:,} images and {after.segments:,} of {before.segments:,} segments"
    left = {problem.kind: problem.count for problem in mended.problems}
    for problem in split.problems:
        if (remaining := left.get(problem.kind, 0)) < problem.count:
            yield f"  {problem.kind.name}: {problem.count - remaining:,} of {problem.count:,} gone"
    found = {problem.kind: problem.count for problem in split.problems}
    for problem in mended.problems:
        news = ", new by mending" if problem.count > found.get(problem.kind, 0) else ""
        yield f"  {problem.kind.name}: {problem.count:,} left{news}; {problem.kind.remedy}"


def _split_record(split: SplitReport) -> dict[str, Any]:
    mended = split.mended and {
        "json": str(split.mended.path),
        **asdict(split.mended.counts),
        "problems": _problem_records(split.mended.problems),
    }
    return {
        "name": split.name,
        "json": str(split.json),
        **asdict(split.counts),
        "problems": _problem_records(split.problems),
        "mended": mended,
    }


def _problem_records(problems: tuple[Problem, ...]) -> list[dict[str, Any]]:
    return [{**asdict(problem.kind), "count": problem.count, "cases": list(problem.cases)} for problem in problems]
