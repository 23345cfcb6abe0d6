"""Weights of others to checkpoints of ours, which know their config and categories."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.checkpoints.architecture import Architecture, architecture_of
from panoptic_blend.checkpoints.fitting import Shapes, is_backbone, shapes_of
from panoptic_blend.checkpoints.inspection import match_configs, with_classes
from panoptic_blend.checkpoints.io import is_checkpoint, load_weights, save_checkpoint
from panoptic_blend.checkpoints.official import adapt
from panoptic_blend.checkpoints.reading import read_weights
from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.files import read_json
from panoptic_blend.formats.categories import Categories, default_categories
from panoptic_blend.models.build import build_model
from panoptic_blend.structures import PanopticBlendError


@dataclass(frozen=True)
class Recognised:
    """What weights of others are for."""

    config: Config
    names: tuple[str, ...]
    """Names of the configs they fit, that of ``config`` first."""
    categories: Categories


def recognise(source: Path, config: str | None = None, categories: Path | None = None) -> Recognised:
    """What weights of any kind that `load_weights` knows are for, when they do not say it themselves.

    Args:
        config: the config they are for, by name or path; else the best that comes with the library is taken:
            no ablation, then the longest schedule.
        categories: a COCO panoptic JSON with the classes they know; else COCO's where the numbers are COCO's, and
            numbered ones elsewhere.

    Raises:
        PanopticBlendError: the weights are broken, a backbone's alone, or fit no config.
    """
    file = read_weights(source)
    shapes = shapes_of(adapt(file.state, file.author, str(source)))
    architecture = architecture_of(shapes)
    if architecture.task == "unknown":
        raise PanopticBlendError(f"{source}: its names are of no model known here ({', '.join(list(shapes)[:3])}, ...)")
    if is_backbone(shapes):
        raise PanopticBlendError(f"{source}: holds a backbone alone; train from it with --weights {source}")
    known = _categories(categories, architecture)
    names, options = _config(source, config, shapes, architecture)
    return Recognised(options.changed([f"model.num_stuff={len(known.stuff_ids)}"]), tuple(names), known)


def import_weights(source: Path, out: Path, config: str | None = None, categories: Path | None = None) -> Recognised:
    """Write weights of others as a checkpoint of ours, atomically; arguments as in `recognise`.

    Raises:
        PanopticBlendError: ``out`` exists, or the weights cannot be recognised or are ours already.
    """
    if out.suffix != ".safetensors":
        raise PanopticBlendError(f"{out}: checkpoints are safetensors; name it {out.with_suffix('.safetensors').name}")
    if os.path.lexists(out):
        raise PanopticBlendError(f"{out}: exists already; choose another name or remove it")
    if is_checkpoint(source):
        raise PanopticBlendError(f"{source}: is one of ours already, with config and categories; use it as it is")
    found = recognise(source, config, categories)
    model = build_model(found.config)
    load_weights(model, source)
    save_checkpoint(out, model.state_dict(), found.config, found.categories)
    return found


def _config(source: Path, name: str | None, shapes: Shapes, architecture: Architecture) -> tuple[list[str], Config]:
    """Names of the configs that weights fit, the best first, and the best one."""
    if name is not None:
        return [name], with_classes(load_config(name), architecture)
    matches = match_configs(shapes)
    fitting = [match for match in matches if not match.difference]
    if not fitting:
        nearest = f"the nearest is {matches[0].name}: {matches[0].difference}" if matches else "none has its classes"
        raise PanopticBlendError(f"{source}: fits no config that comes with the library, {nearest}; give --config")
    return [match.name for match in fitting], fitting[0].config


def _categories(path: Path | None, architecture: Architecture) -> Categories:
    things, stuff = architecture.num_things or 0, architecture.num_stuff
    if path is None:
        return default_categories(things, stuff)
    content = read_json(path)
    if not isinstance(content, dict) or not isinstance(content.get("categories"), list):
        raise PanopticBlendError(f"{path}: has no list of `categories`; give a COCO panoptic JSON")
    try:
        found = Categories(content["categories"])
    except PanopticBlendError as error:
        raise PanopticBlendError(f"{path}: {error}") from None
    found.require_learnable(str(path))
    counts = len(found.thing_ids), len(found.stuff_ids)
    if counts[0] != things or stuff not in (None, counts[1]):
        wanted = f"{things} things" + ("" if stuff is None else f" and {stuff} stuff")
        raise PanopticBlendError(
            f"{path}: has {counts[0]} things and {counts[1]} stuff, the weights {wanted}; give the JSON they are of"
        )
    return found
