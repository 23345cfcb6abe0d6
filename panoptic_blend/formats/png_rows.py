"""The runs of equal pixels in the filtered rows of a PNG, found by the WebAssembly program ``png_rows.wat``.

Every filtered pixel depends on its neighbors at the left and above, which numpy cannot vectorize, and PNG libraries
compute all of them. The program computes only those at the edges of segments. wasmtime compiles it when the first PNG
is read, so nothing is compiled at installation; it runs without Python's global interpreter lock, and reaches no memory
but its own, whatever a file contains.
"""

from __future__ import annotations

import atexit
import ctypes
import threading
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from panoptic_blend.structures import Runs

if TYPE_CHECKING:
    import wasmtime

_ROWS, _RUN, _SLACK, _PAGE = 16, 8, 16, 2**16
"""In bytes: the address of the rows, the size of a run, the vector that may be read beyond the rows, and the unit in
which memory grows."""

_Header = ctypes.c_uint32 * 4
"""At address 0: width, height, address of the first run, and address behind the last one."""

_KEPT = 2**26
"""Bytes of memory up to which a thread keeps the program for its next PNG."""

_lock = threading.Lock()
_threads = threading.local()


def runs_of_rows(rows: bytes, height: int, width: int) -> Runs | None:
    """Undo the filters of ``height`` > 0 rows, each a type and ``width`` > 0 pixels RGB, and encode the result.

    The values of the runs are segment ids, ``R + 256 G + 256**2 B`` (int32). Returns None if a filter type is unknown
    or the program cannot run here: wasmtime lacks the platform, or there is not enough memory.
    """
    try:
        program = _threads.program if hasattr(_threads, "program") else _Program()
        runs = program.decode(rows, height, width)
    except _failures():
        return None
    _threads.program = program
    if program.size > _KEPT:
        del _threads.program
    return runs


class _Program:
    """An instance of the program, for one thread; ``size`` is that of its memory in bytes."""

    def __init__(self) -> None:
        import wasmtime

        engine, module = _compiled()
        self._store = wasmtime.Store(engine)
        exports = wasmtime.Instance(self._store, module, []).exports(self._store)
        memory, decode = exports["memory"], exports["decode"]
        assert isinstance(memory, wasmtime.Memory) and isinstance(decode, wasmtime.Func)
        self._memory, self._decode = memory, decode
        self.size = memory.data_len(self._store)

    def decode(self, rows: bytes, height: int, width: int) -> Runs | None:
        first = -(-(_ROWS + len(rows) + _SLACK) // _RUN) * _RUN
        missing = first + _RUN * height * width - self.size
        if missing > 0:
            self._memory.grow(self._store, -(-missing // _PAGE))
            self.size = self._memory.data_len(self._store)
        address = ctypes.addressof(self._memory.data_ptr(self._store).contents)
        header = _Header.from_address(address)
        header[:] = [width, height, first, 0]
        ctypes.memmove(address + _ROWS, rows, len(rows))
        self._decode(self._store)
        if not header[3]:
            return None
        found = np.frombuffer(ctypes.string_at(address + first, header[3] - first), "<i4")
        starts, values = found.reshape(-1, 2).T.copy()
        return Runs(values, starts, (height, width))


@cache
def _compile() -> tuple[wasmtime.Engine, wasmtime.Module]:
    import wasmtime

    engine = wasmtime.Engine()
    return engine, wasmtime.Module(engine, resources.files(__package__).joinpath("png_rows.wat").read_text())


def _compiled() -> tuple[wasmtime.Engine, wasmtime.Module]:
    with _lock:  # so that threads which start at once compile it once
        return _compile()


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
