"""The experiments of `evaluation.ablations`, from ``ablations.yaml``: which configs are compared, and how large."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from evaluation.fit_variants import digest
from evaluation.paper_tables import PaperTable, paper_tables
from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.fit.rules import late_steps
from panoptic_blend.structures import PanopticBlendError

_FILE = Path(__file__).with_name("ablations.yaml")
PAPER = tuple("1234567")
"""The tables of the paper's ablations, which ``all`` runs."""


@dataclass(frozen=True)
class Length:
    """Steps of a training, and of the detector from whose weights it starts; 0 for random weights."""

    iterations: int
    start: int = 0


@dataclass(frozen=True)
class Scale:
    """How configs are made small: the network's short side, and overrides; ``halved`` options are half the config's.

    The long side is ``longest`` times the short one; ``other_sides`` are those of the reference's curve. ``lengths``
    are the lengths of trainings by the figure of a table.
    """

    side: int
    other_sides: tuple[int, ...]
    longest: float
    lengths: Mapping[str, Length]
    halved: tuple[str, ...]
    overrides: tuple[str, ...]

    def enlarged(self, side: int) -> Scale:
        """The same for another short side."""
        others = tuple(round(other * side / self.side / 32) * 32 for other in self.other_sides)
        return replace(self, side=side, other_sides=others)

    def with_length(self, length: Length) -> Scale:
        """The same for other trainings."""
        return replace(self, lengths=dict.fromkeys(self.lengths, length))


@dataclass(frozen=True)
class Trial:
    """A model to train: its name in results, its config, how it is changed, its short side, and its training."""

    name: str
    config: str
    overrides: tuple[str, ...]
    side: int
    length: Length


@dataclass(frozen=True)
class Experiment:
    """A table: its trials by the names of its rows, of which ``reference`` is subtracted from the others.

    ``paper`` is the table of the paper, whose rows have the same configs. ``figure`` is what is compared, and
    ``orders`` are pairs of rows, the better first, as the paper states them.
    """

    number: str
    title: str
    figure: str
    reference: str
    trials: Mapping[str, Trial]
    orders: tuple[tuple[str, str], ...]
    same_training: bool
    paper: PaperTable | None


def scale(data: str) -> Scale:
    """The scale of a data set."""
    found = _content()["scales"][data]
    return Scale(
        side=found["side"],
        other_sides=tuple(found["other_sides"]),
        longest=found["longest"],
        lengths={figure: Length(*steps) for figure, steps in found["lengths"].items()},
        halved=tuple(found["halved"]),
        overrides=tuple(found["set"]),
    )


def table_names() -> list[str]:
    """All tables, in their order."""
    return list(_content()["tables"])


def experiments(names: Iterable[str], size: Scale, own: Iterable[str] = ()) -> list[Experiment]:
    """The tables of these names with trials of a scale, whose configs all get the overrides ``own``.

    Rows of the same config, also of other tables, are one trial, whose name is the first one's.
    """
    known: dict[str, str] = {}
    found = []
    for number, table in _content()["tables"].items():
        trials, figure = {}, table.get("figure", "AP")
        for row, what in table["rows"].items():
            config, changes = (table["base"], what) if "base" in table else (what, [])
            trial = Trial(f"{number}/{row}", config, (*changes, *own), size.side, size.lengths[figure])
            name = known.setdefault(digest(small_config(trial, size)), trial.name)
            trials[row] = replace(trial, name=name)
        paper = paper_tables().get(table.get("paper", number))
        found.append(
            Experiment(
                number=number,
                title=table.get("title") or (paper.title if paper else number),
                figure=figure,
                reference=table["reference"],
                trials=trials,
                orders=tuple((better, worse) for better, worse in table.get("orders", ())),
                same_training=table.get("same_training", False),
                paper=paper,
            )
        )
    wanted = list(names)
    if unknown := [name for name in wanted if name not in table_names()]:
        raise PanopticBlendError(f"{unknown[0]!r} is no table; take all, report, or {', '.join(table_names())}")
    return [experiment for experiment in found if experiment.number in wanted]


def small_overrides(trial: Trial, size: Scale) -> tuple[str, ...]:
    """All overrides of a trial's config but the data set, the start and the seed."""
    long_side, steps = round(size.longest * trial.side), trial.length.iterations
    plain = load_config(trial.config)
    return (
        *size.overrides,
        *(f"{name}={_option(plain, name) // 2}" for name in size.halved),
        *(f"data.short_sides=[{trial.side}]", f"data.long_side={long_side}"),
        *(f"test.short_side={trial.side}", f"test.long_side={long_side}"),
        *(f"train.iterations={steps}", f"train.steps={late_steps(steps)}"),
        f"train.warmup_iterations={round(steps / 18)}",
        *trial.overrides,
    )


def small_config(trial: Trial, size: Scale) -> Config:
    """The config of a trial, without data set and start."""
    return load_config(trial.config, small_overrides(trial, size))


def _option(config: Config, name: str) -> int:
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return int(value)


@cache
def _content() -> dict[str, Any]:
    return dict(yaml.safe_load(_FILE.read_text(encoding="utf-8")))
