"""The command ``panoptic-blend`` and its subcommands."""

from __future__ import annotations

import logging
import os
import sys
from copy import copy
from itertools import islice
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from panoptic_blend.cli.data import data
from panoptic_blend.cli.drawing import draw
from panoptic_blend.cli.explaining import explain
from panoptic_blend.cli.exporting import export
from panoptic_blend.cli.fitting import fit
from panoptic_blend.cli.inference import evaluate, sweep
from panoptic_blend.cli.instances import ap
from panoptic_blend.cli.labelling import label
from panoptic_blend.cli.prediction import predict
from panoptic_blend.cli.reporting import report
from panoptic_blend.cli.running import TRACEBACK, guarded
from panoptic_blend.cli.scoring import pq
from panoptic_blend.cli.self_testing import self_test
from panoptic_blend.cli.serving import serve
from panoptic_blend.cli.sharding import merge
from panoptic_blend.cli.training import demo, train
from panoptic_blend.cli.weights import push, weights
from panoptic_blend.failures import doing


class _Commands(TyperGroup):
    """Commands by name; ``pq --self-test`` and ``pq merge`` have other arguments than ``pq``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        for place, word in enumerate(args[1:]):
            is_command = place == 0 or word.startswith("-")  # a value of an option may be called as a command is
            if is_command and (name := f"{args[0]} {word}") in self.commands:
                return super().resolve_command(ctx, [name, *(other for other in args[1:] if other != word)])
        return super().resolve_command(ctx, args)


app = typer.Typer(
    cls=_Commands,
    help="Panoptic segmentation around a shared bottom branch: BlendMask + Panoptic-FPN, with exact PQ.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for command in (demo, fit, train, evaluate, sweep, predict, serve, explain, export, push, pq, ap, report, draw):
    app.command(command.__name__)(command)
app.command("pq --self-test", hidden=True)(self_test)
app.command("pq merge")(merge)
app.add_typer(label, name="label")
app.add_typer(data, name="data")
app.add_typer(weights, name="weights")


_ANYWHERE = {"--traceback": 0, "--offline": 0, "--accept-license": 1, "--accept-licence": 1}
"""The options of all commands, which may stand anywhere, with the number of their values."""


@app.callback()
def _every_command(
    is_printed: Annotated[bool, typer.Option("--traceback", help="Print the traceback of an error.")] = False,
    is_offline: Annotated[bool, typer.Option("--offline", help="Download no weights; use the cache only.")] = False,
    accepted: Annotated[
        str | None,
        typer.Option(
            "--accept-license", "--accept-licence", metavar="NAME", help="Accept the license of known weights."
        ),
    ] = None,
) -> None:
    if is_printed:
        os.environ[TRACEBACK] = "1"
    if is_offline:
        os.environ["PANOPTIC_BLEND_OFFLINE"] = os.environ["HF_HUB_OFFLINE"] = "1"
    if accepted:
        from panoptic_blend.download.weights_cache import accept_license

        accept_license(accepted)


def main(*command: str) -> None:
    """Run the command line with the arguments of this process, after the names of a ``command``, if any.

    The options of all commands, such as ``--traceback``, may stand anywhere.
    """
    # matplotlib would tell that it builds its caches, or where, if the home folder cannot be written
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    flags, words = _separated([*command, *sys.argv[1:]])

    def run() -> None:
        with doing(" ".join(["panoptic-blend", *words[:1]])):
            _reduced(words[:1])([*flags, *words])

    guarded(run)


def _reduced(first: list[str]) -> typer.Typer:
    """The application with only the commands of the ``first`` word, because Typer takes 0.1 s to prepare them all."""
    reduced = copy(app)
    reduced.registered_commands = [info for info in app.registered_commands if (info.name or "").split()[:1] == first]
    reduced.registered_groups = [info for info in app.registered_groups if [info.name] == first]
    return reduced if reduced.registered_commands or reduced.registered_groups else app


def _separated(arguments: list[str]) -> tuple[list[str], list[str]]:
    """The options of all commands with their values, and all other arguments."""
    flags: list[str] = []
    words: list[str] = []
    items = iter(arguments)
    for item in items:
        name, has_value, _ = item.partition("=")
        kind = flags if name in _ANYWHERE else words
        kind.append(item)
        if name in _ANYWHERE and not has_value:
            kind += islice(items, _ANYWHERE[name])
    return flags, words
