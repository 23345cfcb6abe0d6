"""``panoptic-blend data convert``: data sets that are masks of pixels, among them public ones."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from panoptic_blend.cli.convert import (
    KeepEmpty,
    Like,
    Link,
    Only,
    Output,
    OverlapRule,
    Rest,
    Seed,
    SplitName,
    ValShare,
    write_data_set,
    write_splits,
)
from panoptic_blend.cli.convert import convert as convert  # with the commands of both modules
from panoptic_blend.cli.options import Overwrite
from panoptic_blend.structures import PanopticBlendError

if TYPE_CHECKING:
    from panoptic_blend.convert.writing import LabeledSource


@convert.command("masks")
def convert_masks(
    maps: Annotated[Path, typer.Argument(metavar="DIR", help="Folder of PNGs with the class of each pixel.")],
    classes: Annotated[
        Path, typer.Option(help='JSON with the class of each value: {"1": "sky", "0": null}, or with COCO categories.')
    ],
    pictures: Annotated[Path, typer.Option(help="Folder of the pictures, named like the PNGs.")],
    output: Output,
    instances: Annotated[
        Path | None, typer.Option(help="Folder of PNGs with the number of the instance of each pixel.")
    ] = None,
    divisor: Annotated[
        int | None, typer.Option(min=2, help="The PNGs hold class * DIVISOR + instance, as with 1000 or 256.")
    ] = None,
    stuff: Annotated[list[str] | None, typer.Option(help="Classes that are stuff, like sky,road.")] = None,
    split: SplitName = "train",
    val_share: ValShare = 0.0,
    seed: Seed = 0,
    rest: Rest = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    like: Like = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert folders of PNGs that hold ids of classes and of instances."""
    from panoptic_blend.convert.id_masks import MaskFolders, read_id_masks
    from panoptic_blend.convert.writing import ConversionOptions
    from panoptic_blend.formats.name_lists import parse_names

    if instances is not None and divisor is not None:
        raise PanopticBlendError("--instances and --divisor both say where instances are; give only one of the two")
    options = ConversionOptions(
        root=output,
        split=split,
        val_share=val_share,
        seed=seed,
        rest=rest,
        keep_empty=keep_empty,
        link=link,
        overwrite=overwrite,
    )
    folders = MaskFolders(maps, instances, divisor)
    write_data_set(read_id_masks(folders, classes, pictures, parse_names(stuff, "--stuff")), options, like=like)


@convert.command("cityscapes")
def convert_cityscapes(
    labels: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="The folder with gtFine, gtFine/SPLIT, or cityscapes_panoptic_SPLIT.json."),
    ],
    output: Output,
    pictures: Annotated[
        Path | None,
        typer.Option(help="The folder leftImg8bit, or that of the split in it; default: beside gtFine."),
    ] = None,
    maps: Annotated[
        Path | None, typer.Option(help="Folder of the JSON's PNGs; default: beside it, with the same name.")
    ] = None,
    split: Annotated[
        str | None,
        typer.Option(help="Name of the split to write.", show_default="that of the folder; of a JSON, train"),
    ] = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    like: Like = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert Cityscapes: its instanceIds or polygons, or the panoptic JSON and PNGs that createPanopticImgs writes."""
    from panoptic_blend.convert.cityscapes import read_cityscapes
    from panoptic_blend.convert.cityscapes_folders import FINE, cityscapes_splits, read_cityscapes_folder
    from panoptic_blend.convert.writing import ConversionOptions

    root = labels.absolute().parent if labels.absolute().name == FINE else labels
    if labels.is_dir() and maps is not None:
        raise PanopticBlendError("--maps belongs to a panoptic JSON; leave it out")
    sources: dict[str, Callable[[], LabeledSource]]
    if not labels.is_dir():
        sources = {split or "train": partial(read_cityscapes, labels, pictures, maps)}
    elif (root / FINE).is_dir():
        names = [split] if split else cityscapes_splits(root)
        sources = {name: partial(read_cityscapes_folder, root / FINE / name, pictures) for name in names}
    else:
        sources = {split or labels.absolute().name: partial(read_cityscapes_folder, labels, pictures)}
    options = ConversionOptions(root=output, keep_empty=keep_empty, link=link, overwrite=overwrite)
    write_splits(sources, None, options, offers_rest=False, like=like)


@convert.command("voc")
def convert_voc(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="VOC2012, or an export as Segmentation mask of CVAT.")],
    output: Output,
    stuff: Annotated[list[str] | None, typer.Option(help="Classes that are stuff, like sky,road.")] = None,
    split: Only = None,
    rest: Rest = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    like: Like = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert Pascal VOC's segmentation, each split that has a list in ImageSets/Segmentation."""
    from panoptic_blend.convert.voc import read_voc, voc_splits
    from panoptic_blend.convert.writing import ConversionOptions
    from panoptic_blend.formats.name_lists import parse_names

    names = parse_names(stuff, "--stuff")
    options = ConversionOptions(root=output, rest=rest, keep_empty=keep_empty, link=link, overwrite=overwrite)
    write_splits({name: partial(read_voc, root, name, names) for name in voc_splits(root)}, split, options, like=like)


@convert.command("ade20k")
def convert_ade20k(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="ADEChallengeData2016, with annotations_instance.")],
    output: Output,
    split: Only = None,
    rest: Rest = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    like: Like = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert ADE20K as its challenge has it: the splits training and validation."""
    from panoptic_blend.convert.ade20k import SPLITS, read_ade20k
    from panoptic_blend.convert.writing import ConversionOptions

    options = ConversionOptions(root=output, rest=rest, keep_empty=keep_empty, link=link, overwrite=overwrite)
    write_splits({name: partial(read_ade20k, root, name) for name in SPLITS}, split, options, like=like)


@convert.command("vistas")
def convert_vistas(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="Mapillary Vistas, with config_v2.0.json.")],
    output: Output,
    split: Only = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    like: Like = None,
    overwrite: Overwrite = False,
) -> None:
    """Convert Mapillary Vistas 2.0, or 1.2: the splits training and validation."""
    from panoptic_blend.convert.vistas import SPLITS, read_vistas, vistas_version
    from panoptic_blend.convert.writing import ConversionOptions

    version = vistas_version(root)
    options = ConversionOptions(root=output, keep_empty=keep_empty, link=link, overwrite=overwrite)
    splits = {name: partial(read_vistas, root, name, version) for name in SPLITS}
    write_splits(splits, split, options, offers_rest=False, like=like)


@convert.command("supervisely")
def convert_supervisely(
    root: Annotated[Path, typer.Argument(metavar="DIR", help="A project with meta.json, and img/ and ann/ below.")],
    output: Output,
    stuff: Annotated[list[str] | None, typer.Option(help="Classes that are stuff, like sky,road.")] = None,
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
    """Convert a project of Supervisely: bitmaps, polygons with holes and rectangles."""
    from panoptic_blend.convert.supervisely import read_supervisely
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
    write_data_set(read_supervisely(root, parse_names(stuff, "--stuff")), options, like=like)
