"""``panoptic-blend label``: which pictures to label next, and which labels are probably wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from panoptic_blend.cli import options
from panoptic_blend.cli.inference import validation
from panoptic_blend.cli.models import RunningModel, running
from panoptic_blend.cli.running import stoppable
from panoptic_blend.failures import doing
from panoptic_blend.structures import Progress

label = typer.Typer(help="Find pictures to label next, and probable label errors.", no_args_is_help=True)

_STOPPED = "stopped; nothing was written"


@label.command("next")
def label_next(
    model: options.Model,
    folder: Annotated[Path, typer.Argument(help="Folder of pictures without labels; its subfolders are searched too.")],
    overrides: options.Overrides = None,
    weights: options.Weights = None,
    config: options.Config = None,
    output: options.Output = Path("labels"),
    device: options.Device = "auto",
    precision: options.NetworkPrecision = "32-true",
) -> None:
    """Rank pictures by how much their labels would teach the model; write label_next.csv and label_next.html."""
    from panoptic_blend.fit.labelling import label_next

    on_device = running(model, weights, config, overrides or (), device, 1, 1, precision)
    with _predicting("label next", output, on_device) as (on, show):
        path = label_next(on.of_torch("choose pictures"), folder, output, show)
    print(f"the pictures, the most useful first: {path}; to look at: {path.with_suffix('.html')}")


@label.command("errors")
def label_errors(
    model: options.Model,
    overrides: options.Overrides = None,
    is_training: Annotated[
        bool, typer.Option("--training", help="Look at the training split too, on which a model hides some errors.")
    ] = False,
    weights: options.Weights = None,
    config: options.Config = None,
    output: options.Output = Path("labels"),
    device: options.Device = "auto",
    precision: options.NetworkPrecision = "32-true",
) -> None:
    """List labels of the validation split that the model denies; write label_errors.csv and label_errors.html."""
    from panoptic_blend.data.splits import open_training
    from panoptic_blend.fit.labelling import label_errors

    on_device = running(model, weights, config, overrides or (), device, 1, 1, precision)
    with _predicting("label errors", output, on_device) as (on, show):
        predictor = on.of_torch("find label errors")
        dataset = validation(predictor)
        training = open_training(predictor.config).dataset if is_training else None
        path = label_errors(predictor, dataset, output, training=training, progress=show)
    print(f"probable label errors, the surest first: {path}; to look at: {path.with_suffix('.html')}")


@contextmanager
def _predicting(
    command: str, output: Path, on_device: AbstractContextManager[RunningModel]
) -> Iterator[tuple[RunningModel, Progress]]:
    """The model of a command that predicts pictures one by one into ``output``, which is locked, and its progress."""
    with (
        doing(command, folder=output),
        stoppable(_STOPPED),
        on_device as on,
        on.locked(output),
        on.progress("predicting", "images") as show,
    ):
        yield on, show
