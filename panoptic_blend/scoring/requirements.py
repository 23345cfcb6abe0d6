"""Least PQ that results must have, for continuous integration: messages, JUnit XML and annotations of GitHub."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

from panoptic_blend.files import printable, replacing
from panoptic_blend.metrics.panoptic_quality import GROUPS, PanopticReport
from panoptic_blend.structures import PanopticBlendError

_ROUNDING = 1e-12
"""PQ that misses the least one by less does not miss it."""


@dataclass(frozen=True)
class Requirement:
    """The ``least`` PQ, in percent, of a group of classes or of one class."""

    of: str
    least: float

    @classmethod
    def parse(cls, text: str) -> Requirement:
        """Read ``45``, ``things=40`` or ``person=38.5``; PanopticBlendError for anything else."""
        of, _, number = text.rpartition("=")
        try:
            least = float(number)
        except ValueError:
            least = math.nan
        if not 0 <= least <= 100:
            raise PanopticBlendError(
                f"--fail-under {text}: `{number}` is no PQ in percent; give a number from 0 to 100"
            )
        group = next((group for group in GROUPS if group.lower() == of.lower()), None)
        return cls("All" if not of else group or of, least)

    def check(self, report: PanopticReport) -> Check:
        """Hold a report against it; PanopticBlendError if there is no such class."""
        if self.of in report.groups:
            return Check(self, report[self.of]["pq"])
        found = [category.id for category in report.categories if category.name == self.of]
        if not found:
            names = ", ".join(printable(category.name) for category in report.categories[:5])
            raise PanopticBlendError(
                f"--fail-under: `{printable(self.of)}` is no class; give all, things, stuff or a class of the data set "
                f"({names}, ...)"
            )
        return Check(self, report.per_class[found[0]]["pq"] if report.occurs(found[0]) else math.nan)


@dataclass(frozen=True)
class Check:
    """A requirement with the PQ that was found, as a fraction; NaN, a figure over nothing, does not meet it."""

    requirement: Requirement
    pq: float

    @property
    def passed(self) -> bool:
        """Whether PQ is at least what is required."""
        return self.pq >= self.requirement.least / 100 - _ROUNDING

    @property
    def name(self) -> str:
        """What is required, as a sentence."""
        return f"PQ of {printable(self.requirement.of)} is at least {self.requirement.least:g}"

    @property
    def message(self) -> str:
        """What was found, rounded down so that it is seen to miss what it misses."""
        of, least = printable(self.requirement.of), f"{self.requirement.least:g}"
        if math.isnan(self.pq):
            return f"PQ of {of}: nothing to score, and {least} is required"
        found = math.floor((100 * self.pq + _ROUNDING) * 100) / 100
        return f"PQ of {of} is {found:.2f}, {'at least' if self.passed else 'below'} {least}"


def write_junit(path: Path, checks: Sequence[Check]) -> None:
    """Write the checks as JUnit XML, with a test case for each."""
    failures = sum(not check.passed for check in checks)
    counts = {"tests": str(len(checks)), "failures": str(failures), "errors": "0", "skipped": "0"}
    suites = ElementTree.Element("testsuites", counts)
    suite = ElementTree.SubElement(suites, "testsuite", {"name": "panoptic-blend pq", **counts})
    for check in checks:
        case = ElementTree.SubElement(suite, "testcase", {"classname": "panoptic-blend.pq", "name": check.name})
        if check.passed:
            ElementTree.SubElement(case, "system-out").text = check.message
        else:
            ElementTree.SubElement(case, "failure", {"message": check.message}).text = check.message
    ElementTree.indent(suites)
    with replacing(path) as temporary:
        ElementTree.ElementTree(suites).write(temporary, encoding="utf-8", xml_declaration=True)


def github_annotations(checks: Iterable[Check]) -> Iterable[str]:
    """Workflow commands of GitHub, which shows them at the run: an error, or a notice, for each check."""
    for check in checks:
        kind = "notice" if check.passed else "error"
        text = check.message.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")
        yield f"::{kind} title=Panoptic quality::{text}"
