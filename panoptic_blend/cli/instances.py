"""``panoptic-blend ap``: scores results of instances and needs neither model nor torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

import typer

from panoptic_blend.cli import options
from panoptic_blend.cli.running import stoppable
from panoptic_blend.terminal import print_json, print_tables, progress_line


def ap(
    truth: Annotated[Path, typer.Argument(help="COCO instances JSON of the ground truth.")],
    results: Annotated[Path, typer.Argument(help="Results in COCO's format: boxes, masks or both.")],
    details: Annotated[
        Path | None,
        typer.Option(metavar="OUT", help="Folder for tables of all detections, instances, classes, curves and errors."),
    ] = None,
    table_format: Annotated[
        Literal["csv", "parquet"], typer.Option(help="Format of the tables of detections and instances.")
    ] = "csv",
    compare: options.Compare = None,
    per_class: Annotated[bool, typer.Option("--per-class", help="Also print the figures of every class.")] = False,
    missing: Annotated[
        Literal["empty", "error"],
        typer.Option(help="How to treat an image without results: as one where nothing was found, or as an error."),
    ] = "empty",
    additional: options.Additional = "error",
    mask_area: Annotated[
        Literal["box", "mask"],
        typer.Option(
            help="Area by which a false mask is small or large: that of its box, as in pycocotools, or its own, as in "
            "detectron2 and mmdetection."
        ),
    ] = "box",
    resamples: options.Resamples = 1000,
    seed: options.BootstrapSeed = 0,
    overwrite: options.Overwrite = False,
    form: options.Format = None,
    as_json: options.AsJson = False,
) -> None:
    """Compute COCO's twelve figures of any detections exactly as pycocotools does; --details adds causes of errors."""
    from panoptic_blend.files import distinct_names
    from panoptic_blend.scoring.ap_tables import ap_tables, rare_instance_classes
    from panoptic_blend.scoring.details import Resampling
    from panoptic_blend.scoring.instance_details import instance_summary, write_instance_details
    from panoptic_blend.scoring.instance_files import InstanceFiles, InstancePolicy
    from panoptic_blend.scoring.instance_findings import compute_instance_findings
    from panoptic_blend.scoring.run import require_writable

    tables_as, resampling = options.table_format(form, as_json=as_json), Resampling(resamples, seed=seed)
    sets = [results, *([compare] if compare else [])]
    with stoppable("stopped; nothing was written"):
        require_writable(details, table_format, overwrite)
        files = InstanceFiles(truth, sets, InstancePolicy(missing, additional, mask_area))
        with progress_line(f"scoring {' and '.join(distinct_names([truth, *sets])[1:])}", "images") as progress:
            findings = compute_instance_findings(files, resampling, progress, causes=details is not None)
        if details:
            write_instance_details(details, files, findings, resampling, table_format, overwrite=overwrite)
    remarks = files.remarks()
    if as_json:
        print_json(instance_summary(findings, resampling))
        for remark in remarks:
            print(remark, file=sys.stderr)
        return
    if rare := rare_instance_classes(findings):
        remarks.append(rare)
    if details:
        remarks.append(f"tables of detections, instances, classes, curves and errors: {details}")
    print_tables(*ap_tables(findings, per_class=per_class), form=tables_as, remarks=remarks)
