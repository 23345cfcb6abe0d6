"""Inspect a file of weights: what it holds, and which configs it fits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from torch import Tensor

from panoptic_blend.checkpoints.architecture import Architecture, architecture_of
from panoptic_blend.checkpoints.fitting import (
    PIXEL_STATISTICS,
    Layout,
    Shapes,
    StateDifference,
    align_pyramid,
    compare,
    layout_of,
    shapes_of,
)
from panoptic_blend.checkpoints.official import adapt, source_of
from panoptic_blend.checkpoints.reading import WeightsFile, read_weights, stated_figure
from panoptic_blend.config.experiment import Config, load_config, parse_config
from panoptic_blend.config.model_options import Model
from panoptic_blend.config.yaml_files import config_names
from panoptic_blend.models.build import build_model
from panoptic_blend.models.inputs import dtype_of
from panoptic_blend.models.shapes_only import shapes_only
from panoptic_blend.structures import PanopticBlendError


@dataclass(frozen=True)
class Match:
    """A config of the library, with the number of classes of some weights, and how the weights differ from it."""

    name: str
    config: Config
    comparison: StateDifference

    @property
    def difference(self) -> str:
        """The first difference, and how many more there are; empty if the weights fit."""
        problems = list(self.comparison.problems().values())
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        return problems[0] + more if problems else ""


@dataclass(frozen=True)
class Inspection:
    """The result of inspecting a file of weights."""

    source: str
    """The kind of weights that its names belong to."""
    architecture: Architecture
    num_tensors: int
    num_parameters: int
    """Numbers that training changes; statistics do not count."""
    dtypes: tuple[str, ...]
    has_config: bool
    has_categories: bool
    pq: float | None
    """The PQ in its header."""
    fits: tuple[str, ...]
    """Configs that it fits, best first: no ablation, then the longest schedule."""
    nearest: dict[str, str]
    """Other configs that share most of its tensors, nearest first, with the first difference."""
    is_start: bool = False
    """Whether it is a detector of another kind, of which parts can be trained on here (`Source.is_start`)."""


def inspect_weights(path: Path) -> Inspection:
    """Inspect a file of weights of any kind that `load_weights` knows.

    Raises:
        PanopticBlendError: the file is broken or holds no weights.
    """
    file = read_weights(path)
    state = adapt(file.state, file.author, str(path))
    shapes = shapes_of(state)
    source = source_of(file.state)
    matches = match_configs(shapes, source.rules)
    near = [match for match in matches if 0 < len(match.comparison.problems()) < len(shapes) / 2]
    architecture = architecture_of(shapes, _backbone_in(file))
    parameters = [value for name, value in state.items() if _is_parameter(name, value)]
    return Inspection(
        source=source.name if architecture.is_known(shapes) else "unknown",
        architecture=architecture,
        num_tensors=len(file.state),
        num_parameters=sum(value.numel() for value in parameters),
        dtypes=tuple(sorted(set(map(dtype_of, parameters)))),
        has_config="config" in file.header,
        has_categories="categories" in file.header,
        pq=stated_figure(file.header, "pq"),
        fits=tuple(match.name for match in matches if not match.difference),
        nearest={match.name: match.difference for match in near[:3]},
        is_start=source.is_start,
    )


def match_configs(shapes: Shapes, rules: str | None = None) -> list[Match]:
    """Compare a state dict under our names with every config of the library; the best match comes first.

    With ``rules``, as a `Source` has them, configs of Mask R-CNN by other rules are left out.
    """
    return sorted(_matches(shapes, rules), key=_rank)


def with_classes(config: Config, architecture: Architecture) -> Config:
    """``config`` with the numbers of classes that weights show."""
    counts = {"num_things": architecture.num_things, "num_stuff": architecture.num_stuff}
    return config.changed([f"model.{name}={count}" for name, count in counts.items() if count is not None])


def _matches(shapes: Shapes, rules: str | None) -> Iterator[Match]:
    architecture = architecture_of(shapes)
    for name in config_names():
        try:
            config = with_classes(load_config(name), architecture)
        except PanopticBlendError:  # these numbers of classes are not allowed in it
            continue
        if config.model.instances == "mask_rcnn" and rules not in (None, config.model.mask_rcnn.rules):
            continue
        model = _layout(config.model)
        yield Match(name, config, compare(align_pyramid(shapes, model.shapes), model))


@cache
def _layout(options: Model) -> Layout:
    """The layout of a model, which is built without allocating memory."""
    with shapes_only():
        return layout_of(build_model(Config(model=options)))


def _rank(match: Match) -> tuple[int, bool, int, str]:
    is_aside = match.name.startswith(("ablation/", "demo/"))
    return len(match.comparison.problems()), is_aside, -match.config.train.iterations, match.name


def _is_parameter(name: str, value: Tensor) -> bool:
    """Whether training changes a tensor, unlike statistics, counters and switches."""
    is_statistic = name in PIXEL_STATISTICS or name.endswith(("running_mean", "running_var"))
    return value.is_floating_point() and not is_statistic


def _backbone_in(file: WeightsFile) -> str | None:
    """The name of the timm network in a checkpoint's header; names and shapes of weights do not show it."""
    try:
        return parse_config(json.loads(file.header["config"]), "config").model.backbone.name
    except (KeyError, ValueError, RecursionError, PanopticBlendError):
        return None
