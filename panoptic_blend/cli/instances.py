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
    overwrite: options.Overwrite = False,
    form: options.Format = None,
    as_json: options.AsJson = False,
) -> None:
    """Compute COCO's twelve figures of any detections exactly as pycocotools does; --details adds causes of errors."""
    from panoptic_blend.scoring.ap_tables import ap_tables
    from panoptic_blend.scoring.instance_details import instance_summary, write_instance_details
    from panoptic_blend.scoring.instance_files import InstanceFiles, InstancePolicy
    from panoptic_blend.scoring.instance_findings import compute_instance_findings
    from panoptic_blend.scoring.run import require_writable

    tables_as = options.table_format(form, as_json=as_json)
    with stoppable("stopped; nothing was written"):
        require_writable(details, table_format, overwrite)
        files = InstanceFiles(truth, [results], InstancePolicy(missing, additional, mask_area))
        with progress_line(f"scoring {results.name}", "images") as progress:
            findings = compute_instance_findings(files, progress, causes=details is not None)
        if details:
            write_instance_details(details, files, findings, table_format, overwrite=overwrite)
    remarks = files.remarks()
    if as_json:
        print_json(instance_summary(findings))
        for remark in remarks:
            print(remark, file=sys.stderr)
        return
    if details:
        remarks.append(f"tables of detections, instances, classes, curves and errors: {details}")
    print_tables(*ap_tables(findings, per_class=per_class), form=tables_as, remarks=remarks)
