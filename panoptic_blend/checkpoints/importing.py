"""Turn foreign weights into checkpoints of ours, which know their config and categories."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from panoptic_blend.checkpoints.architecture import Architecture, architecture_of
from panoptic_blend.checkpoints.fitting import Shapes, is_backbone, shapes_of
from panoptic_blend.checkpoints.inspection import match_configs, with_classes
from panoptic_blend.checkpoints.io import is_checkpoint, load_weights, require_new_checkpoint, save_checkpoint
from panoptic_blend.checkpoints.official import adapt, source_of
from panoptic_blend.checkpoints.reading import read_weights
from panoptic_blend.config.experiment import Config, load_config
from panoptic_blend.download.known_weights import origin_of
from panoptic_blend.download.weights_sources import model_source
from panoptic_blend.formats.categories import Categories, default_categories
from panoptic_blend.formats.json_files import read_json
from panoptic_blend.models.build import build_model
from panoptic_blend.structures import PanopticBlendError


@dataclass(frozen=True)
class RecognizedWeights:
    """The config and categories that foreign weights are for."""

    config: Config
    names: tuple[str, ...]
    """Names of the configs that they fit, beginning with the name of ``config``."""
    categories: Categories


def recognize(source: Path, config: str | None = None, categories: Path | None = None) -> RecognizedWeights:
    """Find config and categories for weights of any kind that `load_weights` knows.

    Args:
        config: the config they are for, by name or path; by default the best match that comes with the library:
            no ablation, then the longest schedule.
        categories: a COCO panoptic JSON with the classes they know; by default the classes of COCO if their numbers
            match, else numbered ones.

    Raises:
        PanopticBlendError: the weights are broken, hold a backbone alone, or fit no config.
    """
    file = read_weights(source)
    shapes = shapes_of(adapt(file.state, file.author, str(source)))
    architecture = architecture_of(shapes)
    if not architecture.is_known(shapes):
        listed = ", ".join([name for name in shapes if not is_backbone({name: ()})][:3])
        raise PanopticBlendError(f"{source}: its names belong to no known model ({listed}, ...); try another file")
    kind = source_of(file.state)
    if kind.is_start:
        raise PanopticBlendError(
            f"{source}: a {kind.name}, of which only parts fit; train from it with --weights {source} --partial"
        )
    if is_backbone(shapes):
        raise PanopticBlendError(f"{source}: holds a backbone alone; train from it with --weights {source}")
    known = _categories(categories, architecture)
    names, options = _config(source, config, shapes, architecture, kind.rules)
    options = options.changed([f"model.num_stuff={len(known.stuff_ids)}"])
    return RecognizedWeights(options, tuple(names), known)


def import_weights(
    source: str | Path, out: Path, config: str | None = None, categories: Path | None = None
) -> RecognizedWeights:
    """Write foreign weights, of a file or known by name, as a checkpoint of ours; other arguments as in `recognize`.

    Raises:
        PanopticBlendError: ``out`` exists, or the weights cannot be recognized or are a checkpoint of ours already.
    """
    require_new_checkpoint(out)
    path, known_config = model_source(source)
    if is_checkpoint(path):
        raise PanopticBlendError(f"{source}: is a checkpoint of ours, with config and categories; use it directly")
    found = recognize(path, config or known_config, categories)
    model = build_model(found.config)
    load_weights(model, path)
    origin = origin_of(source)  # whose terms hold for the checkpoint, too
    start = [f"train.weights={origin.name}"] if origin else []
    save_checkpoint(out, model.state_dict(), found.config.changed(start), found.categories)
    return found


def _config(
    source: Path, name: str | None, shapes: Shapes, architecture: Architecture, rules: str | None
) -> tuple[list[str], Config]:
    """The names of the configs that weights fit, best first, and the best config."""
    if name is not None:
        return [name], with_classes(load_config(name), architecture)
    matches = match_configs(shapes, rules)
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
            f"{path}: has {counts[0]} things and {counts[1]} stuff, the weights {wanted}; "
            "give the JSON that they were trained on"
        )
    return found
