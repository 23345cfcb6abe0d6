"""``panoptic-blend serve``: a page on which to try a model, and an endpoint for programs."""

from __future__ import annotations

from typing import Annotated

import typer

from panoptic_blend.cli import options
from panoptic_blend.cli.models import running
from panoptic_blend.cli.running import stoppable
from panoptic_blend.failures import doing


def serve(
    model: options.Model,
    overrides: options.Overrides = None,
    weights: options.Weights = None,
    config: options.Config = None,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 lets other machines in, without any password.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0: any free one.")] = 8000,
    allow_host: Annotated[
        list[str] | None, typer.Option(help="A name of this machine by which it is called; repeat it for more.")
    ] = None,
    megabytes: Annotated[float, typer.Option("--max-megabytes", min=0.001, help="Largest picture file.")] = 32,
    megapixels: Annotated[float, typer.Option("--max-megapixels", min=0.001, help="Largest picture.")] = 32,
    queue: Annotated[int, typer.Option(min=0, help="Pictures that may wait; more are refused with 503.")] = 32,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds a picture may take to arrive, or to answer.")] = 60,
    memory: Annotated[float, typer.Option(min=1, help="Megabytes for the pictures that the page shows.")] = 256,
    device: options.Device = "auto",
    precision: options.NetworkPrecision = "32-true",
) -> None:
    """Show a page on which to try a model, and answer pictures sent to /predict; no picture leaves the machine.

    Drop pictures onto the page, move the sliders of the fusion, and download maps and drawings.
    """
    from panoptic_blend.serve.limits import Limits
    from panoptic_blend.serve.running import address_of, listening, web_server

    limits = Limits(megabytes, megapixels, queue, timeout, memory, frozenset(allow_host or ()))
    with (
        doing("serve"),
        stoppable("stopped"),
        listening(host, port) as listener,
        running(model, weights, config, overrides or (), device, 1, 1, precision) as on,
    ):
        print(f"{model} is served at {address_of(listener)} (Ctrl-C stops it)", flush=True)
        web_server(on.predictor, model.name, limits).run(sockets=[listener])
