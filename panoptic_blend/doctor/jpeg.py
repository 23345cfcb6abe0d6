"""Find damage inside of JPEGs that decoders pass over: they only warn, and some damage decodes without a warning.

The structure is that of ITU-T T.81: marker segments (B.1.1), Huffman tables (B.2.4.2) and entropy-coded data (F.1.2).
"""

from __future__ import annotations

import re
from collections.abc import Iterator

_COMPLAINT = re.compile(r"premature end of data segment|bad Huffman code|found marker .* instead of RST")
_EXTRANEOUS = re.compile(r"(\d+) extraneous bytes before marker 0x([0-9a-f]+)")
_ZEROS = 64
"""A run of so many zero bytes is damage, unless the tables give zeros to flat blocks."""
_SEQUENTIAL, _TABLES, _SCAN, _END = {0xC0, 0xC1}, 0xC4, 0xDA, b"\xff\xd9"
_END_OF_BLOCK = 0


def damage(data: bytes, said: str) -> str | None:
    """What is damaged in the bytes of a JPEG, None if nothing is; ``said`` is what libjpeg printed when decoding it."""
    if found := _COMPLAINT.search(said):
        return found[0]
    for found in _EXTRANEOUS.finditer(said):
        number, end = int(found[1]), data.rfind(_END)
        is_padding = int(found[2], 16) == _END[1] and len(set(data[max(end - number, 0) : end])) == 1
        if not is_padding:  # some cameras pad the end of the picture
            return found[0]
    if data.startswith(b"\xff\xd8\xff") and bytes(_ZEROS) in data:
        return _zeros(data)
    return None


def _zeros(data: bytes) -> str | None:
    """Describe a run of zeros in the data of a sequential JPEG in which flat blocks are not all zeros."""
    is_sequential, symbols = False, dict[int, int]()
    for kind, start, length in _segments(data):
        content = data[start : start + length]
        if kind in _SEQUENTIAL:
            is_sequential = True
        elif kind == _TABLES:
            symbols.update(_symbols_of_zeros(content))
        elif kind == _SCAN and is_sequential and content:
            selectors = content[2 : 2 + 2 * content[0] : 2]
            end = data.find(_END, start + length)  # what follows is no part of the picture
            place = data.find(bytes(_ZEROS), start + length, end if end >= 0 else None)
            if place >= 0 and any(symbols.get(0x10 | s & 15, _END_OF_BLOCK) != _END_OF_BLOCK for s in selectors):
                return f"zeros from byte {place} on"
            return None
    return None


def _segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield kind, start and length of the marker segments up to the first scan; ends where there is no marker."""
    place = 2
    while place + 4 <= len(data) and data[place] == 0xFF:
        kind, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4])
        if kind == 0xFF:  # padding
            place += 1
            continue
        yield kind, place + 4, length - 2
        place += 2 + length


def _symbols_of_zeros(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield class and number of each Huffman table, and its first symbol, whose code consists of zeros."""
    place = 0
    while place + 17 < len(content):
        yield content[place], content[place + 17]
        place += 17 + sum(content[place + 1 : place + 17])
