"""The report of a check: problems by kind, counted, with the first cases of each."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from panoptic_blend.doctor.kinds import KINDS, Finding, Kind, Severity


@dataclass(frozen=True)
class Problem:
    """A kind of problem, how often it was found, and a description of the first cases."""

    kind: Kind
    count: int
    cases: tuple[str, ...]


@dataclass(frozen=True)
class Counts:
    """How many images, segments, ... a split has; ``pictures`` and ``maps`` count the files in its folders."""

    images: int = 0
    annotations: int = 0
    segments: int = 0
    things: int = 0
    stuff: int = 0
    pictures: int = 0
    maps: int = 0


@dataclass(frozen=True)
class RepairReport:
    """The repaired JSON of a split: its path, its counts, and the problems it still has."""

    path: Path
    counts: Counts
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class SplitReport:
    """The report on one split; ``repair`` is None unless a repair was requested.

    ``left_out`` maps kinds of files that are no part of the data set, such as hidden files, to their number.
    """

    name: str
    json: Path
    counts: Counts
    problems: tuple[Problem, ...]
    repair: RepairReport | None = None
    left_out: Mapping[str, int] = field(default_factory=dict)

    @property
    def remaining(self) -> tuple[Problem, ...]:
        """The problems of the repaired JSON if there is one, otherwise all problems."""
        return self.repair.problems if self.repair else self.problems


@dataclass(frozen=True)
class Report:
    """The report on a data set: its splits, and the problems between splits."""

    root: Path
    splits: tuple[SplitReport, ...]
    between: tuple[Problem, ...]

    @property
    def is_sound(self) -> bool:
        """Whether there are no errors, whatever the warnings; after a repair, whether no errors are left."""
        remaining = (*(split.remaining for split in self.splits), self.between)
        return not any(count_cases("error", problems) for problems in remaining)


def count_cases(severity: Severity, problems: Iterable[Problem]) -> int:
    """The number of cases of one severity."""
    return sum(problem.count for problem in problems if problem.kind.severity == severity)


def tally(findings: Iterable[Finding], cases: int) -> tuple[Problem, ...]:
    """Group findings by kind, errors first; only the first ``cases`` of each kind are kept in memory."""
    counts: Counter[Kind] = Counter()
    first: dict[Kind, list[str]] = {}
    for finding in findings:
        counts[finding.kind] += 1
        texts = first.setdefault(finding.kind, [])
        if len(texts) < cases:
            texts.append(finding.text)
    order = sorted(KINDS, key=lambda kind: kind.severity != "error")
    return tuple(Problem(kind, counts[kind], tuple(first[kind])) for kind in order if counts[kind])
