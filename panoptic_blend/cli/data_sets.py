"""``panoptic-blend data merge|split|filter|stats``: new data sets from others, and what is in one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from panoptic_blend.cli.convert import KeepEmpty, Link, Output, Seed, write_data_set
from panoptic_blend.cli.options import AsJson, Overwrite
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.terminal import print_json, print_tables, progress_line

Root = Annotated[Path, typer.Argument(metavar="DIR", help="Root of a data set in COCO's layout; it is only read.")]
OneSplit = Annotated[str | None, typer.Option(help="Only this split, like val2017; default: all.")]
Rename = Annotated[
    list[str] | None,
    typer.Option(help="OLD=NEW renames a class; one that is called NEW already takes its segments. May be repeated."),
]


def merge(
    roots: Annotated[list[Path], typer.Argument(metavar="DIR...", help="Roots of data sets; they are only read.")],
    output: Output,
    split: OneSplit = None,
    rename: Rename = None,
    link: Link = False,
    overwrite: Overwrite = False,
) -> None:
    """Merge data sets into a new one: splits of the same name, and classes of the same name."""
    from panoptic_blend.convert.writing import ConversionOptions
    from panoptic_blend.interchange.data_sets import Edit, edited_splits, parse_renames

    for name, source in edited_splits(roots, Edit(parse_renames(rename)), split).items():
        options = ConversionOptions(root=output, split=name, keep_empty=True, link=link, overwrite=overwrite)
        write_data_set(source, options, offers_rest=False)


def split(
    root: Root,
    output: Output,
    val_share: Annotated[float, typer.Option(min=0.01, max=0.9, help="Share of the pictures that becomes val.")] = 0.1,
    seed: Seed = 0,
    split: Annotated[str | None, typer.Option(help="The split to divide, if there are several.")] = None,
    link: Link = False,
    overwrite: Overwrite = False,
) -> None:
    """Divide a data set into train and val; which picture goes where depends on its name and the seed alone."""
    from panoptic_blend.convert.writing import ConversionOptions
    from panoptic_blend.interchange.data_sets import Edit, edited_splits

    [(name, source), *others] = edited_splits([root], Edit(), split).items()
    if others:
        raise PanopticBlendError(f"{root}: has the splits {name}, {', '.join(dict(others))}; choose one with --split")
    options = ConversionOptions(
        root=output, val_share=val_share, seed=seed, keep_empty=True, link=link, overwrite=overwrite
    )
    write_data_set(source, options, offers_rest=False)


def filter_(
    root: Root,
    output: Output,
    classes: Annotated[
        list[str] | None, typer.Option(help="Keep the segments of these classes only; others become void.")
    ] = None,
    rename: Rename = None,
    where: Annotated[
        str | None,
        typer.Option(
            help="Keep pictures like that: things > 50, or width >= 640 and not 'traffic light'. Numbers are width, "
            "height, segments, things, stuff, crowds, and the segments of a class."
        ),
    ] = None,
    images: Annotated[
        Path | None, typer.Option(help="Keep only the pictures of this list: one image id or file name a line.")
    ] = None,
    split: OneSplit = None,
    keep_empty: KeepEmpty = False,
    link: Link = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a data set with some of the classes or pictures of another one; renaming comes first, --where last."""
    from panoptic_blend.convert.writing import ConversionOptions
    from panoptic_blend.formats.name_lists import parse_names
    from panoptic_blend.interchange.data_sets import Edit, edited_splits, parse_renames

    edit = Edit(parse_renames(rename), parse_names(classes, "--classes"), where)
    for name, source in edited_splits([root], edit, split, images).items():
        options = ConversionOptions(root=output, split=name, keep_empty=keep_empty, link=link, overwrite=overwrite)
        write_data_set(source, options, offers_rest=False)


def stats(root: Root, split: OneSplit = None, as_json: AsJson = False) -> None:
    """Count pictures, segments and pixels of a data set, in all and by class."""
    from panoptic_blend.interchange.source import open_source, split_names
    from panoptic_blend.interchange.statistics import split_statistics, tables

    found = []
    with progress_line("measuring") as progress:
        for name in [split] if split else split_names(root):
            found.append(split_statistics(open_source(root, name), progress))
    if not found:
        raise PanopticBlendError(f"{root}: has no annotations/panoptic_SPLIT.json; give the root of a data set")
    if as_json:
        print_json({each.split: each.record() for each in found})
    else:
        print_tables(*tables(found))
