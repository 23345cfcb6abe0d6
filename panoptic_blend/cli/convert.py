"""``panoptic-blend data convert``: convert data sets in other formats to COCO panoptic; those of annotation tools."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from panoptic_blend.cli.options import Overwrite
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.terminal import progress_line

if TYPE_CHECKING:
    from panoptic_blend.convert.writing import ConversionOptions, LabeledSource

convert = typer.Typer(help="Convert data sets in other formats to COCO panoptic.", no_args_is_help=True)

Output = Annotated[
    Path,
    typer.Option(
        "--output", "-o", help="Folder to write: pictures in SPLIT/, annotations/panoptic_SPLIT.json, and its PNGs."
    ),
]
SplitName = Annotated[str, typer.Option(help="Name of the split to write.")]
ValShare = Annotated[float, typer.Option(min=0, max=0.9, help="Share of the pictures that becomes the split val.")]
Seed = Annotated[int, typer.Option(min=0, help="Seed of the choice of pictures for val.")]
OverlapRule = Annotated[
    Literal["smaller", "later", "earlier"],
    typer.Option(help="Which of two overlapping things, or of two stuff classes, keeps the overlap."),
]
Rest = Annotated[str | None, typer.Option(help="Stuff class for unlabeled pixels; default: they are void.")]
KeepEmpty = Annotated[bool, typer.Option("--keep-empty", help="Keep pictures without segments.")]
CrowdRule = Annotated[
    Literal["keep", "instances"],
    typer.Option(help="Keep annotations with `iscrowd` as crowds, or take each as one instance."),
]
SkipMalformed = Annotated[bool, typer.Option("--skip-malformed", help="Leave out annotations without a valid mask.")]
DrawnOnRule = Annotated[
    Literal["stored", "upright"],
    typer.Option(
        help="The picture on which shapes were drawn, where the size in the JSON is that without its orientation tag."
    ),
]
Only = Annotated[str | None, typer.Option("--split", metavar="NAME", help="Convert only this split; default: all.")]
Link = Annotated[bool, typer.Option("--link", help="Link to the pictures instead of copying them.")]
Like = Annotated[
    Path | None,
    typer.Option(metavar="OLD.json", help="COCO panoptic JSON whose image and category ids to keep, by their names."),
]


@convert.command("coco-instances")
def convert_coco_instances(
    instances: Annotated[Path, typer.Argument(help="COCO instances JSON, with polygons or RLE.")],
    pictures: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    output: Output,
    stuff: Annotated[list[str] | None, typer.Option(help="Categories that are stuff, like sky,road.")] = None,
    stuff_maps: Annotated[
        Path | None, typer.Option(help="Folder of gray PNGs with one value per stuff class, named like the pictures.")
    ] = None,
    stuff_classes: Annotated[
        Path | None,
        typer.Option(help='JSON with the class of each value: {"1": "sky", "0": null}, or with COCO categories.'),
    ] = None,
    ignore_value: Annotated[
        int | None, typer.Option(min=0, help="Value of the stuff PNGs that means void.", show_default="255")
    ] = None,
    crowds: CrowdRule = "keep",
    skip_malformed: SkipMalformed = False,
    drawn_on: DrawnOnRule = "stored",
    split: SplitName = "train",
    val_share: ValShare = 0.0,
    seed: Seed = 0,
    overlap: OverlapRule = "smaller",
    rest: Rest = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    like: Like = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert COCO instances, with or without gray stuff PNGs."""
    from panoptic_blend.convert.coco_annotations import Rules
    from panoptic_blend.convert.coco_instances import Stuff, read_coco_instances
    from panoptic_blend.convert.writing import ConversionOptions
    from panoptic_blend.formats.name_lists import parse_names

    if (stuff_maps is None) != (stuff_classes is None):
        raise PanopticBlendError("--stuff-maps and --stuff-classes need each other; give both")
    maps = Stuff(stuff_maps, stuff_classes, ignore_value) if stuff_maps and stuff_classes else None
    options = ConversionOptions(
        root=output,
        split=split,
        val_share=val_share,
        seed=seed,
        overlap=overlap,
        rest=rest,
        keep_empty=keep_empty,
        link=link,
        overwrite=overwrite,
    )
    rules = Rules(crowds == "instances", skip_malformed, drawn_on)
    write_data_set(
        read_coco_instances(instances, pictures, parse_names(stuff, "--stuff"), maps, rules), options, like=like
    )


@convert.command("labelme")
def convert_labelme(
    folder: Annotated[
        Path, typer.Argument(help="Folder with one LabelMe JSON per picture; the picture is beside it or inside.")
    ],
    output: Output,
    stuff: Annotated[list[str] | None, typer.Option(help="Labels that are stuff, like sky,road.")] = None,
    things: Annotated[
        list[str] | None, typer.Option(help="Labels that are things; default: all that are neither stuff nor void.")
    ] = None,
    void: Annotated[
        list[str] | None, typer.Option(help="Labels that are void.", show_default="__ignore__,_background_")
    ] = None,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of the pictures, if they are not beside the JSON files.")
    ] = None,
    split: SplitName = "train",
    val_share: ValShare = 0.0,
    seed: Seed = 0,
    overlap: OverlapRule = "smaller",
    rest: Rest = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    like: Like = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert a folder of LabelMe files; shapes with the same label and group_id become one instance."""
    from panoptic_blend.convert.labelme import VOID, Classes, read_labelme
    from panoptic_blend.convert.writing import ConversionOptions
    from panoptic_blend.formats.name_lists import parse_names

    classes = Classes(
        parse_names(things, "--things"),
        parse_names(stuff, "--stuff"),
        VOID if void is None else parse_names(void, "--void"),
    )
    options = ConversionOptions(
        root=output,
        split=split,
        val_share=val_share,
        seed=seed,
        overlap=overlap,
        rest=rest,
        keep_empty=keep_empty,
        link=link,
        overwrite=overwrite,
    )
    write_data_set(read_labelme(folder, classes, pictures), options, like=like)


@convert.command("yolo")
def convert_yolo(
    data: Annotated[Path, typer.Argument(metavar="DIR", help="Folder with data.yaml, or another such file.")],
    output: Output,
    stuff: Annotated[list[str] | None, typer.Option(help="Classes that are stuff, like sky,road.")] = None,
    split: Only = None,
    overlap: OverlapRule = "smaller",
    rest: Rest = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    like: Like = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert a data set for YOLO segmentation, each of its splits train, val and test."""
    from panoptic_blend.convert.writing import ConversionOptions
    from panoptic_blend.convert.yolo import read_yolo, require_yolo, yolo_splits
    from panoptic_blend.formats.name_lists import parse_names

    description, names = require_yolo(data), parse_names(stuff, "--stuff")
    options = ConversionOptions(
        root=output, overlap=overlap, rest=rest, keep_empty=keep_empty, link=link, overwrite=overwrite
    )
    splits = {name: partial(read_yolo, description, name, names) for name in yolo_splits(description)}
    write_splits(splits, split, options, like=like)


@convert.command("cvat")
def convert_cvat(
    annotations: Annotated[Path, typer.Argument(help="annotations.xml of an export as CVAT for images 1.1.")],
    output: Output,
    pictures: Annotated[
        Path | None, typer.Option(help="Folder of the pictures, if it is not images/ beside the file.")
    ] = None,
    subset: Annotated[
        str | None, typer.Option(help="Convert only this subset of a project; default: all pictures.")
    ] = None,
    stuff: Annotated[list[str] | None, typer.Option(help="Labels that are stuff, like sky,road.")] = None,
    split: SplitName = "train",
    val_share: ValShare = 0.0,
    seed: Seed = 0,
    overlap: OverlapRule = "smaller",
    rest: Rest = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    like: Like = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert an export of CVAT for images 1.1; shapes with the same label and group become one instance."""
    from panoptic_blend.convert.cvat import read_cvat
    from panoptic_blend.convert.writing import ConversionOptions
    from panoptic_blend.formats.name_lists import parse_names

    options = ConversionOptions(
        root=output,
        split=split,
        val_share=val_share,
        seed=seed,
        overlap=overlap,
        rest=rest,
        keep_empty=keep_empty,
        link=link,
        overwrite=overwrite,
    )
    write_data_set(read_cvat(annotations, pictures, parse_names(stuff, "--stuff"), subset), options, like=like)


@convert.command("label-studio")
def convert_label_studio(
    tasks: Annotated[Path, typer.Argument(help="The JSON of an export as JSON, with brush masks and polygons.")],
    pictures: Annotated[Path, typer.Option(help="Folder of the pictures.")],
    output: Output,
    stuff: Annotated[list[str] | None, typer.Option(help="Labels that are stuff, like sky,road.")] = None,
    interface: Annotated[
        Path | None, typer.Option(help="XML of the labeling interface, for the order of the labels; default: by name.")
    ] = None,
    predictions: Annotated[
        bool, typer.Option("--predictions", help="Read the predictions of the tasks, not their annotations.")
    ] = False,
    split: SplitName = "train",
    val_share: ValShare = 0.0,
    seed: Seed = 0,
    overlap: OverlapRule = "smaller",
    rest: Rest = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    like: Like = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert an export of Label Studio; every region of a thing is one instance."""
    from panoptic_blend.convert.label_studio import read_label_studio
    from panoptic_blend.convert.writing import ConversionOptions
    from panoptic_blend.formats.name_lists import parse_names

    options = ConversionOptions(
        root=output,
        split=split,
        val_share=val_share,
        seed=seed,
        overlap=overlap,
        rest=rest,
        keep_empty=keep_empty,
        link=link,
        overwrite=overwrite,
    )
    names = parse_names(stuff, "--stuff")
    write_data_set(
        read_label_studio(tasks, pictures, names, interface=interface, predictions=predictions), options, like=like
    )


def write_data_set(
    source: LabeledSource, options: ConversionOptions, *, offers_rest: bool = True, like: Path | None = None
) -> None:
    """Write what was read, with the ids of the data set ``like``, and print what it is.

    ``--rest`` is suggested if the command has it.
    """
    write_splits({options.split: lambda: source}, None, options, offers_rest=offers_rest, like=like)


def write_splits(
    splits: Mapping[str, Callable[[], LabeledSource]],
    only: str | None,
    options: ConversionOptions,
    *,
    offers_rest: bool = True,
    like: Path | None = None,
) -> None:
    """Read all splits, or ``only`` one, and write them as `write_data_set` does; nothing is written if one has a fault.

    Raises:
        PanopticBlendError: there is no split ``only``, or a split cannot be read or written.
    """
    from panoptic_blend.convert.renumbering import renumbered
    from panoptic_blend.convert.summary import lines
    from panoptic_blend.convert.writing import write

    if only is not None and only not in splits:
        raise PanopticBlendError(f"--split {only}: there is no such split; the data set has {', '.join(splits)}")
    sources = {name: read() for name, read in splits.items() if only in (None, name)}
    if like:
        sources = {name: renumbered(source, like) for name, source in sources.items()}
    for name, source in sources.items():
        with progress_line("converting") as progress:
            summary = write(source, replace(options, split=name), progress)
        print("\n".join([*lines(summary, offers_rest=offers_rest), f"the data set is in {options.root}"]))
