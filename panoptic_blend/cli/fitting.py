"""``panoptic-blend fit``: from labeled pictures to the best model in the time there is."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from panoptic_blend.cli.options import Device, Output, Overrides
from panoptic_blend.formats.name_lists import parse_names


def fit(
    folder: Annotated[
        Path, typer.Argument(help="Folder of labeled pictures: a data set, or one that can be converted.")
    ],
    overrides: Overrides = None,
    minutes: Annotated[float, typer.Option(min=0.1, help="Time for everything, from the check to the report.")] = 30,
    iterations: Annotated[
        int | None, typer.Option(min=1, help="Number of training steps, in place of a time.", show_default=False)
    ] = None,
    output: Output = Path("runs/fit"),
    weights: Annotated[
        str | None,
        typer.Option(
            help="Start from: a name of `weights list`, a file, imagenet or none; default: the best there is."
        ),
    ] = None,
    backbone: Annotated[
        str | None, typer.Option(help="resnet14, 18, 34, 50 or 101, or a network of timm's by its name.")
    ] = None,
    unlabelled: Annotated[
        Path | None, typer.Option(help="Folder of pictures without labels, from which to choose those to label next.")
    ] = None,
    stuff: Annotated[
        list[str] | None, typer.Option(help="Labels that are stuff, like sky,road, in a folder that does not say.")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Stop after the plan.")] = False,
    resume: Annotated[
        Literal["auto"] | None, typer.Option(help="auto: go on where an earlier call with the same arguments stopped.")
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="Number of devices to train on.")] = 1,
    device: Device = "auto",
) -> None:
    """Check labeled pictures, plan a training that fits the time, run it, tune and evaluate the model, and report.

    The model to use is best.safetensors in the output. Every option can be set by key=value and wins over the plan.

    Exit code: 0 if finished, 75 if interrupted (continue with --resume auto), 2 on an error.
    """
    from panoptic_blend.fit.run import fit
    from panoptic_blend.fit.wanted import Wanted

    wanted = Wanted(
        minutes=minutes,
        iterations=iterations,
        weights=weights,
        backbone=backbone,
        overrides=tuple(overrides or ()),
        devices=devices,
        device=device,
        unlabelled=unlabelled,
        stuff=tuple(parse_names(stuff, "--stuff")),
    )
    fit(folder, output, wanted, resume=resume == "auto", dry_run=dry_run)
