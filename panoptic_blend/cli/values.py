"""Read the values of arguments and options without pydantic, which takes a quarter of the start of a command.

Newer typer imports pydantic for the first value of a command, whatever it is. Here values that are evidently right are
read as typer reads them; every other one, with its message, is left to typer.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from typer.core import TyperArgument, TyperOption


@cache
def read_simply() -> None:
    """Have typer read values as `read` does where it can; an older typer, which has no pydantic, is left alone."""
    kinds: tuple[Any, ...] = TyperArgument, TyperOption
    for kind in kinds:
        if hasattr(kind, "get_runtime_param"):
            kind.process_value = _simple_first(kind.process_value)


def _simple_first(by_typer: Callable[[Any, Any, Any], Any]) -> Callable[[Any, Any, Any], Any]:
    def process_value(parameter: Any, context: Any, value: Any) -> Any:
        try:
            found = read(parameter, value)
        except DoubtfulError:
            return by_typer(parameter, context, value)
        return found if parameter.callback is None else parameter.callback(context, parameter, found)

    return process_value


class DoubtfulError(Exception):
    """A value may be wrong, or is of a kind that only typer reads."""


def read(parameter: Any, value: Any) -> Any:
    """The value of a parameter for its function: of what was given, or of the default.

    Raises:
        DoubtfulError: typer may read it in another way, or refuse it.
    """
    kind, limits = parameter.type_descriptor.annotation, parameter.type_descriptor.parameter_info
    is_list = parameter.multiple or parameter.nargs == -1
    if parameter.required and value in (None, (), []):
        raise DoubtfulError
    if value is None:
        return () if is_list else None
    if not is_list:
        return _read_one(kind, limits, value)
    if get_origin(kind) is not list or not isinstance(value, list | tuple):
        raise DoubtfulError
    return [_read_one(get_args(kind)[0], limits, item) for item in value]


def _read_one(kind: Any, limits: Any, value: Any) -> Any:
    if (kind in (bool, str) and type(value) is kind) or (get_origin(kind) is Literal and value in get_args(kind)):
        return value
    if kind is Path and isinstance(value, str | Path) and _may_be_given(limits, value):
        return Path(value)
    if kind in (int, float):
        number = _number(kind, value)
        if (limits.min is None or number >= limits.min) and (limits.max is None or number <= limits.max):
            return number
    raise DoubtfulError


def _may_be_given(limits: Any, path: str | Path) -> bool:
    """Whether an option asks of a path only that it can be read if it is there, which holds for this one."""
    asks = limits.exists or limits.resolve_path or limits.allow_dash or limits.writable or limits.path_type
    is_sound = os.access(path, os.R_OK) or not Path(path).exists()
    return is_sound and not asks and limits.file_okay and limits.dir_okay


def _number(kind: type[int] | type[float], value: Any) -> int | float:
    if isinstance(value, str) and re.fullmatch(_WRITTEN[kind], value):
        return kind(value)
    if type(value) is kind and math.isfinite(value):
        return kind(value)
    raise DoubtfulError


_WRITTEN = {int: r"-?[0-9]{1,15}", float: r"-?[0-9]{1,15}(\.[0-9]{1,15})?(e-?[0-9]{1,2})?"}
