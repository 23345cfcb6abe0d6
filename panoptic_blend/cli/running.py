"""Turn errors and interruptions of a command into one line and an exit code."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from panoptic_blend.failures import ForeignError, doing, in_one_line
from panoptic_blend.files import printable
from panoptic_blend.structures import PanopticBlendError

TRACEBACK = "PANOPTIC_BLEND_TRACEBACK"
"""Environment variable that prints the traceback of an error if it is not empty; ``--traceback`` sets it."""


def guarded(command: Callable[[], object]) -> None:
    """Run a command; any error ends in one line and exit code 2, an interrupted training in code 75.

    The traceback of an exception that is not ours is written to a file, which the line names.
    """
    try:
        _require_output()
        try:
            command()
        finally:
            _flush_output()
        return
    except KeyboardInterrupt:
        if not _prints():
            sys.exit(130)
        message, code = "interrupted", 130
    except Exception as error:
        failure = in_one_line(error)
        message, code = str(failure), failure.exit_code
        if os.environ.get(TRACEBACK):
            traceback.print_exc()
        elif isinstance(failure, ForeignError) and (path := failure.keep_trace()):
            message += f"; traceback: {path}"
    print(printable(f"error: {message}" if code == PanopticBlendError.exit_code else message), file=sys.stderr)
    sys.exit(code)


def _require_output() -> None:
    if sys.stdout is None:
        raise PanopticBlendError("standard output is closed; redirect it to a file or to /dev/null")


def _flush_output() -> None:
    """Write what was printed, so that a full disk is an error; a reader such as ``head`` may have seen enough."""
    try:
        with doing("standard output"):
            sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


@contextmanager
def stoppable(message: str) -> Iterator[None]:
    """On Ctrl-C inside the ``with`` block, print ``message`` and exit with code 130."""
    try:
        yield
    except KeyboardInterrupt:
        if _prints():
            print(message, file=sys.stderr)
        raise typer.Exit(130) from None


def _prints() -> bool:
    """Whether this is the process of a command that says what has happened to all of its processes."""
    return all(os.environ.get(name, "0") == "0" for name in ("RANK", "LOCAL_RANK"))
