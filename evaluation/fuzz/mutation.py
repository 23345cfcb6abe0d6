"""Damage files at random: their bytes, and the structure of JSON, YAML and the headers in them."""

from __future__ import annotations

import json
import re
import struct
import zlib
from collections.abc import Callable, Iterator
from random import Random
from typing import Any

import yaml

DEEP = 3000
"""Levels of nested lists, more than Python's parsers recurse into."""

_PLACEHOLDERS = {
    "@deep@": "[" * DEEP + "]" * DEEP,
    "@huge@": "1" + "0" * 400,
    "@exponent@": "1e999",
    "@nan@": "NaN",
    "@minus@": "-0.0",
}
"""Values that no serializer writes; they replace these strings in the text."""

ODD_VALUES: tuple[Any, ...] = (
    *_PLACEHOLDERS,
    *(None, True, False, 0, -1, 1, 2, 255, 256, 2**24, 2**31, 2**32, 2**53 + 1, 2**63, -(2**63) - 1, 10**20),
    *(0.5, -1.5, 1e-320, 1e308, 1e20),
    *("", " ", "0", "1", "nan", "\x00", "\ud800", "\n", "é", "x" * 5000, "../../x", "/etc/passwd", "C:\\x", ".", "a/b"),
    *([], {}, [[]], [{}], [None], {"": None}, [0] * 1000, [[0, 0]] * 100, {"id": 1}, [1.5, "x", None]),
)
_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 2**63 - 1, 2**64 - 1)
_MAGIC = (
    b"\x89PNG\r\n\x1a\n",
    b"\xff\xd8\xff\xe0",
    b"GIF89a",
    b"RIFF\x10\x00\x00\x00WEBPVP8 ",
    b"PK\x03\x04",
    b"PK\x05\x06" + bytes(18),
    b"\x80\x02",
    b"\x93NUMPY\x01\x00",
    b"\x1f\x8b\x08",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"{",
    b"[" * DEEP,
    b"!!python/object/apply:os.system ['true']\n",
    b"&a [*a, *a]\n",
)
_IDENTIFIER = re.compile(r'"[^"]*": ')


def mutate(name: str, content: bytes, random: Random) -> bytes:
    """Damage a file once, by a way that suits its name; the result depends on ``random`` alone."""
    structured = _STRUCTURED.get(name.rpartition(".")[2])
    if structured and random.random() < 0.7:
        changed = structured(content, random)
        if changed is not None:
            return changed
    return random.choice(_BYTES)(content, random)


def _flip(content: bytes, random: Random) -> bytes:
    changed = bytearray(content or b"\0")
    for _ in range(random.choice((1, 1, 2, 8))):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def _cut(content: bytes, random: Random) -> bytes:
    start, end = _span(content, random)
    return random.choice((content[:start], content[:start] + content[end:], content[start:]))


def _repeat(content: bytes, random: Random) -> bytes:
    start, end = _span(content, random)
    return content[:end] + content[start:end] * random.choice((1, 2, 100)) + content[end:]


def _insert(content: bytes, random: Random) -> bytes:
    place = random.randint(0, len(content))
    return content[:place] + random.randbytes(random.choice((1, 2, 4, 64))) + content[place:]


def _number(content: bytes, random: Random) -> bytes:
    """Write a number at the limit of a type over some bytes."""
    form = random.choice(("<B", "<H", ">H", "<I", ">I", "<Q", ">Q"))
    packed = struct.pack(form, random.choice(_NUMBERS) % 2 ** (8 * struct.calcsize(form)))
    place = random.randint(0, max(0, len(content) - len(packed)))
    return content[:place] + packed + content[place + len(packed) :]


def _magic(content: bytes, random: Random) -> bytes:
    magic = random.choice(_MAGIC)
    return random.choice((magic, magic + content, magic + content[len(magic) :], content + magic, b""))


_BYTES: tuple[Callable[[bytes, Random], bytes], ...] = (_flip, _flip, _cut, _repeat, _insert, _number, _magic)


def _span(content: bytes, random: Random) -> tuple[int, int]:
    start = random.randint(0, len(content))
    return start, min(len(content), start + random.choice((1, 4, 100, len(content))))


def _json(content: bytes, random: Random) -> bytes | None:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        return None
    text = json.dumps(change_value(value, random))
    if random.random() < 0.05 and (keys := list(_IDENTIFIER.finditer(text))):  # a key twice
        key = random.choice(keys)
        text = f"{text[: key.start()]}{key.group()}{random.choice(('null', '[]', '0'))}, {text[key.start() :]}"
    return _filled(text).encode("utf-8", "surrogatepass")


def _json_lines(content: bytes, random: Random) -> bytes | None:
    lines = content.split(b"\n")
    line = random.randrange(len(lines))
    changed = _json(lines[line], random)
    return None if changed is None else b"\n".join([*lines[:line], changed, *lines[line + 1 :]])


def _yaml(content: bytes, random: Random) -> bytes | None:
    try:
        value = yaml.safe_load(content)
    except (yaml.YAMLError, ValueError, RecursionError):
        return None
    text = yaml.safe_dump(change_value(value, random), allow_unicode=False)
    return _filled(text, quote="'").encode("utf-8", "surrogatepass")


def _safetensors(content: bytes, random: Random) -> bytes | None:
    """Change the JSON of the header, or the JSON in its metadata."""
    size = int.from_bytes(content[:8], "little")
    try:
        header = json.loads(content[8 : 8 + size])
        metadata = header.get("__metadata__")
    except (ValueError, AttributeError, RecursionError):
        return None
    if isinstance(metadata, dict) and metadata and random.random() < 0.7:
        key = random.choice(sorted(metadata))
        changed = _json(str(metadata[key]).encode("utf-8", "replace"), random)
        if changed is not None:
            metadata[key] = changed.decode("utf-8", "replace")
    else:
        header = change_value(header, random)
    text = _filled(json.dumps(header)).encode("utf-8", "surrogatepass")
    return len(text).to_bytes(8, "little") + text + content[8 + size :]


def _png(content: bytes, random: Random) -> bytes | None:
    """Change the content of a chunk and correct its checksum, so that decoders read on."""
    chunks = list(_chunks(content))
    if not chunks:
        return None
    start, length = random.choice(chunks[:1] * 3 + chunks)
    body = content[start + 4 : start + 8 + length]
    changed = body[:4] + random.choice((_flip, _number, _number))(body[4:], random)
    length = len(changed) - 4
    crc = zlib.crc32(changed)
    end = start + len(body) + 8
    return content[:start] + struct.pack(">I", length) + changed + struct.pack(">I", crc) + content[end:]


def _chunks(content: bytes) -> Iterator[tuple[int, int]]:
    place = 8
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4], "big")
        if place + 12 + length > len(content):
            return
        yield place, length
        place += 12 + length


_STRUCTURED: dict[str, Callable[[bytes, Random], bytes | None]] = {
    "json": _json,
    "jsonl": _json_lines,
    "yaml": _yaml,
    "safetensors": _safetensors,
    "png": _png,
}


def change_value(value: Any, random: Random) -> Any:
    """A copy of a JSON value in which something, at any depth, is replaced, removed or there once more."""
    places: list[tuple[Any, ...]] = [(), *_places(value)]
    place = random.choice(places)
    if not place:
        place = random.choice(places)  # rarely all of it
    return _changed(value, place, value, random)


def _changed(value: Any, place: tuple[Any, ...], whole: Any, random: Random) -> Any:
    if not place:
        inner = list(_places(whole))
        other = _at(whole, random.choice(inner)) if inner and random.random() < 0.15 else random.choice(ODD_VALUES)
        return [value] if random.random() < 0.05 else other
    key, *rest = place
    if isinstance(value, dict):
        copy: Any = dict(value)
        if not rest and random.random() < 0.15:
            del copy[key]
            return copy
    else:
        copy = list(value)
        if not rest and random.random() < 0.15:
            return random.choice((copy[:key] + copy[key + 1 :], copy[: key + 1] + copy[key:]))
    copy[key] = _changed(value[key], tuple(rest), whole, random)
    return copy


def _places(value: Any) -> Iterator[tuple[Any, ...]]:
    keys = value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in keys:
        yield (key,)
        for place in _places(value[key]):
            yield (key, *place)


def _at(value: Any, place: tuple[Any, ...]) -> Any:
    for key in place:
        value = value[key]
    return value


def _filled(text: str, quote: str = '"') -> str:
    for placeholder, literal in _PLACEHOLDERS.items():
        text = text.replace(f"{quote}{placeholder}{quote}", literal)
    return text
