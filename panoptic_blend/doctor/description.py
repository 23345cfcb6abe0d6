"""The report of a check as a table, as lines of text, and as a record for JSON."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.table import Column, Table
from rich.text import Text

from panoptic_blend.doctor.report import Problem, RepairReport, Report, SplitReport, count_cases
from panoptic_blend.files import printable
from panoptic_blend.terminal import right_aligned


def summary_table(report: Report) -> Table:
    """A table with one column per split: how many images, segments, files, ... it has, and its errors and warnings."""
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
    """Lines that describe every kind of problem: its split, count, meaning, first cases and remedy."""
    for split in report.splits:
        if split.problems or split.left_out:
            yield f"\n{printable(split.name)} ({printable(str(split.json))})"
            yield from (f"  passed over: {count:,} {kind}" for kind, count in sorted(split.left_out.items()))
            for problem in split.problems:
                yield from _problem_lines(problem)
        if split.repair is not None:
            yield from _repair_lines(split, split.repair)
    if report.between:
        yield "\nbetween splits"
        for problem in report.between:
            yield from _problem_lines(problem)
    yield ""
    found = [problem for split in report.splits for problem in split.remaining] + list(report.between)
    yield from _how_to_fix(report)
    errors, warnings = _severities(found)
    left = " left" if any(split.repair for split in report.splits) else ""
    yield f"{errors:,} errors and {warnings:,} warnings{left}" if errors or warnings else "no problems found"


def _how_to_fix(report: Report) -> Iterator[str]:
    """The command of a repair, for the first split with a problem that ``--fix`` corrects without a decision."""
    for split in report.splits:
        if split.repair is None and any("--fix does" in problem.kind.remedy for problem in split.problems):
            root, name, path = (shlex.quote(printable(str(x))) for x in (report.root, split.name, split.json))
            yield f"to repair: panoptic-blend data check {root} --split {name} --fix fixed.json; mv fixed.json {path}"
            yield ""
            return


def record(report: Report) -> dict[str, Any]:
    """The whole report as a record for JSON."""
    return {
        "root": str(report.root),
        "sound": report.is_sound,
        "splits": [_split_record(split) for split in report.splits],
        "between_splits": _problem_records(report.between),
    }


def _severities(problems: tuple[Problem, ...] | list[Problem]) -> tuple[int, int]:
    return count_cases("error", problems), count_cases("warning", problems)


def _problem_lines(problem: Problem) -> Iterator[str]:
    kind = problem.kind
    yield f"  {kind.severity} {kind.name}, {problem.count:,} x: {kind.meaning}"
    for case in problem.cases:
        yield f"      {printable(case)}"
    if problem.cases and len(problem.cases) < problem.count:
        yield f"      and {problem.count - len(problem.cases):,} more"
    yield f"    to do: {kind.remedy}"


def _repair_lines(split: SplitReport, repair: RepairReport) -> Iterator[str]:
    before, after = split.counts, repair.counts
    yield f"\nrepaired: {printable(str(repair.path))}"
    yield f"  kept {after.images:,} of {before.images:,} images and {after.segments:,} of {before.segments:,} segments"
    left = {problem.kind: problem.count for problem in repair.problems}
    for problem in split.problems:
        if (remaining := left.get(problem.kind, 0)) < problem.count:
            yield f"  {problem.kind.name}: {problem.count - remaining:,} of {problem.count:,} gone"
    found = {problem.kind: problem.count for problem in split.problems}
    for problem in repair.problems:
        note = ", some caused by the repair" if problem.count > found.get(problem.kind, 0) else ""
        yield f"  {problem.kind.name}: {problem.count:,} left{note}; {problem.kind.remedy}"


def _split_record(split: SplitReport) -> dict[str, Any]:
    repair = split.repair and {
        "json": str(split.repair.path),
        **asdict(split.repair.counts),
        "problems": _problem_records(split.repair.problems),
    }
    return {
        "name": split.name,
        "json": str(split.json),
        **asdict(split.counts),
        "left_out": dict(split.left_out),
        "problems": _problem_records(split.problems),
        "mended": repair,
    }


def _problem_records(problems: tuple[Problem, ...]) -> list[dict[str, Any]]:
    return [{**asdict(problem.kind), "count": problem.count, "cases": list(problem.cases)} for problem in problems]
