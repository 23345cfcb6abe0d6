"""The command ``panoptic-blend`` and its subcommands."""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated

import typer

from panoptic_blend.cli.data import data
from panoptic_blend.cli.inference import evaluate, predict, sweep
from panoptic_blend.cli.running import TRACEBACK, guarded
from panoptic_blend.cli.scoring import draw, pq, report
from panoptic_blend.cli.training import demo, train
from panoptic_blend.cli.weights import weights
from panoptic_blend.failures import doing

app = typer.Typer(
    help="Panoptic segmentation around a shared bottom branch: BlendMask + Panoptic-FPN, with exact PQ.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, train, evaluate, sweep, predict, pq, report, draw):
    app.command()(command)
app.add_typer(data, name="data")
app.add_typer(weights, name="weights")


@app.callback()
def _every_command(
    is_printed: Annotated[bool, typer.Option("--traceback", help="Print the traceback of an error.")] = False,
) -> None:
    if is_printed:
        os.environ[TRACEBACK] = "1"


def main(*command: str) -> None:
    """Run the command line with the arguments of this process, after the names of a ``command``, if any.

    ``--traceback`` may stand anywhere.
    """
    # matplotlib would tell that it builds its caches, or where, if the home folder cannot be written
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    arguments = [*command, *sys.argv[1:]]
    flags = [item for item in arguments if item == "--traceback"]
    words = [item for item in arguments if item != "--traceback"]

    def run() -> None:
        with doing(" ".join(["panoptic-blend", *words[:1]])):
            app([*flags, *words])

    guarded(run)
