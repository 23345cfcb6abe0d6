"""``panoptic-blend pq``, which reads result files and needs neither model nor torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from panoptic_blend.cli import options
from panoptic_blend.cli.running import stoppable
from panoptic_blend.terminal import print_json, print_tables, progress_line


def pq(
    truth: options.TruthJson,
    prediction: options.ResultsJson,
    truth_folder: options.TruthFolder = None,
    prediction_folder: options.PredictionFolder = None,
    details: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Folder for tables of all segments, images, classes and causes of error."),
    ] = None,
    table_format: Annotated[
        Literal["csv", "parquet"], typer.Option(help="Format of the tables of segments and images.")
    ] = "csv",
    compare: options.Compare = None,
    compare_folder: options.CompareFolder = None,
    boundary: Annotated[bool, typer.Option("--boundary", help="Also compute boundary PQ.")] = False,
    missing: options.Missing = "error",
    additional: options.Additional = "error",
    area: options.Area = "png",
    resamples: options.Resamples = 1000,
    seed: options.BootstrapSeed = 0,
    workers: options.Threads = None,
    overwrite: options.Overwrite = False,
    form: options.Format = None,
    as_json: options.AsJson = False,
) -> None:
    """Compute PQ, SQ and RQ of any predictions exactly as the official script does; --details adds causes of errors."""
    from panoptic_blend.files import distinct_names
    from panoptic_blend.scoring.details import Resampling, summary
    from panoptic_blend.scoring.evaluate_files import evaluate_files
    from panoptic_blend.scoring.file_pairs import FilePolicy
    from panoptic_blend.scoring.run import DetailRequest, require_writable, score_in_detail
    from panoptic_blend.scoring.tables import class_table, nothing_to_score, quality_table

    tables_as = options.table_format(form, as_json=as_json)
    policy, resampling = FilePolicy(missing, additional, area), Resampling(resamples, seed=seed)
    with stoppable("stopped; nothing was written"):
        if not (details or compare or boundary):
            require_writable(details, table_format)
            with progress_line("comparing") as progress:
                report = evaluate_files(
                    truth, prediction, truth_folder, prediction_folder, progress, policy=policy, workers=workers
                )
            if as_json:
                print_json(report.figures())
            else:
                remarks = filter(None, [nothing_to_score(report)])
                print_tables(class_table(report), quality_table(report), form=tables_as, remarks=remarks)
            return
        request = DetailRequest(
            truth=truth,
            prediction=prediction,
            truth_folder=truth_folder,
            prediction_folder=prediction_folder,
            other=(compare, compare_folder) if compare else None,
            out=details,
            boundary=boundary,
            policy=policy,
            workers=workers,
            table_format=table_format,
            overwrite=overwrite,
        )
        names = distinct_names([truth, *(path for path, _ in request.results)])[1:]
        with progress_line(f"comparing {' and '.join(names)}") as progress:
            findings = score_in_detail(request, resampling, progress)
    if as_json:
        print_json(summary(findings, resampling))
        return
    from panoptic_blend.scoring.detail_tables import all_tables, rare_classes

    remarks = filter(None, [nothing_to_score(findings.report), rare_classes(findings)])
    place = [f"tables of segments, images, classes and causes: {details}"] if details else []
    print_tables(*all_tables(findings), form=tables_as, remarks=[*remarks, *place])
