"""Keep OpenCV and the libraries that it decodes with from printing to standard error."""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import cv2


class _Quiet:
    """A context in which OpenCV and the libraries in it print nothing to standard error, while any thread is in it.

    The log level of OpenCV does not reach the decoders of PNG and JPEG, which print through the stream of the C
    library. So this stream is exchanged, and not the file descriptor, which Python and child processes use.
    """

    _set_level = staticmethod(getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)  # OpenCV 4 and 5

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, 0
        self._library = _c_library()
        self._stream = ctypes.c_void_p.in_dll(self._library, "stderr") if self._library else ctypes.c_void_p()
        self._nowhere = self._library.fopen(os.devnull.encode(), b"w") if self._library else None
        self._printing = self._stream.value

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._before = self._set_level(0)
                self._stream.value = self._nowhere
            self._inside += 1

    def __exit__(self, *error: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._set_level(self._before)
                self._stream.value = self._printing

    @contextmanager
    def overhearing(self) -> Iterator[Callable[[], str]]:
        """A quiet context that yields a function, which returns what the libraries have printed in it so far.

        Other threads must not decode meanwhile. Outside of glibc the text is always empty.
        """
        library = self._library
        if library is None:
            with self:
                yield lambda: ""
            return
        handle = os.memfd_create("stderr")
        stream = library.fdopen(handle, b"w")

        def text() -> str:
            library.fflush(ctypes.c_void_p(stream))
            return os.pread(handle, 2**16, 0).decode(errors="replace")

        with self:
            before, self._stream.value = self._stream.value, stream
            try:
                yield text
            finally:
                self._stream.value = before
                library.fclose(ctypes.c_void_p(stream))


def _c_library() -> ctypes.CDLL | None:
    """The C library if it is glibc, whose variable ``stderr`` can be exchanged; on others nothing is kept quiet."""
    if platform.libc_ver()[0] != "glibc":
        return None
    library = ctypes.CDLL(None)
    library.fopen.restype = library.fdopen.restype = ctypes.c_void_p
    return library


quiet = _Quiet()
"""Shared by all threads, because log level and stream are global."""
