"""Runs ``panoptic-blend predict`` in a separate process, which can be interrupted by a signal at a given image."""

from __future__ import annotations

import os
import signal
import sys
import threading
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from panoptic_blend.cli.main import main
from panoptic_blend.prediction.journal import Journal, JournalEntry


def finish(arguments: list[object], errors: Path, **how: object) -> int | None:
    """Run ``panoptic-blend predict ...`` with standard error in a file; returns the exit code. ``how``: see `run`."""
    context = get_context("forkserver")
    context.set_forkserver_preload(
        ["panoptic_blend.cli.main", "panoptic_blend.inference.predictor", "panoptic_blend.prediction.pictures"]
    )
    process = context.Process(target=run, args=([str(argument) for argument in arguments], errors), kwargs=how)
    process.start()
    process.join(120)
    return process.exitcode


def run(arguments: list[str], errors: Path, *, number: int = 0, at: int = 0, noted: bool = False) -> None:
    """Predict, and send signal ``number`` at image ``at``, after it is in the journal if ``noted``, else before."""
    with errors.open("w") as file:
        os.dup2(file.fileno(), 2)
    sys.argv = ["panoptic-blend", "predict", *arguments]
    add, count, lock = Journal.add, iter(range(1, 10**6)), threading.Lock()

    def signaled(journal: Journal, *entry: Any) -> JournalEntry:
        with lock:  # at the signal, the file has exactly the images up to this one
            is_last = next(count) == at
            added = add(journal, *entry) if noted or not is_last else None
            if is_last:
                os.kill(os.getpid(), number)
        return added or add(journal, *entry)

    if number:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        Journal.add = signaled  # type: ignore[method-assign, assignment]
    main()
