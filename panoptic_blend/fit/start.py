"""What the training of a fit starts from: a backbone and its weights, or a whole model."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from panoptic_blend.checkpoints.inspection import inspect_weights
from panoptic_blend.checkpoints.io import is_checkpoint, read_checkpoint
from panoptic_blend.config.experiment import load_config
from panoptic_blend.config.model_options import Model
from panoptic_blend.download.known_weights import KnownWeights, known_weights
from panoptic_blend.download.weights_cache import fetch_weights
from panoptic_blend.download.weights_sources import weights_path
from panoptic_blend.fit.wanted import Wanted
from panoptic_blend.structures import PanopticBlendError

_RESNET = re.compile(r"resnet(14|18|34|50|101)")


@dataclass(frozen=True)
class Start:
    """The start of a training: ``options`` of the config that bring it about, and a sentence that says why.

    ``is_trained`` says whether the backbone has seen photographs. ``model`` is the network that weights of a whole
    model were trained in, which the rules then leave as it is.
    """

    options: Mapping[str, Any]
    reason: str
    is_trained: bool = False
    model: Model | None = field(default=None, compare=False)


def find_start(wanted: Wanted, device: str) -> Start:
    """The weights that are wanted, or else the best that can be had for a training on a ``device`` of this type.

    Raises:
        PanopticBlendError: what was asked for by name is missing, cannot be fetched, or is of no known network.
    """
    name = wanted.backbone or ("resnet18" if device == "cpu" else "resnet50")
    if wanted.weights == "none":
        return _from_scratch(wanted, name, "as --weights none asks")
    if wanted.weights is None:
        return _best(wanted, name)
    if wanted.weights == "imagenet":
        if _RESNET.fullmatch(name) and _imagenet(name) is None:
            remedy = "name another network by --backbone, or give --weights none"
            raise PanopticBlendError(f"--weights imagenet: there are no ImageNet weights of {name}; {remedy}")
        options = {**backbone_options(name), "train.weights": "imagenet"}
        return Start(options, f"the ImageNet weights of {name}, as --weights asks", is_trained=True)
    return _from_file(wanted.weights, wanted.backbone)


def backbone_options(name: str) -> dict[str, Any]:
    """The options of a backbone: ``resnet14``, 18, 34, 50 or 101, or a network of timm's by its name."""
    if resnet := _RESNET.fullmatch(name):
        return {"model.backbone.kind": "resnet", "model.backbone.depth": int(resnet[1])}
    return {"model.backbone.kind": "timm", "model.backbone.name": name}


def _from_scratch(wanted: Wanted, name: str, why: str) -> Start:
    """A backbone with random weights; instead of a ResNet-18 that nobody asked for, one that learns more in time."""
    if wanted.backbone is None and name == "resnet18":
        name, why = "resnet14", f"{why}; in 11 minutes of two cores PQ on Shapes was 70.5 so, and 68.2 with ResNet-18"
    return Start(backbone_options(name), f"from scratch, {why}")


def _best(wanted: Wanted, name: str) -> Start:
    """The ImageNet weights of a backbone if they are in the cache or can be fetched, else none."""
    options = backbone_options(name)
    known = _imagenet(name)
    if known is None and _RESNET.fullmatch(name):
        return _from_scratch(wanted, name, f"because there are no weights of {name}")
    if known is None:
        return Start({**options, "train.weights": "imagenet"}, f"timm's ImageNet weights of {name}", is_trained=True)
    try:
        fetch_weights(known)
    except PanopticBlendError as error:
        return _from_scratch(wanted, name, f"because the ImageNet weights cannot be had: {error}")
    trained = f"{known.name}: a backbone that has seen photographs needs far fewer pictures"
    return Start({**options, "train.weights": known.name}, trained, is_trained=True)


def _imagenet(name: str) -> KnownWeights | None:
    return next((known for key, known in known_weights().items() if key.startswith(f"{name}_imagenet")), None)


def _from_file(weights: str, backbone: str | None) -> Start:
    """Weights by name or in a file: of a network of timm's that is named, of a ResNet, or of a whole model."""
    path, reason = weights_path(weights), f"{weights}, as --weights asks"
    if backbone and not _RESNET.fullmatch(backbone):
        options = {**backbone_options(backbone), "model.backbone.pretrained": weights, "train.weights": "imagenet"}
        return Start(options, reason, is_trained=True)
    if is_checkpoint(path):
        return _whole(weights, read_checkpoint(path).config.model)
    found = inspect_weights(path)
    if found.architecture.task == "backbone" and found.architecture.depth:
        resnet = backbone_options(f"resnet{found.architecture.depth}")
        return Start({**resnet, "train.weights": weights}, reason, is_trained=True)
    names = [*found.fits, *found.nearest]
    if found.source == "unknown" or not names:
        raise PanopticBlendError(
            f"{weights}: holds weights of no known network; if they are of one of timm's, name it by --backbone"
        )
    return _whole(weights, load_config(names[0]).model)


def _whole(weights: str, model: Model) -> Start:
    options = {"train.weights": weights, "train.partial": True}
    return Start(options, f"{weights}, as --weights asks: a whole model, whose network stays", True, model)
