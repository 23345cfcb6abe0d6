"""``panoptic-blend explain``: draw how a model came to its results on pictures."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from panoptic_blend.cli import options
from panoptic_blend.cli.models import running
from panoptic_blend.cli.prediction import pictures_and_overrides
from panoptic_blend.cli.running import stoppable
from panoptic_blend.failures import doing
from panoptic_blend.structures import PanopticBlendError


def explain(
    model: options.Model,
    inputs: Annotated[
        list[str] | None, typer.Argument(help="Pictures, folders of pictures, and changes to the config: key=value ...")
    ] = None,
    detection: Annotated[
        list[int] | None,
        typer.Option(min=1, metavar="N", help="Explain the N-th best instance; may be repeated.", show_default="1 2 3"),
    ] = None,
    weights: options.Weights = None,
    config: options.Config = None,
    output: options.Output = Path("explanations"),
    device: options.Device = "auto",
    devices: options.Devices = 1,
    nodes: options.Nodes = 1,
    precision: options.NetworkPrecision = "32-true",
) -> None:
    """Draw bases, attentions and classes of pictures, and the way of single instances from location to mask."""
    named, changes = pictures_and_overrides(inputs or ())
    if not named:
        raise PanopticBlendError("nothing to explain; give pictures or folders of pictures")
    from panoptic_blend.inference.explained_pictures import explain_pictures
    from panoptic_blend.prediction.find_pictures import find_pictures

    with (
        doing("explain", folder=output),
        stoppable("interrupted; what is finished is written"),
        running(model, weights, config, changes, device, devices, nodes, precision) as on,
        on.locked(output),
    ):
        found, remarks = on.team.from_first(lambda: find_pictures(named, passed=[output]))
        with on.progress("explaining", "images") as show:
            lines = explain_pictures(on.of_torch("be explained"), found, output, detection or (), show, on.team)
    if on.team.is_first:
        print(*remarks, *lines, f"drawings: {output}", sep="\n")
