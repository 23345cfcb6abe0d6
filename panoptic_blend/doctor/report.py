"""What a check found, counted, with the first cases of each kind."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.doctor.kinds import KINDS, Finding, Kind, Severity


@dataclass(frozen=True)
class Problem:
    """One kind of problem, how often it was found, and the first cases in words."""

    kind: Kind
    count: int
    cases: tuple[str, ...]


@dataclass(frozen=True)
class Counts:
    """How much of everything a split has; files as they lie in the folders."""

    images: int = 0
    annotations: int = 0
    segments: int = 0
    things: int = 0
    stuff: int = 0
    pictures: int = 0
    maps: int = 0


@dataclass(frozen=True)
class Repaired:
    """The corrected JSON of a split, how much it holds, and the problems it still has."""

    path: Path
    counts: Counts
    problems: tuple[Problem, ...]


@dataclass(frozen=True)
class SplitReport:
    """One split; ``mended`` is None unless it was asked for."""

    name: str
    json: Path
    counts: Counts
    problems: tuple[Problem, ...]
    mended: Repaired | None = None

    @property
    def remaining(self) -> tuple[Problem, ...]:
        """The problems of the corrected JSON where there is one."""
        return self.mended.problems if self.mended else self.problems


@dataclass(frozen=True)
class Report:
    """A data set: its splits, and what is wrong between them."""

    root: Path
    splits: tuple[SplitReport, ...]
    between: tuple[Problem, ...]

    @property
    def is_sound(self) -> bool:
        """Whether there are no errors, warnings aside; after mending, whether none are left."""
        return not any(number_of("error", problems) for problems in (*(s.remaining for s in self.splits), self.between))


def number_of(severity: Severity, problems: Iterable[Problem]) -> int:
    """All cases of one severity."""
    return sum(problem.count for problem in problems if problem.kind.severity == severity)


def tally(findings: Iterable[Finding], cases: int) -> tuple[Problem, ...]:
    """Findings by kind, errors first, each kind with its first ``cases``; holds no more of them."""
    counts: Counter[Kind] = Counter()
    first: dict[Kind, list[str]] = {}
    for finding in findings:
        counts[finding.kind] += 1
        texts = first.setdefault(finding.kind, [])
        if len(texts) < cases:
            texts.append(finding.text)
    order = sorted(KINDS, key=lambda kind: kind.severity != "error")
    return tuple(Problem(kind, counts[kind], tuple(first[kind])) for kind in order if counts[kind])
