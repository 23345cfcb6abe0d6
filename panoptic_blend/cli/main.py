"""The command ``panoptic-blend`` and its subcommands."""

from __future__ import annotations

import sys

import typer

from panoptic_blend.cli.data import data
from panoptic_blend.cli.inference import evaluate, predict, sweep
from panoptic_blend.cli.running import guarded
from panoptic_blend.cli.scoring import draw, pq, report
from panoptic_blend.cli.training import demo, train
from panoptic_blend.cli.weights import weights

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


def main(*command: str) -> None:
    """Run the command line with the arguments of this process, after the names of a ``command``, if any."""
    guarded(lambda: app([*command, *sys.argv[1:]]))
