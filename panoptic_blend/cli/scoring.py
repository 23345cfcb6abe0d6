"""``panoptic-blend pq``, which reads result files and needs neither model nor torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from panoptic_blend.cli import options
from panoptic_blend.cli.running import stoppable
from panoptic_blend.terminal import progress_line


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
    also: options.Also = None,
    group_by: options.GroupBy = None,
    fail_under: options.FailUnder = None,
    junit: options.Junit = None,
    github: options.Github = False,
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
    """Compute PQ, SQ and RQ of any predictions exactly as the official script does; --details adds causes of errors.

    pq --self-test holds this evaluator, or another one, against cases that were worked out by hand.
    """
    from panoptic_blend.cli.score_output import Checks, print_scores
    from panoptic_blend.scoring.details import Resampling
    from panoptic_blend.scoring.evaluate_files import evaluate_files
    from panoptic_blend.scoring.file_pairs import FilePolicy
    from panoptic_blend.scoring.further import parse_names
    from panoptic_blend.scoring.run import ScoredFiles, Scores, Wanted, require_writable, score

    tables_as, resampling = options.table_format(form, as_json=as_json), Resampling(resamples, seed=seed)
    wanted = Wanted(
        out=details,
        table_format=table_format,
        overwrite=overwrite,
        in_detail=bool(compare or boundary),
        also=parse_names(also),
        group_by=group_by,
        resampling=resampling,
    )
    checks = Checks.parse(fail_under, junit, github=github)
    policy, other = FilePolicy(missing, additional, area), (compare, compare_folder) if compare else None
    with stoppable("stopped; nothing was written"):
        require_writable(details, table_format, overwrite)
        files = ScoredFiles(
            truth, prediction, truth_folder, prediction_folder, other, boundary, policy=policy, workers=workers
        )
        with progress_line(f"comparing {' and '.join(files.names)}") as progress:
            if wanted.is_plain:
                folders = truth_folder, prediction_folder
                report = evaluate_files(truth, prediction, *folders, progress, policy=policy, workers=workers)
                scores = Scores(report)
            else:
                scores = score(files.read(progress, wanted), wanted)
    print_scores(scores, resampling, tables_as, as_json=as_json, folder=details)
    checks.run(scores.report)
