"""Checkpoints, and loading weights of any known kind into a model. Loading never runs code from a file."""

from __future__ import annotations

import json
import logging
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor, nn

from panoptic_blend.checkpoints.fitting import align_pyramid, compare, layout_of, obstacle, remedy, shapes_of
from panoptic_blend.checkpoints.official import Source, adapt, source_of
from panoptic_blend.checkpoints.pickles import reason
from panoptic_blend.checkpoints.reading import Figure, read_header, read_weights, stated_figure, weights_in
from panoptic_blend.config.experiment import Config, parse_config
from panoptic_blend.download.weights_cache import is_offline
from panoptic_blend.download.weights_sources import weights_path
from panoptic_blend.files import printable, replacing
from panoptic_blend.formats.categories import Categories
from panoptic_blend.models.backbones.protocol import Backbone
from panoptic_blend.models.build import build_model
from panoptic_blend.models.shapes_only import shapes_only
from panoptic_blend.structures import PanopticBlendError

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Checkpoint:
    """Weights with the config they were trained with and the categories they know."""

    state: dict[str, Tensor]
    config: Config
    categories: Categories


def require_new_checkpoint(path: Path) -> None:
    """Raise an error unless a checkpoint can be written to ``path`` without replacing anything."""
    if path.suffix != ".safetensors":
        raise PanopticBlendError(f"{path}: checkpoints are safetensors; name it {path.stem}.safetensors")
    if os.path.lexists(path):
        raise PanopticBlendError(f"{path}: already exists; choose another name or remove it")


def save_checkpoint(
    path: Path,
    state: Mapping[str, Tensor],
    config: Config,
    categories: Categories,
    figures: Mapping[Figure, float] | None = None,
) -> None:
    """Write a state dict as safetensors, atomically; the header holds config, categories and ``figures``."""
    metadata = {"config": config.model_dump_json(), "categories": json.dumps(categories.records())}
    metadata |= {name: repr(value) for name, value in (figures or {}).items()}
    content = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    with replacing(path, durable=True) as temporary:
        temporary.write_bytes(save(content, metadata))  # save_file would make it unreadable to other users


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one of our checkpoints; raises PanopticBlendError for any other file."""
    if not is_checkpoint(path):
        raise PanopticBlendError(f"{path}: holds weights without their config; name the config and pass it as weights")
    file = read_weights(path)
    return Checkpoint(file.state, *_described(path, file.header))


def read_categories(path: Path) -> Categories | None:
    """The categories in the header of one of our checkpoints; None for other weights."""
    return _described(path, read_header(path))[1] if is_checkpoint(path) else None


def _described(path: Path, header: Mapping[str, str]) -> tuple[Config, Categories]:
    try:
        return parse_config(json.loads(header["config"]), "config"), Categories(json.loads(header["categories"]))
    except (PanopticBlendError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise PanopticBlendError(
            f"{path}: its header cannot be read ({printable(str(error), 300)}); was it written by another version?"
        ) from None


def require_modest(path: Path, config: Config, state: Mapping[str, Tensor]) -> None:
    """Raise an error if the network of ``config`` is far larger than the weights ``state`` that come with it.

    The config in a file of a stranger may ask for any amount of memory; this costs none.
    """
    with shapes_only():
        wanted = sum(value.numel() for value in build_model(config).state_dict().values())
    found = sum(value.numel() for value in state.values())
    if wanted > 2 * found + _SPARE:
        raise PanopticBlendError(
            f"{path}: its config describes a network of {wanted:,} numbers, but it holds {found:,}; fetch it again"
        )


_SPARE = 10**7


def read_figure(path: Path, name: Figure) -> float:
    """A figure in the header of a checkpoint; -1 if there is none."""
    figure = stated_figure(read_header(path), name)
    return -1.0 if figure is None else figure


def is_checkpoint(path: Path) -> bool:
    """Whether a file of weights is one of ours, with config and categories in its header."""
    return {"config", "categories"} <= read_header(path).keys()


def load_weights(
    model: nn.Module,
    source: str | Path | Mapping[str, Tensor],
    partial: bool = False,
    name: str | None = None,
) -> list[str]:
    """Load weights into ``model``; their kind is recognized by their keys.

    Known kinds are ours, the official BlendMask, detectron2's Mask R-CNN and Panoptic-FPN, and ImageNet backbones of
    detectron2, caffe2 and torchvision. A backbone alone leaves the rest of the model unchanged, the offsets of
    deformable convolutions too.

    Args:
        source: a file, the name of known weights, the word ``imagenet`` for the weights that
            `Backbone.pretrained_weights` gives, or a state dict, bare or in what ``torch.load`` returned.
        partial: load what fits, and leave heads unchanged that are missing or know other classes.
        name: what messages call the weights; by default the file.

    Returns:
        The names that were not loaded, of the model and of the weights; empty without ``partial``.

    Raises:
        PanopticBlendError: the file is unreadable or does not fit the model, which is then unchanged.
    """
    name = name or _name_of(source, model)
    if getattr(model, "is_folded", False):
        raise PanopticBlendError(
            f"{name}: the model was optimized for prediction and takes no weights; load them into that of build_model"
        )
    state, kind = _state_of(source, model)
    own = layout_of(model)
    state = align_pyramid(state, own.shapes)
    comparison = compare(shapes_of(state), own)
    problems = list(comparison.problems().values())
    if comparison.is_folded:
        raise PanopticBlendError(
            f"{name}: comes from a model that was optimized for prediction, its norms folded into convolutions, which "
            "no model can load or train; use the weights that it was made of, or train a model of build_model"
        )
    if partial and (problem := obstacle(comparison, shapes_of(state))):
        raise PanopticBlendError(
            f"{name}: not of this architecture, not even in part: {problem}; use the config it is for"
        )
    if problems and not partial:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        advice = "train from it with --partial" if kind and kind.is_start else remedy(comparison, shapes_of(state))
        raise PanopticBlendError(f"{name}: not of this architecture: {problems[0]}{more}; {advice}")
    fitting = {key: x for key, x in state.items() if key in own.shapes and key not in comparison.different}
    _require_numbers(name, fitting, model.state_dict())
    if not partial and kind and (doubt := _other_rules(kind.rules, model)):
        _log.warning(f"{name}: {doubt}")
    model.load_state_dict(fitting, strict=False)
    return sorted(comparison.problems())


def _other_rules(rules: str | None, model: nn.Module) -> str | None:
    """What to say of weights whose authors choose detections by ``rules`` that are not the model's."""
    own = getattr(getattr(model, "instances", None), "rules", None)
    if None in (rules, own) or rules == own:
        return None
    return (
        f"comes from {rules}, but the model chooses detections by the rules of {own}, so results differ from the "
        "published ones; `panoptic-blend weights inspect` names the configs that follow theirs"
    )


def _require_numbers(name: str, state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> None:
    """Raise for weights that would make every result silently wrong."""
    for key, value in state.items():
        if not value.float().isfinite().all():
            raise PanopticBlendError(
                f"{name}: {key} holds numbers that are not finite, so its training failed; use an earlier checkpoint"
            )
        if own[key].is_floating_point() and not value.is_floating_point():
            raise PanopticBlendError(
                f"{name}: {key} holds {value.dtype}, not floating-point numbers; export the unquantized weights"
            )


def _state_of(source: str | Path | Mapping[str, Tensor], model: nn.Module) -> tuple[dict[str, Tensor], Source | None]:
    """The state dict of a source of weights, under our names, and its kind."""
    if isinstance(source, Mapping):  # asked first, as the text of one takes a second
        file, name = weights_in(source), "state dict"
    elif str(source) == "imagenet":
        return _imagenet(model), None
    else:
        file, name = read_weights(weights_path(source)), str(source)
    return adapt(file.state, file.author, name), source_of(file.state)


def _name_of(source: str | Path | Mapping[str, Tensor], model: nn.Module) -> str:
    """What messages call a source of weights: its file, also where ``imagenet`` stands for one."""
    if isinstance(source, Mapping):
        return "state dict"
    if str(source) == "imagenet":
        weights = _backbone_of(model).pretrained_weights()
        return "imagenet" if weights.fetch else weights.source
    return str(source)


def _backbone_of(model: nn.Module) -> Backbone:
    backbone: Backbone | None = getattr(model, "backbone", None)
    if backbone is None:
        raise PanopticBlendError("imagenet: the model has no backbone to load it into; give a file instead")
    return backbone


def _require_fetched(address: str) -> None:
    """Where nothing may be downloaded, raise an error unless a file of torchvision's is in torch's own cache."""
    place = Path(torch.hub.get_dir()) / "checkpoints" / address.rpartition("/")[2]
    if is_offline() and re.fullmatch(r"https://\S+", address) and not place.is_file():
        raise PanopticBlendError(f"imagenet: {place} is not there; fetch it once without --offline")


def _imagenet(model: nn.Module) -> dict[str, Tensor]:
    """The ImageNet weights of the backbone of ``model``, and the pixel statistics that they expect."""
    backbone = _backbone_of(model)
    weights = backbone.pretrained_weights()
    if weights.fetch is None:
        state: Mapping[str, Tensor] = read_weights(Path(weights.source)).state
    else:
        _require_fetched(weights.source)
        try:
            state = weights.fetch()
        except Exception as error:  # from the network, the disk, or the unpickler
            raise PanopticBlendError(
                f"imagenet: {weights.source} cannot be fetched ({reason(error)})"
                f"; download it elsewhere and give its path as {weights.option}"
            ) from None
    pixels = {"pixel_mean": torch.tensor(backbone.pixels.mean), "pixel_std": torch.tensor(backbone.pixels.std)}
    return pixels | {f"backbone.{name}": value for name, value in weights.convert(state).items()}
