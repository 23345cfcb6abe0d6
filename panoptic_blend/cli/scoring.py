"""``panoptic-blend pq``, which reads result files and needs neither model nor torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from panoptic_blend.cli import options
from panoptic_blend.cli.running import stoppable
from panoptic_blend.cli.sharding import compare_part
from panoptic_blend.terminal import progress_line


def pq(
    truth: options.TruthJson,
    prediction: options.ResultsJson,
    truth_folder: options.TruthFolder = None,
    prediction_folder: options.PredictionFolder = None,
    details: options.Details = None,
    table_format: options.DetailFormat = "csv",
    compare: options.CompareMany = None,
    compare_folder: options.CompareFolders = None,
    also: options.Also = None,
    group_by: options.GroupBy = None,
    fail_under: options.FailUnder = None,
    junit: options.Junit = None,
    github: options.Github = False,
    shard: Annotated[
        str | None, typer.Option(metavar="K/N", help="Compare only part K of N, for `pq merge`; needs --state.")
    ] = None,
    state: Annotated[
        Path | None, typer.Option(metavar="PART.npz", help="File for what --shard has found in its images.")
    ] = None,
    boundary: Annotated[bool, typer.Option("--boundary", help="Also compute boundary PQ.")] = False,
    missing: options.Missing = "error",
    additional: options.Additional = "error",
    area: options.Area = "png",
    resamples: options.Resamples = 1000,
    seed: options.BootstrapSeed = 0,
    workers: options.Workers = None,
    overwrite: options.Overwrite = False,
    form: options.Format = None,
    as_json: options.AsJson = False,
) -> None:
    """Compute PQ, SQ and RQ of any predictions exactly as the official script does; --details adds causes of errors.

    pq merge joins the parts that --shard has written.
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
    policy, others = FilePolicy(missing, additional, area), options.paired_folders(compare, compare_folder)
    with stoppable("stopped; nothing was written"):
        require_writable(details, table_format, overwrite)
        files = ScoredFiles(
            truth, prediction, truth_folder, prediction_folder, others, boundary, policy=policy, workers=workers
        )
        if shard or state:
            outputs = {
                **{"--details": details, "--also": also, "--group-by": group_by, "--fail-under": fail_under},
                **{"--format": form, "--json": as_json},
            }
            compare_part(files, shard, state, outputs, overwrite=overwrite)
            return
        with progress_line(f"comparing {' and '.join(files.names)}") as progress:
            if wanted.is_plain:
                folders = truth_folder, prediction_folder
                report = evaluate_files(truth, prediction, *folders, progress, policy=policy, workers=workers)
                scores = Scores(report)
            else:
                scores = score(files.read(progress, wanted), wanted)
    print_scores(scores, resampling, tables_as, as_json=as_json, folder=details)
    checks.run(scores.report)
