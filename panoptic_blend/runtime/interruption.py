"""Handling of SIGTERM and Ctrl-C, so that a run stops where nothing is lost."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType
from typing import Any

from panoptic_blend.structures import PanopticBlendError


class RunInterruptedError(PanopticBlendError):
    """The run was interrupted by a signal and can be resumed."""

    exit_code = 75
    """EX_TEMPFAIL of sysexits.h: a temporary failure, try again."""


class Interruption:
    """A context manager that records SIGTERM and Ctrl-C in ``is_requested`` instead of stopping the process.

    A second Ctrl-C raises KeyboardInterrupt.
    """

    _SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self.is_requested = False
        self._is_immediate = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interruption:
        if threading.current_thread() is threading.main_thread():  # only this thread may set signal handlers
            self._before = {number: signal.signal(number, self._on_signal) for number in self._SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextmanager
    def immediate(self) -> Iterator[None]:
        """In the block, which has nothing to save, a signal raises `RunInterruptedError` immediately."""
        self._is_immediate = True
        try:
            if self.is_requested:
                raise RunInterruptedError("interrupted")
            yield
        finally:
            self._is_immediate = False

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self.is_requested and number == signal.SIGINT:
            raise KeyboardInterrupt
        self.is_requested = True
        if self._is_immediate:
            raise RunInterruptedError("interrupted")
