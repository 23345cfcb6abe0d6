"""Score result files as far as a command asks for, and write the tables."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from panoptic_blend.extras import require_extra
from panoptic_blend.files import distinct_names, without_nan
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.metrics.panoptic_quality import PanopticReport
from panoptic_blend.scoring.details import (
    SUMMARY,
    Findings,
    Resampling,
    TableFormat,
    compute_findings,
    summary,
    write_details,
)
from panoptic_blend.scoring.evaluate_files import detail_pairs, pair_result_sets
from panoptic_blend.scoring.file_pairs import FilePolicy, ScoredPng
from panoptic_blend.scoring.further import further_sections
from panoptic_blend.scoring.groups import Columns, group_quality, read_groups
from panoptic_blend.scoring.part_pngs import PartPngs
from panoptic_blend.scoring.ranked import rank_sets
from panoptic_blend.scoring.sections import OfEachSet, Section, summaries
from panoptic_blend.structures import ImageId, PanopticBlendError, Progress


@dataclass(frozen=True)
class ScoredFiles:
    """Files to score, ``others``, results (JSON, folder of PNGs) to compare with, and how to read and compare them."""

    truth: Path
    prediction: Path
    truth_folder: Path | None = None
    prediction_folder: Path | None = None
    others: Sequence[tuple[Path, Path | None]] = ()
    boundary: bool = False
    policy: FilePolicy = field(default_factory=FilePolicy)
    workers: int | None = None

    @property
    def results(self) -> list[tuple[Path, Path | None]]:
        """JSON and folder of PNGs of every result set."""
        return [(self.prediction, self.prediction_folder), *self.others]

    @property
    def names(self) -> list[str]:
        """Short names of the result sets, which tell them apart; a JSON that is given again has a number."""
        _, *names = distinct_names([self.truth, *(path for path, _ in self.results)])
        earlier = [names[:place].count(name) for place, name in enumerate(names)]
        return [f"{name} ({count + 1})" if count else name for name, count in zip(names, earlier, strict=True)]

    def read(
        self,
        progress: Progress | None = None,
        wanted: Wanted | None = None,
        part: Callable[[int], Sequence[int]] | None = None,
    ) -> ResultSets:
        """Compare all images, or those that ``part`` chooses, given their number, by index.

        Raises PanopticBlendError if a file is missing or broken, also one that is ``wanted``.
        """
        pairs = pair_result_sets(self.truth, self.results, self.truth_folder, self.policy)
        names = dict(zip(pairs[0].images.ids, pairs[0].images.file_names, strict=True))
        if wanted:
            wanted.groups(names)  # before the work, so that none is lost
        only = part(len(names)) if part else None
        sizes = [each.map_digests() for each in pairs] if part else []
        scored: list[list[ScoredPng | None]] = []
        details = detail_pairs(pairs, progress, workers=self.workers, boundary=self.boundary, only=only, scored=scored)
        folders = [pairs[0].map_folders[0], *(each.map_folders[1] for each in pairs)]
        pngs = PartPngs([path.absolute() for path in folders], sizes, scored) if part else None
        return ResultSets(details, self.names, names, pngs)


@dataclass(frozen=True)
class ResultSets:
    """Result sets for one truth, all images compared: ``details`` and ``names`` of each, and the files of pictures."""

    details: Sequence[PanopticDetails]
    names: Sequence[str]
    file_names: Mapping[ImageId, str]
    pngs: PartPngs | None = None
    """The files of the maps, where only a part of the images was compared."""
    remark: str | None = None
    """What could not be checked when parts were merged."""


@dataclass(frozen=True)
class Wanted:
    """What to compute besides PQ, SQ and RQ, and the folder ``out`` to write.

    ``in_detail`` asks for all of `Findings`, as a folder or a second result set do. ``also`` has names of
    `further.FURTHER`, and ``group_by`` is a CSV file for `groups.read_groups`.
    """

    out: Path | None = None
    table_format: TableFormat = "csv"
    overwrite: bool = False
    in_detail: bool = False
    also: Sequence[str] = ()
    group_by: Path | None = None
    resampling: Resampling = field(default_factory=Resampling)

    @property
    def is_plain(self) -> bool:
        """Whether PQ, SQ and RQ are all."""
        return not (self.out or self.in_detail or self.also or self.group_by)

    def groups(self, file_names: Mapping[ImageId, str]) -> Columns:
        """The groups of the images, by the names of their pictures."""
        return read_groups(self.group_by, file_names) if self.group_by else {}


@dataclass(frozen=True)
class Scores:
    """What was computed; ``findings`` is None unless they were asked for."""

    report: PanopticReport
    findings: Findings | None = None
    sections: Sequence[Section] = ()

    def summary(self, resampling: Resampling) -> dict[str, Any]:
        """All figures as JSON values, in which figures over nothing are None."""
        if self.findings:
            return summary(self.findings, resampling, self.sections)
        added: dict[str, Any] = without_nan(summaries(self.sections))
        return self.report.figures() | added


def require_writable(out: Path | None, table_format: TableFormat, overwrite: bool = False) -> None:
    """Raise an error, before any work is done, unless tables in ``table_format`` can be written to ``out``.

    ``overwrite`` permits to replace the tables of an earlier run, but no other folder.
    """
    if table_format == "parquet":
        if out is None:
            raise PanopticBlendError("--table-format needs --details; add --details FOLDER, or remove --table-format")
        require_extra("parquet", "or write CSV")
    if out is None or not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return
    if not (out / SUMMARY).is_file() or out.is_symlink():
        raise PanopticBlendError(f"{out}: is not a folder of tables; choose another, or empty it")
    if not overwrite:
        raise PanopticBlendError(f"{out}: already has tables; choose another folder, or add --overwrite")


def score(sets: ResultSets, wanted: Wanted) -> Scores:
    """Compute all that is ``wanted`` of the first result set, its comparison with another or a ranking of several, and
    further figures and groups of all sets; write the folder.

    Raises:
        PanopticBlendError: the folder is not empty.
    """
    details, *others = sets.details
    sections = _sections(sets, wanted)
    if not (wanted.out or wanted.in_detail):
        return Scores(details.compute(), None, sections)
    other = others[0] if len(others) == 1 else None
    findings = compute_findings(details, other, wanted.resampling, sets.file_names)
    if len(others) > 1:
        sections.insert(0, rank_sets(sets.details, sets.names, wanted.resampling))
    if wanted.out:
        places = wanted.out, details, findings, wanted.resampling, wanted.table_format
        write_details(*places, sections=sections, overwrite=wanted.overwrite)
    return Scores(findings.report, findings, sections)


def _sections(sets: ResultSets, wanted: Wanted) -> list[Section]:
    """The further figures and the groups of all result sets."""
    groups = wanted.groups(sets.file_names)
    found: list[list[Section]] = []
    for details in sets.details:
        found.append(list(further_sections(details, wanted.also)))
        if groups:
            found[-1].append(group_quality(details, groups, wanted.resampling))
    if len(found) == 1:
        return found[0]
    return [OfEachSet(dict(zip(sets.names, same, strict=True))) for same in zip(*found, strict=True)]


def find(files: ScoredFiles, resampling: Resampling, progress: Progress | None = None) -> Findings:
    """All detailed metrics of result files."""
    wanted = Wanted(in_detail=True, resampling=resampling)
    findings = score(files.read(progress), wanted).findings
    assert findings is not None
    return findings
