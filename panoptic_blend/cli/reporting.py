"""``panoptic-blend report``: reads result files and needs neither model nor torch."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from panoptic_blend.cli import options
from panoptic_blend.cli.running import stoppable
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.terminal import progress_line

if TYPE_CHECKING:
    from panoptic_blend.scoring.run import ScoredFiles


def report(
    truth: Annotated[Path, typer.Argument(help="COCO panoptic JSON of the ground truth, or instances JSON.")],
    prediction: Annotated[Path, typer.Argument(help="COCO panoptic JSON of the predictions, or results of instances.")],
    images: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the photos; needed but for --select.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="The page to write, by default report.html; large data sets also get a folder beside it. With "
            "--select the list, by default selected.txt.",
        ),
    ] = None,
    truth_folder: options.TruthFolder = None,
    prediction_folder: options.PredictionFolder = None,
    compare: Annotated[
        list[Path] | None,
        typer.Option(metavar="B.json", help="Other predictions for the same images; up to five, each with --compare."),
    ] = None,
    compare_folder: Annotated[
        list[Path] | None,
        typer.Option(help="PNGs of the predictions of each --compare, in the same order; default: beside each JSON."),
    ] = None,
    missing: options.Missing = "error",
    additional: options.Additional = "error",
    area: options.Area = "png",
    resamples: options.Resamples = 1000,
    seed: options.BootstrapSeed = 0,
    workers: options.Workers = None,
    size: Annotated[int, typer.Option(min=64, max=8192, help="Longest side of its photos and maps in pixels.")] = 1024,
    overwrite: options.Overwrite = False,
    instances: Annotated[
        Path | None, typer.Option(metavar="RESULTS.json", help="Show these COCO results of instances beside the maps.")
    ] = None,
    instances_truth: Annotated[
        Path | None,
        typer.Option(
            metavar="TRUTH.json",
            help="COCO instances JSON of their truth; default: instances_X.json beside panoptic_X.json, else the maps.",
        ),
    ] = None,
    compare_instances: Annotated[
        list[Path] | None,
        typer.Option(metavar="B.json", help="Instances of the predictions of each --compare, in the same order."),
    ] = None,
    group_by: options.GroupBy = None,
    select: Annotated[
        str | None,
        typer.Option(
            metavar="FILTER",
            help="Write no page but a list of the images with such segments, as 'cause=missed,class=person'.",
        ),
    ] = None,
) -> None:
    """Write a web page with PQ, classes, confusion, error budget, and every image with its errors.

    It shows AP, curves and detections instead if TRUTH and PREDICTION are COCO instances JSON and results, and both
    with --instances.
    """
    from panoptic_blend.report.command import InstanceRequest, ReportRequest, write_instance_report, write_report
    from panoptic_blend.report.instance_sets import InstancePaths, is_instance_results
    from panoptic_blend.report.instance_truth import find_truth
    from panoptic_blend.scoring.details import Resampling
    from panoptic_blend.scoring.file_pairs import FilePolicy
    from panoptic_blend.scoring.instance_files import InstancePolicy
    from panoptic_blend.scoring.run import ScoredFiles

    if select is not None:
        page_only = {
            "--images": images,
            "--instances": instances,
            "--instances-truth": instances_truth,
            "--compare-instances": compare_instances,
            "--group-by": group_by,
        }
        for option in (option for option, value in page_only.items() if value):
            raise PanopticBlendError(
                f"{option} has no effect with --select, which writes a list and no page; leave it out"
            )
        results = ScoredFiles(
            truth=truth,
            prediction=prediction,
            truth_folder=truth_folder,
            prediction_folder=prediction_folder,
            others=options.paired_folders(compare, compare_folder),
            policy=FilePolicy(missing, additional, area),
            workers=workers,
        )
        _write_list(results, select, output or Path("selected.txt"), overwrite)
        return
    if images is None:
        raise PanopticBlendError("a page needs the photos; say where they are with --images")
    output = output or Path("report.html")
    resampling, policy = Resampling(resamples, seed=seed), InstancePolicy(additional=additional)
    if is_instance_results(prediction):
        panoptic_only = {
            "--truth-folder": truth_folder,
            "--prediction-folder": prediction_folder,
            "--compare-folder": compare_folder,
            "--instances": instances,
            "--instances-truth": instances_truth,
            "--compare-instances": compare_instances,
            "--group-by": group_by,
            "--missing": missing != "error",
            "--area": area != "png",
        }
        _refuse([option for option, value in panoptic_only.items() if value], prediction)
        files = InstancePaths(prediction, truth, compare or (), policy)
        write = partial(write_instance_report, InstanceRequest(files, images, output, workers, size, overwrite))
    else:
        others, other_instances = compare or [], compare_instances or []
        _require_useful(instances, instances_truth, others, other_instances)
        shown = None
        if instances:
            shown = InstancePaths(instances, instances_truth or find_truth(truth), other_instances, policy)
        request = ReportRequest(
            truth=truth,
            prediction=prediction,
            photos=images,
            page=output,
            truth_folder=truth_folder,
            prediction_folder=prediction_folder,
            others=options.paired_folders(others, compare_folder),
            policy=FilePolicy(missing, additional, area),
            workers=workers,
            side=size,
            overwrite=overwrite,
            instances=shown,
            group_by=group_by,
        )
        write = partial(write_report, request)
    with stoppable("stopped; nothing was written"), progress_line("comparing", "images") as progress:
        page, *folder = write(resampling, progress)
    print(f"{page} is the report" + (f"; {folder[0]} belongs to it" if folder else ", a single file"))


def _write_list(files: ScoredFiles, select: str, output: Path, overwrite: bool) -> None:
    from panoptic_blend.report.selection import write_selection
    from panoptic_blend.scoring.evaluate_files import pair_result_sets

    with stoppable("stopped; nothing was written"), progress_line("comparing", "images") as progress:
        pairs = pair_result_sets(files.truth, files.results, files.truth_folder, files.policy, pictures=True)
        sets = dict(zip(files.names, pairs, strict=True))
        number = write_selection(sets, select, output, overwrite=overwrite, workers=files.workers, progress=progress)
    print(f"{output} lists {number} of {len(pairs[0])} images")


def _refuse(panoptic_only: list[str], results: Path) -> None:
    """Raise an error if options were given that are of no use for instances."""
    if panoptic_only:
        raise PanopticBlendError(
            f"{panoptic_only[0]} is for panoptic results, and {results} holds instances; leave it out"
        )


def _require_useful(
    instances: Path | None, instances_truth: Path | None, compare: list[Path], compare_instances: list[Path]
) -> None:
    """Raise an error if an option about instances would have no effect, or only one part would be compared."""
    if not instances and (instances_truth or compare_instances):
        option = "--instances-truth" if instances_truth else "--compare-instances"
        raise PanopticBlendError(f"{option} shows nothing alone; give the results with --instances, or leave it out")
    if instances and len(compare) != len(compare_instances):
        more, fewer = "--compare", "--compare-instances"
        if len(compare) < len(compare_instances):
            more, fewer = fewer, more
        raise PanopticBlendError(f"{more} without {fewer}: both parts of the page compare the same models; give both")
