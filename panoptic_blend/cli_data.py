"""``panoptic-blend data ...``: parse and dispatch, nothing else."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.console import Console

from panoptic_blend.structures import PanopticBlendError

if TYPE_CHECKING:
    from panoptic_blend.data.convert.writing import Source, Target

data = typer.Typer(help="Fetch, make, convert and check data sets.", no_args_is_help=True)
convert = typer.Typer(help="Make COCO panoptic of data sets in other formats.", no_args_is_help=True)
data.add_typer(convert, name="convert")


@contextmanager
def stoppable(message: str) -> Iterator[None]:
    """Ctrl-C in the block ends in one line and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print(message, file=sys.stderr)
        raise typer.Exit(130) from None


Out = Annotated[Path, typer.Option(help="COCO root to write: SPLIT/, annotations/panoptic_SPLIT.json and PNGs.")]
SplitName = Annotated[str, typer.Option(help="Name of the split to write.")]
ValShare = Annotated[float, typer.Option(min=0, max=0.9, help="Share of the pictures that becomes the split val.")]
Seed = Annotated[int, typer.Option(min=0, help="Other seeds choose other pictures for val.")]
OverlapRule = Annotated[
    Literal["smaller", "later", "earlier"], typer.Option(help="Who keeps a pixel that two things or two stuffs claim.")
]
Rest = Annotated[str | None, typer.Option(help="Stuff class of the pixels nobody labelled; else they are void.")]
KeepEmpty = Annotated[bool, typer.Option("--keep-empty", help="Keep pictures without any segment.")]
Link = Annotated[bool, typer.Option("--link", help="Link to the pictures instead of copying them.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace what an earlier run wrote.")]


@data.command()
def shapes(
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("datasets/shapes"),
    train: Annotated[int, typer.Option(min=0, help="Training images.")] = 2000,
    val: Annotated[int, typer.Option(min=0, help="Validation images.")] = 200,
    seed: int = 0,
) -> None:
    """Generate the Shapes data set in COCO panoptic format."""
    from panoptic_blend.data.shapes import write_shapes
    from panoptic_blend.engine.tables import progress_line

    with progress_line("generating") as progress:
        write_shapes(out, train, val, seed, lambda done: progress(done, train + val))
    print(f"{train} training and {val} validation images are in {out}")


@data.command("check")
def data_check(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Root of a data set in COCO's layout.")],
    split: Annotated[str | None, typer.Option(help="Only this one, like val2017; default: all there are.")] = None,
    cases: Annotated[int, typer.Option(min=0, help="How many of each kind of problem to tell.")] = 3,
    fix: Annotated[Path | None, typer.Option(metavar="OUT.json", help="Write the split's JSON, corrected.")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; default: one per core.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print it for machines.")] = False,
) -> None:
    """Say what is wrong with a COCO panoptic data set; exit code 1 if there are errors."""
    from panoptic_blend.data.doctor.checkup import check
    from panoptic_blend.engine.checkup_report import lines, record, summary_table
    from panoptic_blend.engine.tables import progress_line

    with stoppable("stopped; nothing was written"), progress_line("checking") as progress:
        report = check(root, split, cases=cases, workers=workers, progress=progress, fix=fix)
    if as_json:
        print(json.dumps(record(report)))
    else:
        Console().print(summary_table(report))
        print(*lines(report), sep="\n")
    raise typer.Exit(0 if report.is_sound else 1)


@convert.command("coco-instances")
def convert_coco_instances(
    instances: Annotated[Path, typer.Argument(help="COCO instances JSON: polygons, RLE, crowds.")],
    pictures: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    out: Out,
    stuff: Annotated[list[str] | None, typer.Option(help="Categories of the JSON that are stuff: sky,road.")] = None,
    stuff_maps: Annotated[Path | None, typer.Option(help="Folder of grey stuff PNGs, named as pictures.")] = None,
    stuff_classes: Annotated[
        Path | None, typer.Option(help='Names of their values: {"1": "sky", "0": null}, or a JSON with categories.')
    ] = None,
    ignore_value: Annotated[int, typer.Option(min=0, help="Value of those PNGs that means nothing.")] = 255,
    split: SplitName = "train",
    val_share: ValShare = 0.0,
    seed: Seed = 0,
    overlap: OverlapRule = "smaller",
    rest: Rest = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    overwrite: Overwrite = False,
) -> None:
    """COCO instances, with or without stuff as grey PNGs."""
    from panoptic_blend.data.convert.coco_instances import Stuff, read_coco_instances
    from panoptic_blend.data.convert.writing import Target

    if (stuff_maps is None) != (stuff_classes is None):
        raise PanopticBlendError("--stuff-maps and --stuff-classes say one thing together; give both")
    maps = Stuff(stuff_maps, stuff_classes, ignore_value) if stuff_maps and stuff_classes else None
    target = Target(out, split, val_share, seed, overlap, rest, keep_empty, link, overwrite)
    _convert(read_coco_instances(instances, pictures, _names(stuff), maps), target)


@convert.command("labelme")
def convert_labelme(
    folder: Annotated[Path, typer.Argument(help="Folder with one LabelMe JSON beside each picture, or around it.")],
    out: Out,
    stuff: Annotated[list[str] | None, typer.Option(help="Labels that are stuff: sky,road.")] = None,
    things: Annotated[
        list[str] | None, typer.Option(help="Labels that are things; default: all that are not stuff.")
    ] = None,
    void: Annotated[
        list[str] | None, typer.Option(help="Labels that mean nothing.", show_default="__ignore__,_background_")
    ] = None,
    pictures: Annotated[Path | None, typer.Option(help="Folder of the pictures, if not beside the JSONs.")] = None,
    split: SplitName = "train",
    val_share: ValShare = 0.0,
    seed: Seed = 0,
    overlap: OverlapRule = "smaller",
    rest: Rest = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    overwrite: Overwrite = False,
) -> None:
    """A folder of LabelMe files; shapes of one label and group_id are one instance."""
    from panoptic_blend.data.convert.labelme import VOID, Classes, read_labelme
    from panoptic_blend.data.convert.writing import Target

    classes = Classes(_names(things), _names(stuff), VOID if void is None else _names(void))
    target = Target(out, split, val_share, seed, overlap, rest, keep_empty, link, overwrite)
    _convert(read_labelme(folder, classes, pictures), target)


@convert.command("cityscapes")
def convert_cityscapes(
    panoptic_json: Annotated[Path, typer.Argument(help="cityscapes_panoptic_SPLIT.json of Cityscapes' own scripts.")],
    pictures: Annotated[Path, typer.Option(help="leftImg8bit, or its folder of the split.")],
    out: Out,
    maps: Annotated[Path | None, typer.Option(help="Folder of its PNGs; default: beside the JSON.")] = None,
    split: SplitName = "train",
    keep_empty: KeepEmpty = False,
    link: Link = False,
    overwrite: Overwrite = False,
) -> None:
    """The panoptic JSON and PNGs that createPanopticImgs makes, with label ids or train ids."""
    from panoptic_blend.data.convert.cityscapes import read_cityscapes
    from panoptic_blend.data.convert.writing import Target

    target = Target(out, split, keep_empty=keep_empty, link=link, overwrite=overwrite)
    _convert(read_cityscapes(panoptic_json, pictures, maps), target)


@data.command()
def coco(
    root: Annotated[Path, typer.Option(help="Folder to fill; all of COCO with its zips takes 40 GB.")] = Path(
        "datasets/coco"
    ),
    split: Annotated[list[str] | None, typer.Option(help="val2017 or train2017; default: both.")] = None,
    instances: Annotated[bool, typer.Option("--instances", help="Fetch instances_*.json too.")] = False,
    unzip_pngs: Annotated[bool, typer.Option(help="Unpack the PNGs, or leave annotations/panoptic_*.zip.")] = True,
    keep_zips: Annotated[bool, typer.Option("--keep-zips/--delete-zips", help="What to do with them after.")] = True,
    mirror: Annotated[str | None, typer.Option(help="Address to use instead of images.cocodataset.org.")] = None,
    checksums: Annotated[Path | None, typer.Option(help="SHA-256 of the zips, as sha256sum writes them.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be done, and how large it is.")] = False,
) -> None:
    """Fetch, check and unpack COCO for the panoptic task; run again to go on after a stop."""
    from panoptic_blend.data.coco_download import HOST, SPLITS, Feedback, Wish, plan, prepare
    from panoptic_blend.engine.tables import bytes_line

    host = HOST if mirror is None else mirror
    wish = Wish(root, tuple(split or SPLITS), instances, unzip_pngs, keep_zips, host, checksums)
    if dry_run:
        print(*plan(wish).lines(), sep="\n")
        return
    with stoppable("stopped; the same command goes on from here"), bytes_line() as progress:
        prepare(wish, Feedback(progress, print))
    print(f"COCO {' and '.join(wish.splits)}: complete in {root}")


def _convert(source: Source, target: Target) -> None:
    from panoptic_blend.data.convert.summary import lines
    from panoptic_blend.data.convert.writing import write
    from panoptic_blend.engine.tables import progress_line

    with progress_line("converting") as progress:
        summary = write(source, target, progress)
    print("\n".join([*lines(summary), f"the data set is in {target.root}"]))


def _names(values: list[str] | None) -> list[str]:
    """Labels given in one option with commas, in several, or both."""
    return [name.strip() for value in values or () for name in value.split(",") if name.strip()]
