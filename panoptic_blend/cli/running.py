"""How a command ends: well, with one line about what is wrong, or interrupted."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer

from panoptic_blend.files import printable
from panoptic_blend.structures import PanopticBlendError


def guarded(command: Callable[[], object]) -> None:
    """Run a command; errors from outside end in one line and exit code 2, interrupted training in 75."""
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
    """Ctrl-C in the block ends in one line and exit code 130."""
    try:
        yield
    except KeyboardInterrupt:
        print(message, file=sys.stderr)
        raise typer.Exit(130) from None
