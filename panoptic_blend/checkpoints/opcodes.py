"""Check the opcodes of a pickle before it is read, because Python's unpickler trusts the sizes that they claim."""

from __future__ import annotations

import pickletools

_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
_FOREIGN = {"EXT1", "EXT2", "EXT4", "NEXT_BUFFER"}
_MOST_TUPLES = 50_000
"""An array takes four; a million nested tuples, used as a key, would exhaust the stack when Python hashes them."""


def require_modest(content: bytes, place: int = 0) -> int:
    """Raise ValueError for opcodes that claim more than the file holds, or that refer to objects outside it.

    Returns the end of the pickle that starts at ``place``.
    """
    tuples = 0
    while place < len(content):
        opcode = _OPCODES.get(chr(content[place]))
        if opcode is None or opcode.name in _FOREIGN:
            raise ValueError(f"opcode {opcode.name if opcode else content[place]} at byte {place}")
        if opcode.name == "STOP":
            return place + 1
        start, place = place + 1, _end(content, place + 1, opcode.arg)
        tuples += opcode.name.startswith("TUPLE")
        if place > len(content) or tuples > _MOST_TUPLES or _entry(opcode.name, content, start, place) > len(content):
            raise ValueError(f"opcode {opcode.name} at byte {start - 1} claims more than the file holds")
    raise ValueError("it ends too early")


def _end(content: bytes, start: int, argument: pickletools.ArgumentDescriptor | None) -> int:
    """The end of an opcode's argument, which starts at ``start``."""
    if argument is None:
        return start
    if argument.n >= 0:
        return start + argument.n
    if argument.n == pickletools.UP_TO_NEWLINE:
        for _ in range(2 if argument.name == "stringnl_noescape_pair" else 1):
            start = content.find(b"\n", start) + 1 or len(content) + 1
        return start
    width = {pickletools.TAKEN_FROM_ARGUMENT1: 1, pickletools.TAKEN_FROM_ARGUMENT8U: 8}.get(argument.n, 4)
    return start + width + int.from_bytes(content[start : start + width], "little")


def _entry(opcode: str, content: bytes, start: int, end: int) -> int:
    """The index in the memo, a list, that an opcode with an argument from ``start`` to ``end`` fills."""
    if opcode == "PUT":
        return int(content[start:end])
    return int.from_bytes(content[start:end], "little") if opcode in ("BINPUT", "LONG_BINPUT") else 0
