"""The config of an experiment, read from YAML files and ``key=value`` overrides.

A YAML file may name another as its ``base:`` (relative to itself) and then states only the options that differ.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, PrivateAttr, ValidationError, model_validator

from panoptic_blend.config.options import Data, Model, Options, Test, Train
from panoptic_blend.config.yaml_files import apply_overrides, find_config, read_options
from panoptic_blend.structures import PanopticBlendError


class Config(Options):
    """All options of an experiment."""

    model: Model = Model()
    """The network and the fusion of its predictions."""
    data: Data = Data()
    """The data set, and how training images are loaded."""
    train: Train = Train()
    """The training schedule."""
    test: Test = Test()
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
        return _with_notes(
            parse_config(apply_overrides(self.model_dump(), items, _SCHEDULE, notes), " ".join(items)), notes
        )


_SCHEDULE = Train().model_dump()
"""Defaults of the training options."""


def load_config(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Read a config by name (``panoptic/blendmask_r50_3x``) or path, with ``key=value`` overrides.

    Raises:
        PanopticBlendError: no such config, an unknown option, or an invalid value.
    """
    notes: list[str] = []
    options = apply_overrides(
        read_options(find_config(str(name_or_path)), _SCHEDULE, notes), overrides, _SCHEDULE, notes
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
        raise PanopticBlendError(f"{source}: {_explain(error)}") from None


def _explain(error: ValidationError) -> str:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if part not in ("bool", "str"))  # of an option with two types
    if first["type"] == "extra_forbidden":
        section, _, name = key.rpartition(".")
        close = difflib.get_close_matches(name, _options_of(section), n=1, cutoff=0.5)
        known = f"did you mean `{close[0]}`?" if close else f"known are {', '.join(_options_of(section))}"
        return f"unknown option `{key}`; {known}"
    if first["type"] == "value_error":  # raised by a validator of ours; its message is complete
        return f"`{key}`: {first['ctx']['error']}" if key else str(first["ctx"]["error"])
    return f"option `{key}` is {first['input']!r}: {first['msg'][0].lower()}{first['msg'][1:]}"


def _options_of(section: str) -> list[str]:
    options: type[BaseModel] = Config
    for part in filter(None, section.split(".")):
        annotation = options.model_fields[part].annotation
        assert isinstance(annotation, type)
        options = annotation
    return list(options.model_fields)
