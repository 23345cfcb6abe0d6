"""Score result files in detail and write the tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from panoptic_blend.extras import require_extra
from panoptic_blend.files import require_empty
from panoptic_blend.scoring.details import Findings, Resampling, TableFormat, compute_findings, write_details
from panoptic_blend.scoring.evaluate_files import detail_result_sets
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

    @property
    def results(self) -> list[tuple[Path, Path | None]]:
        """JSON and folder of PNGs of every result set."""
        return [(self.prediction, self.prediction_folder), *([self.other] if self.other else [])]


def require_writable(out: Path | None, table_format: TableFormat) -> None:
    """Raise an error, before any work is done, unless tables in ``table_format`` can be written to ``out``."""
    if table_format == "parquet":
        if out is None:
            raise PanopticBlendError("--table-format needs --details; add --details FOLDER, or remove --table-format")
        require_extra("parquet", "or write CSV")
    if out:
        require_empty(out)


def score_in_detail(request: DetailRequest, resampling: Resampling, progress: Progress | None = None) -> Findings:
    """Compute all metrics of the results, and write their tables to ``request.out`` if given.

    Raises:
        PanopticBlendError: a file is missing or broken, or the folder is not empty.
    """
    require_writable(request.out, request.table_format)
    details, *others = detail_result_sets(
        request.truth,
        request.results,
        request.truth_folder,
        progress,
        policy=request.policy,
        workers=request.workers,
        boundary=request.boundary,
    )
    findings = compute_findings(details, next(iter(others), None), resampling)
    if request.out:
        write_details(request.out, details, findings, resampling, request.table_format)
    return findings
