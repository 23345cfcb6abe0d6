"""The plan of a fit: a config, the reason for each of its options, and how the time is split."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml

from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.config.yaml_text import parse_yaml
from panoptic_blend.files import read_bytes, replacing
from panoptic_blend.fit.rules import Choice
from panoptic_blend.structures import PanopticBlendError

YAML, MARKDOWN, RECORD = "plan.yaml", "plan.md", "plan.json"


@dataclass(frozen=True)
class TimeSplit:
    """The seconds that a fit is expected to take: up to the plan, for training and evaluations, and after them."""

    planning: float
    training: float
    evaluating: float
    after: float

    @property
    def total(self) -> float:
        return self.planning + self.training + self.evaluating + self.after


@dataclass(frozen=True)
class Plan:
    """How a model is fitted.

    ``head`` are lines about data, machine and start. ``judged`` is the number of validation pictures on which models
    are compared, evenly chosen; None for all.
    """

    choices: tuple[Choice, ...]
    head: tuple[str, ...]
    time: TimeSplit
    step_seconds: float
    judged: int | None = None

    @property
    def options(self) -> dict[str, Any]:
        """The options of the plan, as the nested tables of a config."""
        return nested({choice.option: choice.value for choice in self.choices})

    def write(self, folder: Path, records: Path) -> None:
        """Write ``plan.yaml``, a config, and ``plan.md``, a page to read; and into ``records`` what `read` reads."""
        head = f"# panoptic-blend train {folder / YAML}\n#\n# Why each option has its value: {MARKDOWN}\n"
        text = yaml.safe_dump(self.options, sort_keys=False, default_flow_style=None, allow_unicode=True, width=120)
        contents = {
            folder / YAML: head + text,
            folder / MARKDOWN: self.page(),
            records / RECORD: json.dumps(asdict(self), indent=1) + "\n",
        }
        for path, content in contents.items():
            with replacing(path) as temporary:
                temporary.write_text(content, encoding="utf-8")

    @classmethod
    def read(cls, records: Path) -> Plan | None:
        """The plan whose record is in a folder, if there is one."""
        path = records / RECORD
        if not path.is_file():
            return None
        record = parse_yaml(read_bytes(path).decode("utf-8", "replace"), str(path))
        try:
            choices = tuple(Choice(*choice) for choice in record["choices"])
            time, head = TimeSplit(**record["time"]), tuple(record["head"])
            return cls(choices, head, time, float(record["step_seconds"]), record["judged"])
        except (KeyError, TypeError, ValueError):
            raise PanopticBlendError(f"{path}: is no plan; remove it, and a new one is made") from None

    def page(self) -> str:
        """The plan as Markdown: data, machine and time, then a table of options with their reasons."""
        rows = [f"| `{option}` | {_cell(value)} | {reason} |" for option, value, reason in map(_escaped, self.choices)]
        lines = [f"* {line}" for line in (*self.head, self.time_line())]
        table = ["| option | value | why |", "|---|---|---|", *rows]
        return "\n".join(["# Plan", "", *lines, "", *table, ""])

    def time_line(self) -> str:
        """One line that says what takes how long."""
        time = self.time
        parts = {"plan": time.planning, "training": time.training, "evaluations on the way": time.evaluating}
        parts["tuning, evaluation and report"] = time.after
        listed = ", ".join(f"{name} {in_words(seconds)}" for name, seconds in parts.items() if round(seconds))
        return f"time: {in_words(time.total)} in all: {listed}"


def read_config(folder: Path) -> Config:
    """The config ``plan.yaml`` in a folder, with whatever a person has changed in it."""
    return load_config(folder / YAML)


def nested(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options by their full names, such as ``train.lr``, as nested tables."""
    tables: dict[str, Any] = {}
    for name, value in options.items():
        *sections, last = name.split(".")
        table = tables
        for section in sections:
            table = table.setdefault(section, {})
        table[last] = value
    return tables


def flat(options: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The inverse of `nested`."""
    found: dict[str, Any] = {}
    for name, value in options.items():
        found |= flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else {prefix + name: value}
    return found


def in_words(seconds: float) -> str:
    """A time such as ``45 s``, ``12 min 30 s`` or ``2:05:00``."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 3600:
        return f"{seconds // 60:.0f} min {seconds % 60:.0f} s"
    return str(timedelta(seconds=round(seconds)))


def _cell(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False).replace("|", "\\|")


def _escaped(choice: Choice) -> Choice:
    return choice._replace(reason=" ".join(choice.reason.split()).replace("|", "\\|"))
