"""The section of ``pq`` with several ``--compare``: a ranking and all paired differences."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rich.markup import escape
from rich.table import Table

from panoptic_blend.files import printable
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.panoptic_quality import GROUPS, PanopticReport
from panoptic_blend.metrics.ranking import RankedPair, Ranking, rank
from panoptic_blend.scoring.csv_tables import Row
from panoptic_blend.scoring.detail_tables import bounds
from panoptic_blend.scoring.details import Resampling
from panoptic_blend.scoring.sections import File
from panoptic_blend.table_formats import NOTHING
from panoptic_blend.terminal import percent, right_aligned


@dataclass(frozen=True)
class RankedSets:
    """Result sets by their ``names``, their reports, and the ranking."""

    names: Sequence[str]
    reports: Sequence[PanopticReport]
    ranking: Ranking
    resampling: Resampling
    key = "ranking"

    def tables(self) -> Iterable[Table]:
        """The ranking, and all paired differences."""
        table = right_aligned(
            "results", "rank", "PQ", "interval", "SQ", "RQ", "PQ Things", "PQ Stuff", title="Ranking by PQ"
        )
        for place, index in enumerate(self.ranking.order, start=1):
            report, interval = self.reports[index], self.ranking.qualities[index]
            figures = (report["All"]["pq"], report["All"]["sq"], report["All"]["rq"])
            pq, sq, rq = map(percent, figures)
            kinds = (percent(report[kind]["pq"]) for kind in GROUPS[1:])
            table.add_row(self._shown(index), str(place), pq, bounds(interval), sq, rq, *kinds)
        yield table
        table = right_aligned(
            *("better", "worse", "difference", "interval", "p", "p (Holm)", "differ"),
            title="Paired differences of PQ",
            words=2,
        )
        for pair in self.ranking.pairs:
            table.add_row(
                *(self._shown(pair.better), self._shown(pair.worse), percent(pair.difference.value, "+.2f")),
                bounds(pair.difference, signed=True),
                *(NOTHING if math.isnan(p) else f"{p:.4f}" for p in (pair.p, pair.adjusted)),
                "yes" if self._differ(pair) else "no",
            )
        yield table

    def remarks(self) -> Iterable[str]:
        """A line where there are too few resamples for any pair to differ."""
        tested = sum(not math.isnan(pair.p) for pair in self.ranking.pairs)
        needed = math.ceil(2 * tested / (1 - self.resampling.level))
        if tested < len(self.ranking.pairs):
            yield "pairs without p-value: too few images for a test"
        if needed > self.resampling.resamples + 1:
            yield (
                f"{self.resampling.resamples} resamples are too few for {tested} pairs: no corrected p-value can be "
                f"small enough; add --resamples {needed}"
            )

    def summary(self) -> Any:
        """The results, the best first, and all pairs; p-values that are None were not computed."""
        results = [
            {"name": self.names[i], **asdict(self.ranking.qualities[i]), **self.reports[i].groups}
            for i in self.ranking.order
        ]
        differences = [
            {
                "better": self.names[pair.better],
                "worse": self.names[pair.worse],
                **asdict(pair.difference),
                "p": pair.p,
                "p_holm": pair.adjusted,
                "differ": self._differ(pair),
            }
            for pair in self.ranking.pairs
        ]
        return {"results": results, "differences": differences}

    def files(self) -> Iterable[File]:
        """``ranking.csv`` and ``differences.csv``."""
        header = "rank", "results", "pq", "pq_low", "pq_high", "sq", "rq", "pq_things", "pq_stuff"
        yield File("ranking.csv", header, self._ranks())
        columns = "better", "worse", "difference", "low", "high", "p", "p_holm"
        rows = (
            (self.names[p.better], self.names[p.worse], *asdict(p.difference).values(), p.p, p.adjusted)
            for p in self.ranking.pairs
        )
        yield File("differences.csv", columns, rows)

    def _ranks(self) -> Iterable[Row]:
        for place, index in enumerate(self.ranking.order, start=1):
            report, interval = self.reports[index], self.ranking.qualities[index]
            found = report["All"]
            kinds = (report[kind]["pq"] for kind in GROUPS[1:])
            yield (
                *(place, self.names[index], found["pq"], interval.low, interval.high, found["sq"], found["rq"]),
                *kinds,
            )

    def _differ(self, pair: RankedPair) -> bool:
        return pair.adjusted < 1 - self.resampling.level

    def _shown(self, index: int) -> str:
        return escape(printable(self.names[index]))


def rank_sets(sets: Sequence[PanopticDetails], names: Sequence[str], resampling: Resampling) -> RankedSets:
    """Rank result sets for the same images; PanopticBlendError if their truth differs."""
    ranking = rank([details.tallies() for details in sets], **asdict(resampling))
    return RankedSets(names, [details.compute() for details in sets], ranking, resampling)
