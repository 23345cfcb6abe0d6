"""Whether a state dict fits a model, by names and shapes, and what to say where it does not."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

T = TypeVar("T")
Shapes = Mapping[str, tuple[int, ...]]

PIXEL_STATISTICS = {"pixel_mean", "pixel_std"}
"""Buffers that say how to run the backbone, and are no weights of it."""


@dataclass(frozen=True)
class Layout:
    """Names and shapes of what a model holds, and which of them are special."""

    shapes: Shapes
    of_classes: frozenset[str]
    """Those whose first size is a number of classes."""
    optional: frozenset[str]
    """Those that weights of a backbone alone may lack."""


def layout_of(model: nn.Module) -> Layout:
    """The layout of a model.

    Its modules tell what is special by two attributes, names of layers in them: ``class_layers`` (see `FCOSHead`)
    and ``optional_layers`` (see `Backbone`).
    """
    shapes = shapes_of(model.state_dict())
    return Layout(shapes, _in_layers(model, "class_layers", shapes), _in_layers(model, "optional_layers", shapes))


def _in_layers(model: nn.Module, attribute: str, names: Iterable[str]) -> frozenset[str]:
    """The names that lie in a layer which its module lists under ``attribute``."""
    named = [(name, layer) for name, module in model.named_modules() for layer in getattr(module, attribute, ())]
    prefixes = tuple(f"{name}.{layer}.".removeprefix(".") for name, layer in named)
    return frozenset(name for name in names if name.startswith(prefixes))


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a state dict."""
    return {name: tuple(value.shape) for name, value in state.items()}


def is_backbone(names: Mapping[str, object]) -> bool:
    """Whether a state dict is a backbone's alone."""
    return all(name.startswith("backbone.") or name in PIXEL_STATISTICS for name in names)


@dataclass(frozen=True)
class StateDifference:
    """Where a state dict differs from a model's."""

    model: Layout
    missing: list[str]
    unknown: list[str]
    different: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    """Shapes in the state dict and in the model."""

    @property
    def of_classes(self) -> list[str]:
        """The different layers that differ in a number of classes only."""
        return [n for n, (a, b) in self.different.items() if n in self.model.of_classes and a and a[1:] == b[1:]]

    def problems(self) -> dict[str, str]:
        """What is wrong, by name: first other shapes, which say most, each kind in alphabetical order."""
        shapes = {
            name: f"{name} is {_written(theirs)} in it and {_written(ours)} in the model"
            for name, (theirs, ours) in self.different.items()
        }
        missing = {name: f"{name} is missing" for name in self.missing}
        return shapes | missing | {name: f"{name} is unknown" for name in self.unknown}


def compare(state: Shapes, model: Layout) -> StateDifference:
    """A state dict against a model's.

    A backbone alone need not have the other parts, nor what is optional; counters of batch norm are needed nowhere.
    """
    own, is_alone = model.shapes, is_backbone(state)
    wanted = {
        name
        for name in own
        if not name.endswith("num_batches_tracked")
        and (not is_alone or (name.startswith("backbone.") and name not in model.optional))
    }
    return StateDifference(
        model,
        missing=sorted(wanted - state.keys()),
        unknown=sorted(n for n in state.keys() - own.keys() if not n.endswith("num_batches_tracked")),
        different={n: (state[n], own[n]) for n in sorted(state.keys() & own.keys()) if state[n] != own[n]},
    )


def remedy(comparison: StateDifference) -> str:
    """What to do about weights that do not fit."""
    has_semantic = "semantic.predictor.bias" in comparison.model.shapes
    if len(comparison.problems()) == len(comparison.of_classes):
        return (
            "it knows other classes; set model.num_things and model.num_stuff to its, or train from it with --partial"
        )
    if any(name.startswith("semantic.") for name in comparison.unknown) and not has_semantic:
        return "its semantic.* has no place in a model of instances; use a panoptic config, or train with --partial"
    if any(name.startswith("semantic.") for name in comparison.missing):
        return "it has no semantic head for a panoptic model; use an instance config, or train with --partial"
    return "use the config it is for, which `panoptic-blend weights inspect` names"


def obstacle(comparison: StateDifference, state: Shapes) -> str | None:
    """Why weights cannot be loaded even in part; None if they can.

    Heads may be missing, left over, or of another number of classes. The backbone must be whole, and what has a
    place must have its shape: other widths and depths are another network, not another head.
    """
    for name, text in comparison.problems().items():
        is_spare = name in comparison.model.optional and name in comparison.missing
        if name in comparison.of_classes or is_spare:
            continue
        if name in comparison.different or name.startswith("backbone."):
            return text
    fits = (state.keys() & comparison.model.shapes.keys()) - comparison.different.keys() - PIXEL_STATISTICS
    has_weights = any(state[name] for name in fits)  # a number without axes is a counter or a switch
    return None if has_weights else "no tensor in it has a name and shape of the model's"


def without_classes(state: Mapping[str, Tensor], model: nn.Module) -> dict[str, Tensor]:
    """A state dict of ours less the layers of ``model`` that tell classes apart."""
    of_classes = layout_of(model).of_classes
    return {name: value for name, value in state.items() if name not in of_classes}


def layers(names: list[str]) -> str:
    """A few words for tensors: their layers, and how many there are."""
    found = list(dict.fromkeys(re.sub(r"(\.\d+)*\.[a-z_]+$", "", name) for name in names))
    listed = ", ".join(found[:5]) + (f" and {len(found) - 5} more layers" if len(found) > 5 else "")
    return f"{listed} ({len(names)} tensor{'s' if len(names) > 1 else ''})"


def align_pyramid(state: Mapping[str, T], model: Shapes) -> dict[str, T]:
    """Number the levels of a pyramid as the model does, whose pyramid may start at another stage.

    Levels that are finer than the model's get names of no place.
    """
    theirs, ours = ({int(m[2]) for name in names if (m := _LEVEL.fullmatch(name))} for names in (state, model))
    shift = len(ours) - len(theirs) if theirs and ours else 0
    return {_moved(name, shift): value for name, value in state.items()}


_LEVEL = re.compile(r"(fpn\.pyramid\.(?:inner|layer)_blocks\.)(\d{1,4})(\..*)")


def _moved(name: str, shift: int) -> str:
    if not shift or not (match := _LEVEL.fullmatch(name)):
        return name
    level = int(match[2]) + shift
    return f"{match[1]}{level if level >= 0 else f'finer.{match[2]}'}{match[3]}"


def _written(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "one number"
