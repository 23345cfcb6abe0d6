"""The config of an experiment, read from YAML files and ``key=value`` overrides.

A YAML file may name another as its ``base:`` (relative to itself) and then states only the options that differ.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from functools import cache
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any

from pydantic import BaseModel, Field, PrivateAttr, ValidationError, model_validator

from panoptic_blend.config.model_options import Model
from panoptic_blend.config.option_types import Options
from panoptic_blend.config.options import Data, Test, Train
from panoptic_blend.config.yaml_files import apply_overrides, find_config, read_options
from panoptic_blend.files import printable
from panoptic_blend.structures import PanopticBlendError


class Config(Options):
    """All options of an experiment."""

    model: Model = Field(default_factory=Model)
    """The network and the fusion of its predictions."""
    data: Data = Field(default_factory=Data)
    """The data set, and how training images are loaded."""
    train: Train = Field(default_factory=Train)
    """The training schedule."""
    test: Test = Field(default_factory=Test)
    """The image size in inference."""
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Seed of every random number."""
    _notes: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("not a table of options")
        return value

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each automatic change of options: a schedule rescaled to another batch size."""
        return self._notes

    def changed(self, overrides: Iterable[str]) -> Config:
        """A copy with ``key=value`` overrides, such as ``test.short_side=512``."""
        items, notes = list(overrides), list(self._notes)
        if not items:
            return self
        return _with_notes(
            parse_config(apply_overrides(self.model_dump(), items, _schedule(), notes), " ".join(items)), notes
        )


@cache
def _schedule() -> Mapping[str, Any]:
    """Defaults of the training options."""
    return Train().model_dump()


def load_config(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a config by name (``panoptic/blendmask_r50_3x``) or path, with ``key=value`` overrides.

    Raises:
        PanopticBlendError: no such config, an unknown option, or an invalid value.
    """
    notes: list[str] = []
    options = apply_overrides(
        read_options(find_config(str(name_or_path)), _schedule(), notes), overrides, _schedule(), notes
    )
    return _with_notes(parse_config(options, str(name_or_path)), notes)


def _with_notes(config: Config, notes: Iterable[str]) -> Config:
    config._notes = tuple(notes)
    return config


def parse_config(options: Mapping[str, Any], source: str) -> Config:
    """Validate options; errors start with ``source``, their origin."""
    try:
        return Config.model_validate(options)
    except ValidationError as error:
        raise PanopticBlendError(printable(f"{source}: {_explain(error)}", 1000)) from None


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    parts = [str(part) for part in first["loc"] if part not in ("bool", "str")]  # of an option with two types
    key, value = ".".join(parts), first["input"]
    if first["type"] == "extra_forbidden":
        return _explain_unknown(parts, key, value)
    if first["type"] == "value_error":  # raised by a validator of ours; its message is complete
        return f"`{key}`: {first['ctx']['error']}" if key else str(first["ctx"]["error"])
    if first["type"] == "string_type" and isinstance(value, (bool, int, float)):
        text = {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
        return (
            f'option `{key}` is {value!r}, as YAML reads it; write it in quotes: {parts[-1]}: "{text}" in a file, '
            f"'{key}=\"{text}\"' on the command line"
        )
    return f"option `{key}` is {_SHORT.repr(value)}: {first['msg'][0].lower()}{first['msg'][1:]}"


_SHORT = Repr()
"""How messages show values, which may be of any size."""
_SHORT.maxlevel, _SHORT.maxstring = 2, 80


def _explain_unknown(parts: list[str], key: str, value: object) -> str:
    if "." in parts[-1]:  # an override written in a file
        [close] = difflib.get_close_matches(key, _keys(Config), n=1, cutoff=0)
        shown = _SHORT.repr(value) if isinstance(value, (int, float, str)) else "..."
        nested = "".join(f"{part}: {{" for part in close.split(".")[:-1]) + f"{close.rpartition('.')[2]}: {shown}"
        return (
            f"unknown option `{key}`; options of a file are nested: did you mean `{nested + '}' * close.count('.')}`?"
        )
    names = _options_of(parts[:-1])
    close_names = difflib.get_close_matches(parts[-1], names, n=1, cutoff=0.5)
    return f"unknown option `{key}`; " + (
        f"did you mean `{close_names[0]}`?" if close_names else f"known are {', '.join(names)}"
    )


def _keys(options: type[BaseModel], prefix: str = "") -> list[str]:
    """The full names of all options, such as ``model.fcos.nms``."""
    found = []
    for name, field in options.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            found += _keys(kind, f"{prefix}{name}.")
        else:
            found.append(prefix + name)
    return found


def _options_of(section: list[str]) -> list[str]:
    """The names in a section, which exists, because only its keys are unknown."""
    start = "".join(f"{part}." for part in section)
    return list(dict.fromkeys(key[len(start) :].partition(".")[0] for key in _keys(Config) if key.startswith(start)))
