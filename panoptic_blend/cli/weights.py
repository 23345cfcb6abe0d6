"""``panoptic-blend weights`` and ``push``: commands on weights."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from panoptic_blend.cli.options import AsJson
from panoptic_blend.cli.running import stoppable
from panoptic_blend.terminal import print_json, print_tables, progress_line


def push(
    run: Annotated[Path, typer.Argument(help="Folder of a run, of which the best weights are taken, or a checkpoint.")],
    repo: Annotated[str, typer.Argument(metavar="OWNER/NAME", help="Repository on the Hub; made if it is new.")],
    is_private: Annotated[bool, typer.Option("--private", help="Make a new repository private.")] = False,
    license: Annotated[
        str | None, typer.Option(help="License of the model, as the Hub writes it: apache-2.0, ...; default: unknown.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="Name of the data set that the figures are on.")] = None,
    picture: Annotated[list[Path] | None, typer.Option(help="Picture for the model card; may be repeated.")] = None,
) -> None:
    """Publish a model on the Hugging Face Hub: safetensors, config, and a model card with its figures."""
    from panoptic_blend.publishing.push import Publication, push

    publication = Publication(repo, is_private, license, data, picture or ())
    with progress_line("computing intervals", "images") as progress:
        address = push(run, publication, progress)
    print(f"{address}: load it as hf://{repo}")


weights = typer.Typer(help="Fetch known weights by name, inspect files, and import them.", no_args_is_help=True)


@weights.command("list")
def weights_list(as_json: AsJson = False) -> None:
    """List the weights that are known by name, with the figures of their publishers."""
    from panoptic_blend.download.weights_table import lines, record, table

    if as_json:
        print_json(record())
    else:
        print_tables(table())
        print(*lines(), sep="\n")


@weights.command("fetch")
def weights_fetch(name: Annotated[str, typer.Argument(help="A name that `weights list` shows.")]) -> None:
    """Fetch known weights into the cache, unless they are there, and print the path of the file.

    Weights with a non-commercial license need --accept-license NAME once.
    """
    from panoptic_blend.download.weights_cache import fetch_weights, named

    with stoppable("stopped; run the same command again to continue"):
        print(fetch_weights(named(name)))


@weights.command("inspect")
def weights_inspect(
    file: Annotated[Path, typer.Argument(help="File of weights in any format, or a name of `weights list`.")],
    as_json: AsJson = False,
) -> None:
    """Report the format and contents of a file of weights, and the configs that it fits."""
    from panoptic_blend.checkpoints.description import lines, record
    from panoptic_blend.checkpoints.inspection import inspect_weights
    from panoptic_blend.download.weights_sources import weights_path

    inspection = inspect_weights(weights_path(file))
    if as_json:
        print_json({"file": str(file), **record(inspection)})
    else:
        print(f"{file}: {lines(inspection)}")


@weights.command("import")
def weights_import(
    official: Annotated[
        Path,
        typer.Argument(help="A name of `weights list`, or a file of weights of other programs or without a config."),
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
