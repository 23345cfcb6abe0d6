"""Print and check the figures of ``panoptic-blend pq``."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import typer

from panoptic_blend.metrics.panoptic_quality import PanopticReport
from panoptic_blend.scoring.detail_tables import all_tables, rare_classes
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.requirements import Requirement, github_annotations, write_junit
from panoptic_blend.scoring.run import Scores
from panoptic_blend.scoring.tables import class_table, nothing_to_score, quality_table
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.table_formats import TableFormat
from panoptic_blend.terminal import print_json, print_tables


def print_scores(
    scores: Scores, resampling: Resampling, form: TableFormat, *, as_json: bool = False, folder: Path | None = None
) -> None:
    """Print the tables with their remarks, or JSON; ``folder`` is where tables of details were written."""
    if as_json:
        print_json(scores.summary(resampling))
        return
    found = scores.findings
    tables = all_tables(found) if found else (class_table(scores.report), quality_table(scores.report))
    remarks = [nothing_to_score(scores.report), rare_classes(found) if found else None]
    remarks += [remark for section in scores.sections for remark in section.remarks()]
    remarks += [f"tables of segments, images, classes and causes: {folder}"] if folder else []
    further = (table for section in scores.sections for table in section.tables())
    print_tables(*tables, *further, form=form, remarks=filter(None, remarks))


@dataclass(frozen=True)
class Checks:
    """What ``--fail-under`` requires, and where the outcome goes besides standard error."""

    requirements: Sequence[Requirement]
    junit: Path | None
    github: bool

    @classmethod
    def parse(cls, fail_under: Sequence[str] | None, junit: Path | None, *, github: bool) -> Checks:
        """Read the options; PanopticBlendError if there is nothing to check."""
        if (junit or github) and not fail_under:
            option = "--junit" if junit else "--github"
            raise PanopticBlendError(f"{option} has nothing to report; add --fail-under PQ, or remove it")
        return cls([Requirement.parse(text) for text in fail_under or ()], junit, github)

    def run(self, report: PanopticReport) -> None:
        """Report the outcome, and exit with code 1 if a requirement is not met."""
        checks = [requirement.check(report) for requirement in self.requirements]
        if self.junit:
            write_junit(self.junit, checks)
        for line in github_annotations(checks) if self.github else ():
            print(line, file=sys.stderr)  # GitHub reads both streams, and --json needs the other one
        failed = [check.message for check in checks if not check.passed]
        for message in failed if not self.github else ():
            print(f"failed: {message}", file=sys.stderr)
        if failed:
            raise typer.Exit(1)
