"""A whole experiment, read from YAML files and ``key=value`` overrides.

A YAML file may name another as its ``base:`` (relative to itself) and states only what differs.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, PrivateAttr, ValidationError, model_validator

from panoptic_blend.config.options import Data, Model, Options, Test, Train
from panoptic_blend.config.yaml_files import locate, overridden, read_options
from panoptic_blend.structures import PanopticBlendError


class Config(Options):
    """A whole experiment."""

    model: Model = Model()
    data: Data = Data()
    train: Train = Train()
    test: Test = Test()
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    """Everything random follows from it."""
    _notes: tuple[str, ...] = PrivateAttr(())

    @model_validator(mode="before")
    @classmethod
    def _is_mapping(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            raise ValueError("not a table of options")
        return value

    @property
    def notes(self) -> tuple[str, ...]:
        """What was changed without being asked for: a schedule that follows its batch size."""
        return self._notes

    def changed(self, overrides: Iterable[str]) -> Config:
        """A copy with ``key=value`` changes, such as ``test.short_side=512``."""
        items, notes = list(overrides), list(self._notes)
        return _noted(parse_config(overridden(self.model_dump(), items, _SCHEDULE, notes), " ".join(items)), notes)


_SCHEDULE = Train().model_dump()
"""What a config says of training that does not say otherwise."""


def load_config(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a config by name (``panoptic/blendmask_r50_3x``) or path, with ``key=value`` overrides.

    Raises:
        PanopticBlendError: no such config, an unknown option, or a value of the wrong kind.
    """
    notes: list[str] = []
    options = overridden(read_options(locate(str(name_or_path)), _SCHEDULE, notes), overrides, _SCHEDULE, notes)
    return _noted(parse_config(options, str(name_or_path)), notes)


def _noted(config: Config, notes: Iterable[str]) -> Config:
    config._notes = tuple(notes)
    return config


def parse_config(options: Mapping[str, Any], source: str) -> Config:
    """Check options that came from ``source`` (named in errors)."""
    try:
        return Config.model_validate(options)
    except ValidationError as error:
        raise PanopticBlendError(f"{source}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        section, _, name = key.rpartition(".")
        close = difflib.get_close_matches(name, _options_of(section), n=1, cutoff=0.5)
        known = f"did you mean `{close[0]}`?" if close else f"known are {', '.join(_options_of(section))}"
        return f"unknown option `{key}`; {known}"
    if first["type"] == "value_error":  # one of ours, which says what is wrong in its own words
        return f"`{key}`: {first['ctx']['error']}" if key else str(first["ctx"]["error"])
    return f"option `{key}` is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _options_of(section: str) -> list[str]:
    options: type[BaseModel] = Config
    for part in filter(None, section.split(".")):
        annotation = options.model_fields[part].annotation
        assert isinstance(annotation, type)
        options = annotation
    return list(options.model_fields)
