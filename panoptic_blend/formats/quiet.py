"""Keep OpenCV and the libraries that it decodes with from printing to standard error."""

from __future__ import annotations

import ctypes
import os
import platform
import threading

import cv2


class _Quiet:
    """A context in which OpenCV and the libraries in it print nothing to standard error, while any thread is in it.

    The log level of OpenCV does not reach the decoders of PNG and JPEG, which print through the stream of the C
    library. So this stream is exchanged, and not the file descriptor, which Python and child processes use.
    """

    _set_level = staticmethod(getattr(cv2, "setLogLevel", None) or cv2.utils.logging.setLogLevel)  # OpenCV 4 and 5

    def __init__(self) -> None:
        self._lock, self._inside, self._before = threading.Lock(), 0, 0
        self._stream, self._nowhere = _error_stream()
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


def _error_stream() -> tuple[ctypes.c_void_p, int | None]:
    """The C library's variable ``stderr`` and a stream to the null device; without effect outside of glibc."""
    if platform.libc_ver()[0] != "glibc":
        return ctypes.c_void_p(), None
    library = ctypes.CDLL(None)
    library.fopen.restype = ctypes.c_void_p
    return ctypes.c_void_p.in_dll(library, "stderr"), library.fopen(os.devnull.encode(), b"w")


quiet = _Quiet()
"""Shared by all threads, because log level and stream are global."""
