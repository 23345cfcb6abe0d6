"""Turn errors and interruptions of a command into one line and an exit code."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from panoptic_blend.files import printable
from panoptic_blend.structures import PanopticBlendError


def guarded(command: Callable[[], object]) -> None:
    """Run a command; an error of its input ends in one line and exit code 2, an interrupted training in code 75."""
    try:
        command()
        return
    except PanopticBlendError as error:
        message, code = str(error), error.exit_code
    except OSError as error:
        message = f"{error.filename or 'operating system'}: {error.strerror or error}; check the path and the disk"
        code = PanopticBlendError.exit_code
    except KeyboardInterrupt:
        message, code = "interrupted", 130
    print(printable(f"error: {message}" if code == PanopticBlendError.exit_code else message), file=sys.stderr)
    sys.exit(code)


@contextmanager
def stoppable(message: str) -> Iterator[None]:
    """On Ctrl-C inside the ``with`` block, print ``message`` and exit with code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print(message, file=sys.stderr)
        raise typer.Exit(130) from None
