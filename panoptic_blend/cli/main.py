"""The command ``panoptic-blend`` and its subcommands."""

from __future__ import annotations

import logging
import os
import sys
from importlib import import_module
from itertools import islice
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from panoptic_blend.cli.running import TRACEBACK, guarded
from panoptic_blend.cli.values import read_simply
from panoptic_blend.failures import doing


class _Commands(TyperGroup):
    """Commands by name; ``pq --self-test`` and ``pq merge`` have other arguments than ``pq``."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        for place, word in enumerate(args[1:]):
            is_command = place == 0 or word.startswith("-")  # a value of an option may be called as a command is
            if is_command and (name := f"{args[0]} {word}") in self.commands:
                return super().resolve_command(ctx, [name, *(other for other in args[1:] if other != word)])
        return super().resolve_command(ctx, args)


_COMMANDS = {
    "demo": "training:demo",
    "fit": "fitting:fit",
    "train": "training:train",
    "evaluate": "inference:evaluate",
    "sweep": "inference:sweep",
    "predict": "prediction:predict",
    "serve": "serving:serve",
    "explain": "explaining:explain",
    "export": "exporting:export",
    "push": "weights:push",
    "pq": "scoring:pq",
    "ap": "instances:ap",
    "report": "reporting:report",
    "draw": "drawing:draw",
    "pq --self-test": "self_testing:self_test",
    "pq merge": "sharding:merge",
    "label": "labelling:label",
    "data": "data:data",
    "weights": "weights:weights",
}
"""The module of ``panoptic_blend.cli`` and the name in it of each command or group of commands."""

_HIDDEN = {"pq --self-test"}
"""Commands that only the help of another one names."""

_ANYWHERE = {"--traceback": 0, "--offline": 0, "--accept-license": 1, "--accept-licence": 1}
"""The options of all commands, which may stand anywhere, with the number of their values."""


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
            application("".join(words[:1]))([*flags, *words])

    guarded(run)


def application(first: str = "") -> typer.Typer:
    """The commands of the ``first`` word of a command line; all commands if it is none of them.

    Only their modules are imported and prepared, because those of all commands take 0.2 s.
    """
    read_simply()
    app = typer.Typer(
        cls=_Commands,
        help="Panoptic segmentation around a shared bottom branch: BlendMask + Panoptic-FPN, with exact PQ.",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
    )
    app.callback()(_every_command)
    for name in [name for name in _COMMANDS if name.split()[0] == first] or _COMMANDS:
        module, _, attribute = _COMMANDS[name].partition(":")
        command = getattr(import_module(f"panoptic_blend.cli.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name, hidden=name in _HIDDEN)(command)
    return app


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
