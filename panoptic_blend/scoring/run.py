"""Score result files in detail and write the tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from panoptic_blend.extras import require_extra
from panoptic_blend.scoring.details import SUMMARY, Findings, Resampling, TableFormat, compute_findings, write_details
from panoptic_blend.scoring.evaluate_files import detail_pairs, pair_result_sets
from panoptic_blend.scoring.file_pairs import FilePolicy
from panoptic_blend.structures import PanopticBlendError, Progress


@dataclass(frozen=True)
class DetailRequest:
    """Files to score, ``other`` results (JSON, folder of PNGs) to compare with, options, and a folder for tables."""

    truth: Path
    prediction: Path
    truth_folder: Path | None = None
    prediction_folder: Path | None = None
    other: tuple[Path, Path | None] | None = None
    out: Path | None = None
    boundary: bool = False
    policy: FilePolicy = field(default_factory=FilePolicy)
    workers: int | None = None
    table_format: TableFormat = "csv"
    overwrite: bool = False

    @property
    def results(self) -> list[tuple[Path, Path | None]]:
        """JSON and folder of PNGs of every result set."""
        return [(self.prediction, self.prediction_folder), *([self.other] if self.other else [])]


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


def score_in_detail(request: DetailRequest, resampling: Resampling, progress: Progress | None = None) -> Findings:
    """Compute all metrics of the results, and write their tables to ``request.out`` if given.

    Raises:
        PanopticBlendError: a file is missing or broken, or the folder is not empty.
    """
    require_writable(request.out, request.table_format, request.overwrite)
    pairs = pair_result_sets(request.truth, request.results, request.truth_folder, request.policy)
    details, *others = detail_pairs(pairs, progress, workers=request.workers, boundary=request.boundary)
    names = dict(zip(pairs[0].images.ids, pairs[0].images.file_names, strict=True))
    findings = compute_findings(details, next(iter(others), None), resampling, names)
    if request.out:
        write_details(request.out, details, findings, resampling, request.table_format, overwrite=request.overwrite)
    return findings
