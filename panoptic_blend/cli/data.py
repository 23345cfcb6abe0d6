"""``panoptic-blend data``: download, generate, convert and check data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from panoptic_blend.cli.convert import CrowdRule
from panoptic_blend.cli.convert_masks import convert
from panoptic_blend.cli.data_sets import filter_, merge, split, stats
from panoptic_blend.cli.interchange import export
from panoptic_blend.cli.options import AsJson, Output
from panoptic_blend.cli.running import stoppable
from panoptic_blend.terminal import print_json, print_tables, progress_line

data = typer.Typer(help="Download, generate, convert and check data sets.", no_args_is_help=True)
data.add_typer(convert, name="convert")
for command in (export, merge, split, stats):
    data.command()(command)
data.command("filter")(filter_)


@data.command()
def shapes(
    output: Output = Path("datasets/shapes"),
    train: Annotated[int, typer.Option(min=0, help="Number of training images.")] = 2000,
    val: Annotated[int, typer.Option(min=0, help="Number of validation images.")] = 200,
    seed: Annotated[int, typer.Option(help="Seed of the generator.")] = 0,
    kind: Annotated[
        Literal["plain", "hard"], typer.Option(help="hard: many overlapping instances of one class, more of them thin.")
    ] = "plain",
) -> None:
    """Generate the Shapes data set in COCO panoptic format."""
    from panoptic_blend.shapes.dataset import write_shapes

    with progress_line("generating") as progress:
        write_shapes(output, train, val, seed, lambda done: progress(done, train + val), kind)
    print(f"{train} training and {val} validation images are in {output}")


@data.command("check")
def data_check(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Root of a data set in COCO's layout.")],
    split: Annotated[str | None, typer.Option(help="Check only this split, like val2017; default: all.")] = None,
    cases: Annotated[int, typer.Option(min=0, help="How many cases of each kind of problem to show.")] = 3,
    fix: Annotated[
        Path | None, typer.Option(metavar="OUT.json", help="Write a repaired copy of the split's JSON.")
    ] = None,
    things: Annotated[
        list[str] | None, typer.Option(help="With --fix: categories that become things; all others become stuff.")
    ] = None,
    stuff: Annotated[
        list[str] | None, typer.Option(help="With --fix: categories that become stuff; all others become things.")
    ] = None,
    crowds: CrowdRule = "keep",
    workers: Annotated[int | None, typer.Option(min=1, help="Number of processes; default: one per core.")] = None,
    as_json: AsJson = False,
) -> None:
    """Report the faults of a COCO panoptic data set; exit code 1 if there are errors."""
    from panoptic_blend.doctor.checkup import check
    from panoptic_blend.doctor.description import lines, record, summary_table
    from panoptic_blend.doctor.edits import Edits
    from panoptic_blend.formats.name_lists import parse_names

    edits = Edits(parse_names(things, "--things"), parse_names(stuff, "--stuff"), crowds == "instances")
    with stoppable("stopped; nothing was written"), progress_line("checking") as progress:
        report = check(root, split, cases=cases, workers=workers, progress=progress, fix=fix, edits=edits)
    if as_json:
        print_json(record(report))
    else:
        print_tables(summary_table(report))
        print(*lines(report), sep="\n")
    raise typer.Exit(0 if report.is_sound else 1)


@data.command()
def coco(
    root: Annotated[Path, typer.Option(help="Folder to fill; all of COCO with its zips takes 40 GB.")] = Path(
        "datasets/coco"
    ),
    split: Annotated[list[str] | None, typer.Option(help="val2017 or train2017; default: both.")] = None,
    instances: Annotated[bool, typer.Option("--instances", help="Also download instances_*.json.")] = False,
    unzip_pngs: Annotated[
        bool, typer.Option(help="Unpack the PNGs, or leave them in annotations/panoptic_*.zip.")
    ] = True,
    keep_zips: Annotated[
        bool, typer.Option("--keep-zips/--delete-zips", help="Keep or delete zips after they are unpacked.")
    ] = True,
    mirror: Annotated[str | None, typer.Option(help="Server to use instead of images.cocodataset.org.")] = None,
    checksums: Annotated[
        Path | None, typer.Option(help="File with the SHA-256 of each zip, as sha256sum writes it.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show the steps and their sizes.")] = False,
) -> None:
    """Download, check and unpack COCO for the panoptic task; run it again after an interruption to continue."""
    from panoptic_blend.download.coco import HOST, SPLITS, DownloadRequest, Feedback, plan, prepare
    from panoptic_blend.terminal import bytes_line

    host = HOST if mirror is None else mirror
    request = DownloadRequest(
        root=root,
        splits=tuple(split or SPLITS),
        instances=instances,
        unzip_pngs=unzip_pngs,
        keep_zips=keep_zips,
        mirror=host,
        checksums=checksums,
    )
    if dry_run:
        print(*plan(request).lines(), sep="\n")
        return
    with stoppable("stopped; run the same command again to continue"), bytes_line() as progress:
        prepare(request, Feedback(progress, print))
    print(f"COCO {' and '.join(request.splits)}: complete in {root}")
