"""Run small WebAssembly programs, for loops over pixels and runs that numpy cannot vectorize.

A program is a file ``NAME.wat`` of its package. wasmtime compiles it when it is used, so nothing is compiled at
installation; it runs without Python's global interpreter lock, and reaches no memory but its own, whatever a file
contains. Where wasmtime cannot run, and for the first few megabytes of a process, callers do the same in another way.

A function of a program takes no arguments. Its memory begins with i32 of a header: the address to which it writes,
then its numbers, then the addresses of its inputs. It stores the address behind its output at 0, or 0 for none.
"""

from __future__ import annotations

import atexit
import ctypes
import threading
from collections.abc import Sequence
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    import wasmtime

_HEADER, _ALIGNMENT, _SLACK, _PAGE = 64, 16, 64, 2**16
"""In bytes: the header, what addresses are multiples of, what may be read beyond an input, and the unit of memory."""

_KEPT = 2**26
"""Bytes of memory up to which a thread keeps a program for its next call."""

_waiting = 2**24
"""Bytes of inputs that are still left to callers: until then, they take less time than the import of wasmtime does.

These are about nine pairs of PNGs of 640 x 480.
"""

_lock = threading.Lock()
_threads = threading.local()


def run(
    package: str, name: str, function: str, inputs: Sequence[npt.NDArray[Any]], numbers: Sequence[int], space: int
) -> npt.NDArray[np.uint8] | None:
    """Call a ``function`` of the program ``name`` of a package with ``inputs`` (n,), and return its output.

    ``space`` is the number of bytes that it may write. Returns None if it has no output, if this process has had few
    inputs so far, or if it cannot run here: wasmtime lacks the platform, or there is not enough memory.
    """
    global _waiting
    if _waiting > 0:
        _waiting -= sum(data.nbytes for data in inputs)
        return None
    programs: dict[str, _Program] = _threads.__dict__
    try:
        program = programs.pop(name, None) or _Program(package, name)
        output = program.call(function, inputs, numbers, space)
    except _failures():
        return None
    if program.size <= _KEPT:
        programs[name] = program
    return output


class _Program:
    """An instance of a program, for one thread; ``size`` is that of its memory in bytes."""

    def __init__(self, package: str, name: str) -> None:
        import wasmtime

        engine, module = _compiled(package, name)
        self._store = wasmtime.Store(engine)
        self._exports = wasmtime.Instance(self._store, module, []).exports(self._store)
        memory = self._exports["memory"]
        assert isinstance(memory, wasmtime.Memory)
        self._memory = memory
        self._map_memory()

    def _map_memory(self) -> None:
        """Wrap the memory, which moves when it grows, in arrays."""
        self.size = self._memory.data_len(self._store)
        content = ctypes.cast(self._memory.data_ptr(self._store), ctypes.POINTER(ctypes.c_uint8 * self.size)).contents
        self._bytes = np.frombuffer(content, np.uint8)
        self._header = self._bytes[:_HEADER].view(np.uint32)

    def call(
        self, function: str, inputs: Sequence[npt.NDArray[Any]], numbers: Sequence[int], space: int
    ) -> npt.NDArray[np.uint8] | None:
        output, places = _HEADER, []
        for data in inputs:
            places.append(output)
            output += -(-(data.nbytes + _SLACK) // _ALIGNMENT) * _ALIGNMENT
        missing = output + space - self.size
        if missing > 0:
            self._memory.grow(self._store, -(-missing // _PAGE))
            self._map_memory()
        header, content = self._header, (output, *numbers, *places)
        header[: len(content)] = content
        for place, data in zip(places, inputs, strict=True):
            self._bytes[place : place + data.nbytes] = data.view(np.uint8)
        self._exports[function](self._store)
        end = int(header[0])
        return self._bytes[output:end].copy() if end else None


@cache
def _compile(package: str, name: str) -> tuple[wasmtime.Engine, wasmtime.Module]:
    import wasmtime

    config = wasmtime.Config()
    config.parallel_compilation = False  # its threads would be missing in a forked process, which would wait for them
    engine = wasmtime.Engine(config)
    return engine, wasmtime.Module(engine, resources.files(package).joinpath(f"{name}.wat").read_text())


def _compiled(package: str, name: str) -> tuple[wasmtime.Engine, wasmtime.Module]:
    with _lock:  # so that threads which start at once compile it once
        return _compile(package, name)


@atexit.register
def _release() -> None:
    """Let go of what wasmtime cannot free any more once the interpreter tears its modules down."""
    _threads.__dict__.clear()
    _compile.cache_clear()


def _failures() -> tuple[type[Exception], ...]:
    """The exceptions by which wasmtime says that it cannot run here."""
    try:
        import wasmtime
    except (ImportError, OSError, RuntimeError):
        return ImportError, OSError, RuntimeError
    return (wasmtime.WasmtimeError,)
