"""The section of ``pq --also calibration``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from rich.table import Table

from panoptic_blend.metrics.calibration import Calibration
from panoptic_blend.metrics.panoptic_quality import GROUPS
from panoptic_blend.scoring.sections import File
from panoptic_blend.terminal import percent, right_aligned


@dataclass(frozen=True)
class CalibratedScores:
    """Calibration of the scores of all, thing and stuff classes."""

    groups: dict[str, Calibration]
    key = "calibration"

    def tables(self) -> Iterable[Table]:
        """The expected error of the groups, and the bins of all classes."""
        table = right_aligned("", "expected error", "segments with score", "without", title="Calibration of scores")
        for group in GROUPS:
            found = self.groups[group]
            table.add_row(group, percent(found.expected_error), str(found.scored), str(found.unscored))
        yield table
        if self.groups["All"].bins:
            table = right_aligned("score", "segments", "mean score", "matched", title="Matches by score")
            for each in self.groups["All"].bins:
                scores = f"{each.low:.1f} to {each.high:.1f}"
                table.add_row(scores, str(each.segments), percent(each.score), percent(each.matched))
            yield table

    def remarks(self) -> Iterable[str]:
        """Why there is no calibration."""
        found = self.groups["All"]
        if found.outside:
            yield f"no calibration: {found.outside} scores are not between 0 and 1, so they are no probabilities"
        elif not found.scored:
            yield "no calibration: no segment of the results has a `score` in `segments_info`"
        elif found.unscored:
            yield f"calibration leaves out {found.unscored} segments whose `score` is missing or no finite number"

    def summary(self) -> Any:
        """The groups with their bins."""
        return {group: asdict(found) for group, found in self.groups.items()}

    def files(self) -> Iterable[File]:
        """``calibration.csv``: a row for each bin of each group."""
        rows = [(group, *asdict(each).values()) for group, found in self.groups.items() for each in found.bins]
        yield File("calibration.csv", ("of", "low", "high", "segments", "mean_score", "matched"), rows)
