"""Fields of JSON from outside: the ``require_`` readers raise an error, the others return None or leave out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

from panoptic_blend.files import inside
from panoptic_blend.formats.names import local_names
from panoptic_blend.structures import ImageId, PanopticBlendError, is_integer, whole_number

Record = dict[str, Any]


def are_records(value: object) -> TypeGuard[list[Record]]:
    """Whether a JSON value is a list of objects."""
    return isinstance(value, list) and all(isinstance(item, dict) for item in value)


def records(content: Any, key: str) -> list[Record]:
    """The objects in the list ``key``; empty if ``content`` has no list there."""
    value = content.get(key) if isinstance(content, dict) else None
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []


def require_records(content: Any, key: str, where: str, kind: str) -> list[Record]:
    """The list of objects ``key``, or an error that starts with ``where`` and says the file is not ``kind``."""
    value = content.get(key) if isinstance(content, dict) else None
    if not are_records(value):
        raise not_records(key, where, kind)
    return value


def not_records(key: str, where: str, kind: str) -> PanopticBlendError:
    """The error of `require_records`, to be raised by the caller."""
    return PanopticBlendError(f"{where}: no list of records `{key}`; this is not {kind}")


def integer(record: Mapping[str, Any], key: str) -> int | None:
    """The whole number under ``key``, None if the value is anything else."""
    value = record.get(key)
    return value if is_integer(value) else None


def require_integer(record: Mapping[str, Any], key: str, where: str) -> int:
    """The whole number under ``key``, such as 3 or 3.0, or an error that starts with ``where``."""
    value = record.get(key)
    number = value if is_integer(value) else whole_number(value)
    if number is None:
        raise PanopticBlendError(f"{where}: `{key}` is {value!r}, not a whole number; correct it")
    return number


def require_image_id(record: Mapping[str, Any], key: str, where: str) -> ImageId:
    """The id of an image, a whole number or a text, or an error that starts with ``where``; other numbers are texts."""
    value = record.get(key)
    if isinstance(value, float) and not value.is_integer():
        value = str(value)
    if isinstance(value, str) and value and value.isprintable():
        return value
    if isinstance(value, int | float):
        return require_integer(record, key, where)
    raise PanopticBlendError(f"{where}: `{key}` is {value!r}, neither a number nor a printable text; correct it")


def require_text(record: Mapping[str, Any], key: str, where: str) -> str:
    """The text under ``key``, which is not blank, or an error that starts with ``where``."""
    value = record.get(key)
    if not isinstance(value, str) or not value.strip():
        raise PanopticBlendError(f"{where}: `{key}` is {value!r}, not a name; correct it")
    return value


def stays_inside(name: str) -> bool:
    """Whether a file name is a relative path that does not leave its folder."""
    try:
        inside(Path(), name)
    except PanopticBlendError:
        return False
    return True


def file_name(record: Mapping[str, Any]) -> str | None:
    """The ``file_name`` of a record, None unless it is a path that does not leave its folder."""
    value = record.get("file_name")
    return value if isinstance(value, str) and stays_inside(value) else None


def require_file_names(records: Sequence[Record], wheres: Sequence[str]) -> list[str]:
    """The ``file_name`` of each record of one file as `local_names`, which do not leave their folder.

    Errors start with that item of ``wheres``.
    """
    for record, where in zip(records, wheres, strict=True):
        if not isinstance(value := record.get("file_name"), str):
            raise PanopticBlendError(f"{where}: `file_name` is {value!r}, not a file name; correct it")
    names = file_names(records)
    for name, where in zip(names, wheres, strict=True):
        try:
            inside(Path(), name)
        except PanopticBlendError as error:
            raise PanopticBlendError(f"{where}: {error}") from None
    return names


def file_names(records: Iterable[Record]) -> list[str]:
    """The ``file_name`` of each record of one file as `local_names`; empty where it is missing or not a text."""
    values = (record.get("file_name") for record in records)
    return local_names([value if isinstance(value, str) else "" for value in values])
