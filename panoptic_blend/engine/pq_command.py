"""What ``panoptic-blend pq`` does and prints."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console

from panoptic_blend.engine.detail_tables import comparison_tables, detail_tables
from panoptic_blend.engine.evaluate_files import detail_result_sets, evaluate_files
from panoptic_blend.engine.file_pairs import FilePolicy
from panoptic_blend.engine.parquet import require_parquet
from panoptic_blend.engine.pq_details import Resampling, TableFormat, find, summary, write_details
from panoptic_blend.engine.tables import class_table, progress_line, quality_table
from panoptic_blend.files import require_empty, telling_names
from panoptic_blend.metrics.details import PanopticDetails
from panoptic_blend.structures import PanopticBlendError


@dataclass(frozen=True)
class Request:
    """Files to compare; ``other`` results and their PNGs; ``out``, the folder for details; how to read and write."""

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


def run(request: Request, resamples: int, seed: int, as_json: bool) -> None:
    """Evaluate, write and print what was asked for."""
    if request.table_format == "parquet":
        if request.out is None:
            raise PanopticBlendError("tables are written with --details only; give it a folder, or no --table-format")
        require_parquet()
    if request.out or request.other or request.boundary:
        _run_details(request, Resampling(resamples, seed=seed), as_json)
        return
    folders = request.truth_folder, request.prediction_folder
    with progress_line("comparing") as progress:
        report = evaluate_files(
            request.truth,
            request.prediction,
            *folders,
            progress,
            policy=request.policy,
            workers=request.workers,
        )
    if as_json:
        print(json.dumps({**report.groups, "per_class": report.per_class}))
    else:
        Console().print(class_table(report), quality_table(report))


def _run_details(request: Request, resampling: Resampling, as_json: bool) -> None:
    if request.out:
        require_empty(request.out)  # better known before an hour of work than after it
    details, *others = _details(request)
    findings = find(details, next(iter(others), None), resampling)
    if request.out:
        write_details(request.out, details, findings, resampling, request.table_format)
    if as_json:
        print(json.dumps(summary(findings, resampling)))
        return
    console = Console()
    console.print(class_table(findings.report), quality_table(findings.report), *detail_tables(findings))
    if findings.compared:
        console.print(*comparison_tables(findings.compared))
    if request.out:
        print(f"tables of every segment, image, class and cause are in {request.out}")


def _details(request: Request) -> list[PanopticDetails]:
    """Those of the results, and of others if there are any."""
    results = [(request.prediction, request.prediction_folder), *([request.other] if request.other else [])]
    names = telling_names([request.truth, *(path for path, _ in results)])[1:]
    with progress_line(f"comparing {' and '.join(names)}") as progress:
        return detail_result_sets(
            request.truth,
            results,
            request.truth_folder,
            progress,
            policy=request.policy,
            workers=request.workers,
            boundary=request.boundary,
        )
