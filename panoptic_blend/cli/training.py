"""``panoptic-blend demo`` and ``train``: commands that train a model."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from panoptic_blend.cli.options import Output, Overrides
from panoptic_blend.terminal import print_tables


def demo(
    output: Output = Path("runs/demo"),
    data_root: Annotated[Path, typer.Option("--data", help="Folder of the Shapes data set.")] = Path("datasets/shapes"),
) -> None:
    """Generate the Shapes data set, fit a model to it, evaluate it, and draw its predictions; skip finished steps."""
    from panoptic_blend.demo import run_demo

    run_demo(output, data_root)


def train(
    config: Annotated[str, typer.Argument(help="Config by name, like panoptic/blendmask_r50_3x, or by path.")],
    overrides: Overrides = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Folder to write; default: runs/CONFIG.")
    ] = None,
    resume: Annotated[
        Literal["auto"] | None,
        typer.Option(help="auto: continue from the newest complete state in the folder, if any."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="Initial weights: a file in any supported format, a name of `weights list`, or `imagenet`."),
    ] = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="Load the weights that fit; initialize what other classes need.")
    ] = False,
    devices: Annotated[
        int | None, typer.Option(min=1, help="Number of devices per node; default: train.devices of the config.")
    ] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, help="Number of nodes; default: train.nodes of the config.")
    ] = None,
) -> None:
    """Train a model on a COCO panoptic data set and evaluate it.

    Exit code: 0 if finished, 75 if interrupted (continue with --resume auto), 2 on an error.
    """
    from panoptic_blend.config.experiment import load_config
    from panoptic_blend.runtime.processes import is_first
    from panoptic_blend.training.loop import train

    folder = output or Path("runs") / Path(config).stem
    given = {"weights": weights and json.dumps(weights), "partial": partial or None, "devices": devices, "nodes": nodes}
    changes = [f"train.{key}={value}" for key, value in given.items() if value is not None]
    evaluation = train(load_config(config, [*(overrides or ()), *changes]), folder, resume == "auto", share_cores=True)
    if not is_first():
        return
    print_tables(*evaluation.tables())
    print(f"weights, log and results: {folder}")
