"""``panoptic-blend weights``: commands on files of weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from panoptic_blend.cli.options import AsJson
from panoptic_blend.terminal import print_json

weights = typer.Typer(help="Inspect files of weights, and import those of other projects.", no_args_is_help=True)


@weights.command("inspect")
def weights_inspect(
    file: Annotated[Path, typer.Argument(help="File of weights in any format.")],
    as_json: AsJson = False,
) -> None:
    """Report the format and contents of a file of weights, and the configs that it fits."""
    from panoptic_blend.checkpoints.description import lines, record
    from panoptic_blend.checkpoints.inspection import inspect_weights

    inspection = inspect_weights(file)
    if as_json:
        print_json({"file": str(file), **record(inspection)})
    else:
        print(f"{file}: {lines(inspection)}")


@weights.command("import")
def weights_import(
    official: Annotated[
        Path,
        typer.Argument(help="Weights of the official BlendMask or of detectron2, or of this library without a config."),
    ],
    out: Annotated[Path, typer.Argument(help="The checkpoint to write, a .safetensors file.")],
    config: Annotated[
        str | None, typer.Option(help="Config of the model; default: the one that the weights fit.")
    ] = None,
    categories: Annotated[
        Path | None, typer.Option(help="COCO panoptic JSON with the categories of the model.")
    ] = None,
) -> None:
    """Convert weights to a checkpoint of this library, with config and categories."""
    from panoptic_blend.checkpoints.importing import import_weights

    done = import_weights(official, out, config, categories)
    stuff = f" and {len(done.categories.stuff_ids)} stuff" if done.config.model.semantic.enabled else ""
    classes = f"{len(done.categories.thing_ids)} things{stuff}"
    config, *others = done.names
    print(f"{out}: {config}, {classes}" + (f"; fits {', '.join(others)} too" if others else ""))
