"""``panoptic-blend data export``: data sets and predictions in the formats of annotation tools."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from panoptic_blend.cli.running import stoppable
from panoptic_blend.terminal import progress_line

if TYPE_CHECKING:
    from panoptic_blend.interchange.exporting import Exported
    from panoptic_blend.interchange.label_writer import Drawing

Format = Literal[
    "labelme", "coco-instances", "yolo-seg", "cvat", "label-studio", "cityscapes", "fiftyone", "supervision", "masks"
]
Link = Annotated[bool, typer.Option("--link", help="Link to the pictures instead of copying them.")]


def export(
    source: Annotated[
        Path,
        typer.Argument(
            metavar="SRC", help="Data set in COCO's layout, its panoptic JSON, or predictions (folder or JSON)."
        ),
    ],
    to: Annotated[Format, typer.Option(help="The format to write.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to write, which must not exist or be empty.")],
    split: Annotated[str | None, typer.Option(help="The split of a data set that has several.")] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of the pictures, if it is not that of the split in COCO's layout.")
    ] = None,
    maps: Annotated[Path | None, typer.Option(help="Folder or zip of PNGs; default: beside the JSON.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="JSON of the data set, for predictions without images and categories.")
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Export only the pictures of this list: one image id or file name a line.")
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(min=0, help="Pixels by which outlines may be off; 0 follows every pixel.", show_default="1"),
    ] = None,
    masks: Annotated[bool, typer.Option("--masks", help="Write masks instead of polygons, which are exact.")] = False,
    link: Link = False,
    labels_only: Annotated[bool, typer.Option("--labels-only", help="Write no pictures.")] = False,
) -> None:
    """Write labels or predictions for an annotation tool or another library, and print the command that reads them."""
    from panoptic_blend.interchange.exporting import drawing
    from panoptic_blend.interchange.exporting import export as write
    from panoptic_blend.interchange.source import open_source, read_list

    drawn = drawing(to, tolerance, masks=masks)
    opened = open_source(source, split, pictures=pictures, maps=maps, truth=truth)
    if images is not None:
        opened = opened.only(read_list(images), images)
    with stoppable("stopped; nothing was written"), progress_line("exporting") as progress:
        done = write(opened, to, output, drawn, progress, link=link, with_pictures=not labels_only)
    print(*_lines(done, to, drawn), f"the labels are in {output}", sep="\n")
    if not labels_only:
        print(f"to read them again: panoptic-blend data convert {shlex.join(done.way_back)} --output NEW")


def _lines(done: Exported, form: str, drawn: Drawing) -> list[str]:
    kinds = {"polygons": f"off by at most {drawn.tolerance:g} px", "masks": "exact"}
    counted = [f"{done.drawn[kind]} as {kind}, {how}" for kind, how in kinds.items() if done.drawn[kind]]
    lines = [f"{done.pictures} pictures; segments: {'; '.join(counted) or 'none'}"]
    for kind, count in (("crowds", done.crowds), ("scores", done.scores)):
        if count:
            lines.append(f"{count} {kind} were left out: {form} has no place for them")
    return [*lines, *done.remarks]
