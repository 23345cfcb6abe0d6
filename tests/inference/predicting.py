"""``panoptic-blend predict`` in a process of its own, which can be made to end in the middle of its work."""

from __future__ import annotations

import os
import signal
import sys
import threading
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from panoptic_blend.cli.main import main
from panoptic_blend.inference.journal import Entry, Journal


def finish(arguments: list[object], errors: Path, **how: object) -> int | None:
    """The exit code of ``panoptic-blend predict ...``, whose standard error goes to a file; ``how`` as in `run`."""
    context = get_context("forkserver")
    context.set_forkserver_preload(
        ["panoptic_blend.cli.main", "panoptic_blend.inference.predictor", "panoptic_blend.inference.pictures"]
    )
    process = context.Process(target=run, args=([str(argument) for argument in arguments], errors), kwargs=how)
    process.start()
    process.join(120)
    return process.exitcode


def run(arguments: list[str], errors: Path, *, number: int = 0, at: int = 0, noted: bool = False) -> None:
    """Predict; signal ``number`` comes with the image ``at``, before or after it is ``noted`` in the journal."""
    with errors.open("w") as file:
        os.dup2(file.fileno(), 2)
    sys.argv = ["panoptic-blend", "predict", *arguments]
    add, count, lock = Journal.add, iter(range(1, 10**6)), threading.Lock()

    def signalled(journal: Journal, *entry: Any) -> Entry:
        with lock:  # the file holds the images up to this one, and no other
            is_it = next(count) == at
            added = add(journal, *entry) if noted or not is_it else None
            if is_it:
                os.kill(os.getpid(), number)
        return added or add(journal, *entry)

    if number:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        Journal.add = signalled  # type: ignore[method-assign, assignment]
    main()
