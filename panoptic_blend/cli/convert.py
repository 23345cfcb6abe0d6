"""``panoptic-blend data convert ...``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from panoptic_blend.cli.options import Overwrite
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.terminal import progress_line

if TYPE_CHECKING:
    from panoptic_blend.convert.writing import ConversionOptions, LabeledSource

convert = typer.Typer(help="Make COCO panoptic of data sets in other formats.", no_args_is_help=True)

Out = Annotated[Path, typer.Option(help="COCO root to write: SPLIT/, annotations/panoptic_SPLIT.json and PNGs.")]
SplitName = Annotated[str, typer.Option(help="Name of the split to write.")]
ValShare = Annotated[float, typer.Option(min=0, max=0.9, help="Shard of the pictures that becomes the split val.")]
Seed = Annotated[int, typer.Option(min=0, help="Other seeds choose other pictures for val.")]
OverlapRule = Annotated[
    Literal["smaller", "later", "earlier"], typer.Option(help="Who keeps a pixel that two things or two stuffs claim.")
]
Rest = Annotated[str | None, typer.Option(help="Stuff class of the pixels nobody labelled; else they are void.")]
KeepEmpty = Annotated[bool, typer.Option("--keep-empty", help="Keep pictures without any segment.")]
Link = Annotated[bool, typer.Option("--link", help="Link to the pictures instead of copying them.")]


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
    from panoptic_blend.convert.coco_instances import Stuff, read_coco_instances
    from panoptic_blend.convert.writing import ConversionOptions

    if (stuff_maps is None) != (stuff_classes is None):
        raise PanopticBlendError("--stuff-maps and --stuff-classes say one thing together; give both")
    maps = Stuff(stuff_maps, stuff_classes, ignore_value) if stuff_maps and stuff_classes else None
    options = ConversionOptions(
        root=out,
        split=split,
        val_share=val_share,
        seed=seed,
        overlap=overlap,
        rest=rest,
        keep_empty=keep_empty,
        link=link,
        overwrite=overwrite,
    )
    _convert(read_coco_instances(instances, pictures, _names(stuff), maps), options)


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
    from panoptic_blend.convert.labelme import VOID, Classes, read_labelme
    from panoptic_blend.convert.writing import ConversionOptions

    classes = Classes(_names(things), _names(stuff), VOID if void is None else _names(void))
    options = ConversionOptions(
        root=out,
        split=split,
        val_share=val_share,
        seed=seed,
        overlap=overlap,
        rest=rest,
        keep_empty=keep_empty,
        link=link,
        overwrite=overwrite,
    )
    _convert(read_labelme(folder, classes, pictures), options)


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
    from panoptic_blend.convert.cityscapes import read_cityscapes
    from panoptic_blend.convert.writing import ConversionOptions

    options = ConversionOptions(root=out, split=split, keep_empty=keep_empty, link=link, overwrite=overwrite)
    _convert(read_cityscapes(panoptic_json, pictures, maps), options)


def _convert(source: LabeledSource, options: ConversionOptions) -> None:
    from panoptic_blend.convert.summary import lines
    from panoptic_blend.convert.writing import write

    with progress_line("converting") as progress:
        summary = write(source, options, progress)
    print("\n".join([*lines(summary), f"the data set is in {options.root}"]))


def _names(values: list[str] | None) -> list[str]:
    """Labels given in one option with commas, in several, or both."""
    return [name.strip() for value in values or () for name in value.split(",") if name.strip()]
