"""Compare a state dict with a model by names and shapes, and explain where it does not fit."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from torch import Tensor, nn

from panoptic_blend.formats.categories import Categories
from panoptic_blend.models.class_rows import ClassRows

T = TypeVar("T")
Shapes = Mapping[str, tuple[int, ...]]

PIXEL_STATISTICS = {"pixel_mean", "pixel_std"}
"""Buffers that describe the input of the backbone and are not among its weights."""


@dataclass(frozen=True)
class Layout:
    """Names and shapes of a model's state dict, and which names are special."""

    shapes: Shapes
    of_classes: frozenset[str]
    """Names whose first size is a number of classes."""
    optional: frozenset[str]
    """Names that may be missing in the weights of a backbone alone."""


def layout_of(model: nn.Module) -> Layout:
    """The layout of a model.

    Its modules declare special layers by name in two attributes: ``class_layers`` (see `FCOSHead`) and
    ``optional_layers`` (see `Backbone`).
    """
    shapes = shapes_of(model.state_dict())
    return Layout(shapes, _in_layers(model, "class_layers", shapes), _in_layers(model, "optional_layers", shapes))


def _in_layers(model: nn.Module, attribute: str, names: Iterable[str]) -> frozenset[str]:
    """The names that belong to a layer that its module lists under ``attribute``."""
    named = [(name, layer) for name, module in model.named_modules() for layer in getattr(module, attribute, ())]
    prefixes = tuple(f"{name}.{layer}.".removeprefix(".") for name, layer in named)
    return frozenset(name for name in names if name.startswith(prefixes))


def shapes_of(state: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of a state dict."""
    return {name: tuple(value.shape) for name, value in state.items()}


def is_backbone(names: Mapping[str, object]) -> bool:
    """Whether a state dict holds a backbone and nothing else."""
    return all(name.startswith("backbone.") or name in PIXEL_STATISTICS for name in names)


@dataclass(frozen=True)
class StateDifference:
    """The differences between a state dict and a model."""

    model: Layout
    missing: list[str]
    unknown: list[str]
    different: dict[str, tuple[tuple[int, ...], tuple[int, ...]]]
    """The shapes in the state dict and in the model, by name."""

    @property
    def of_classes(self) -> list[str]:
        """The names whose shapes differ only in a number of classes."""
        return [n for n, (a, b) in self.different.items() if n in self.model.of_classes and a and a[1:] == b[1:]]

    def problems(self) -> dict[str, str]:
        """A sentence for every name that differs: shapes first, then missing, then unknown names."""
        shapes = {
            name: f"{name} has the shape {_written(theirs)} in the weights and {_written(ours)} in the model"
            for name, (theirs, ours) in self.different.items()
        }
        missing = {name: f"{name} is missing" for name in self.missing}
        return shapes | missing | {name: f"{name} is unknown" for name in self.unknown}

    @property
    def is_folded(self) -> bool:
        """Whether the state dict is that of a model whose norms were folded: biases stand where norms were."""
        norms = [name for name in self.missing if name.endswith(".running_var")]
        biases = [name for name in self.unknown if name.endswith(".bias")]
        return 0 < len(biases) == len(self.unknown) <= len(norms)


def compare(state: Shapes, model: Layout) -> StateDifference:
    """Compare a state dict with a model.

    A backbone alone may lack the other parts and its optional layers; counters of batch norms are always optional.
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


def remedy(comparison: StateDifference, state: Shapes) -> str:
    """Advice for weights that do not fit, for the end of a message; what it advises works."""
    has_semantic = "semantic.predictor.bias" in comparison.model.shapes
    partly = ", or train from it with --partial"
    if not state.keys() & comparison.model.shapes.keys() - PIXEL_STATISTICS:
        return (
            f"it has none of the model's names (but {', '.join(list(state)[:2])}), so give the weights of such a model"
        )
    if obstacle(comparison, state):
        return "use the config that it was trained with; `panoptic-blend weights inspect` says what it holds"
    if len(comparison.problems()) == len(comparison.of_classes):
        return f"it knows other classes; set model.num_things and model.num_stuff to match{partly}"
    if any(name.startswith("semantic.") for name in comparison.unknown) and not has_semantic:
        return f"its semantic head has no place in an instance model; use a panoptic config{partly}"
    if any(name.startswith("semantic.") for name in comparison.missing):
        return f"it has no semantic head for a panoptic model; use an instance config{partly}"
    return f"use the config that it was trained with{partly}"


def obstacle(comparison: StateDifference, state: Shapes) -> str | None:
    """The reason why weights cannot be loaded even in part; None if they can.

    Heads may be missing, superfluous, or made for another number of classes. The backbone must be complete, and every
    tensor that has a counterpart must have its shape: other widths and depths mean another network.
    """
    for name, text in comparison.problems().items():
        is_spare = name in comparison.model.optional and name in comparison.missing
        if name in comparison.of_classes or is_spare:
            continue
        if name in comparison.different or name.startswith("backbone."):
            return text
    fits = (state.keys() & comparison.model.shapes.keys()) - comparison.different.keys() - PIXEL_STATISTICS
    has_weights = any(state[name] for name in fits)  # a tensor without axes is a counter or a switch
    return None if has_weights else "no tensor in it has a name and shape of the model's"


def with_classes_by_name(
    state: Mapping[str, Tensor], known: Categories, model: nn.Module, wanted: Categories
) -> tuple[dict[str, Tensor], set[str]]:
    """A state dict of ours for the classes of ``model``, whose layers that classify get rows by the names of classes.

    Rows of classes that are ``known`` to the state dict under the same name, as things or as stuff, and of no class,
    such as the background, come from it, all others from ``model``. A layer whose classes are all unknown is left out.

    Returns:
        The state dict, and the names of the classes that it knows.
    """
    own, adapted, names = model.state_dict(), dict(state), set[str]()
    for path, rows in _class_rows(model).items():
        theirs, ours = (_names(categories, rows.kind) for categories in (known, wanted))
        common = ours.keys() & theirs.keys()
        for name in own.keys() & state.keys():
            if not name.startswith(f"{path}.") or state[name].shape[1:] != own[name].shape[1:]:
                continue
            if not common:
                del adapted[name]
                continue
            adapted[name] = own[name].clone()
            adapted[name][rows.first] = state[name][rows.first]
            for shared in common:
                adapted[name][rows.of(ours[shared])] = state[name][rows.of(theirs[shared])]
            names |= common
    return adapted, names


def _class_rows(model: nn.Module) -> dict[str, ClassRows]:
    """The rows of the layers of a model that classify, by the name of the layer."""
    named = [(name, getattr(module, "class_layers", {})) for name, module in model.named_modules()]
    return {f"{name}.{layer}".removeprefix("."): rows for name, layers in named for layer, rows in layers.items()}


def _names(categories: Categories, kind: str) -> dict[str, int]:
    """The place of each name among the things or among the stuff."""
    ids = categories.thing_ids if kind == "things" else categories.stuff_ids
    return {categories.by_id[id].name: place for place, id in enumerate(ids)}


def layers(names: Iterable[str], others: Iterable[str] = ()) -> str:
    """Summarize names of tensors: the largest parts of the model that hold none of the ``others``, and their number."""
    names = sorted(names)
    divided = {part for name in others for part in _parts(name)}
    found = list(dict.fromkeys(next((x for x in _parts(name) if x not in divided), name) for name in names))
    listed = ", ".join(found[:_LISTED]) + (f" and {len(found) - _LISTED} more" if len(found) > _LISTED else "")
    return f"{listed} ({len(names)} tensor{'s' if len(names) > 1 else ''})"


_LISTED = 12


def _parts(name: str) -> list[str]:
    """The modules that a tensor belongs to, largest first."""
    pieces = name.split(".")
    return [".".join(pieces[:end]) for end in range(1, max(len(pieces), 2))]


def align_pyramid(state: Mapping[str, T], model: Shapes) -> dict[str, T]:
    """Renumber the levels of a pyramid for a model whose pyramid starts at another stage.

    Levels that are finer than the model's are renamed so that they match nothing.
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
    return " x ".join(map(str, shape)) or "()"
