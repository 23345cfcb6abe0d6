"""``panoptic-blend weights ...``."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

weights = typer.Typer(help="Identify files of weights, and import foreign ones.", no_args_is_help=True)


@weights.command("inspect")
def weights_inspect(
    file: Annotated[Path, typer.Argument(help="Weights of any kind.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print it for machines.")] = False,
) -> None:
    """Say what a file of weights is, and which configs it fits."""
    from panoptic_blend.checkpoints.description import lines, record
    from panoptic_blend.checkpoints.inspection import inspect_weights

    inspection = inspect_weights(file)
    print(json.dumps({"file": str(file), **record(inspection)}) if as_json else f"{file}: {lines(inspection)}")


@weights.command("import")
def weights_import(
    official: Annotated[Path, typer.Argument(help="Weights of the official BlendMask, of detectron2, or ours bare.")],
    out: Annotated[Path, typer.Argument(help="The checkpoint to write, a .safetensors.")],
    config: Annotated[str | None, typer.Option(help="Config they are for; default: the one they fit.")] = None,
    categories: Annotated[Path | None, typer.Option(help="COCO panoptic JSON with the classes they know.")] = None,
) -> None:
    """Write weights of others as a checkpoint of ours, with config and categories."""
    from panoptic_blend.checkpoints.importing import import_weights

    done = import_weights(official, out, config, categories)
    stuff = f" and {len(done.categories.stuff_ids)} stuff" if done.config.model.semantic.enabled else ""
    classes = f"{len(done.categories.thing_ids)} things{stuff}"
    config, *others = done.names
    print(f"{out}: {config}, {classes}" + (f"; fits {', '.join(others)} too" if others else ""))
