"""Weights and training states on disk. Loading runs no code from the file."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torchvision.models import get_weight

from panoptic_blend.checkpoints.official import adapt
from panoptic_blend.config import Config, parse_config
from panoptic_blend.data.categories import Categories
from panoptic_blend.files import replacing, require_file
from panoptic_blend.models.backbone import ResNet
from panoptic_blend.structures import PanopticBlendError


@dataclass(frozen=True)
class Checkpoint:
    """Weights with the config they were trained under and the categories they know."""

    state: dict[str, Tensor]
    config: Config
    categories: Categories


def save_checkpoint(
    path: Path, model: nn.Module, config: Config, categories: Categories, pq: float | None = None
) -> None:
    """Write the weights as safetensors, with config, categories and, if given, their PQ in the header; atomically."""
    metadata = {"config": config.model_dump_json(), "categories": json.dumps(categories.records())}
    metadata |= {} if pq is None else {"pq": repr(pq)}
    state = {name: value.detach().cpu().contiguous() for name, value in model.state_dict().items()}
    with replacing(path, durable=True) as temporary:
        temporary.write_bytes(save(state, metadata))  # save_file would make it unreadable to others


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one of our checkpoints; PanopticBlendError for anything else."""
    if not is_checkpoint(path):
        raise PanopticBlendError(f"{path}: holds weights without their config; name the config and pass it as weights")
    state, metadata = _read_safetensors(path)
    try:
        config = parse_config(json.loads(metadata["config"]), "config")
        categories = Categories(json.loads(metadata["categories"]))
    except (PanopticBlendError, ValueError, TypeError) as error:
        raise PanopticBlendError(f"{path}: its header does not fit ({error}); is it of another version?") from None
    return Checkpoint(state, config, categories)


def read_pq(path: Path) -> float:
    """The PQ in the header of a checkpoint; -1 where it is not said."""
    require_file(path)
    with _opened(path) as file:
        return float((file.metadata() or {}).get("pq", -1))


def is_checkpoint(path: Path) -> bool:
    """Whether a file of weights is one of ours, with config and categories in its header."""
    require_file(path)
    if path.suffix != ".safetensors":
        return False
    with _opened(path) as file:
        return {"config", "categories"} <= (file.metadata() or {}).keys()


def load_weights(model: nn.Module, source: str | Path | Mapping[str, Tensor]) -> None:
    """Load weights into ``model``: ours, official BlendMask's, or torchvision's ImageNet backbone.

    Args:
        source: a ``.safetensors`` or ``.pth`` file, the word ``imagenet`` for torchvision's weights of
            the model's backbone, or a state dict; which of the three kinds it is shows in its keys.

    Raises:
        PanopticBlendError: the file is unreadable or does not fit the model; nothing was loaded then.
    """
    name = "state dict" if isinstance(source, Mapping) else str(source)
    state = adapt(source if isinstance(source, Mapping) else _read(Path(source), model))
    own = model.state_dict()
    is_backbone = all(key.startswith("backbone.") for key in state)
    wanted = {key for key in own if key.startswith("backbone.") or not is_backbone}
    problems = [f"{key} is missing" for key in wanted - state.keys() if not key.endswith(_COUNTER)]
    problems += [f"{key} is unknown" for key in state.keys() - own.keys() if not key.endswith(_COUNTER)]
    problems += [
        f"{key} is {_shape(state[key])} in it and {_shape(own[key])} in the model"
        for key in own.keys() & state.keys()
        if own[key].shape != state[key].shape
    ]
    if problems:
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise PanopticBlendError(f"{name}: not of this architecture: {min(problems)}{more}; use the config it is for")
    model.load_state_dict(state, strict=False)


_COUNTER = "num_batches_tracked"
"""Batch counters of batch norm: kept where there are any, needed nowhere."""


def _shape(tensor: Tensor) -> str:
    return " x ".join(map(str, tensor.shape)) or "one number"


def save_state(path: Path, state: Mapping[str, Any]) -> None:
    """Write what resuming a run needs; atomically."""
    buffer = BytesIO()  # torch would turn a full disk into an error of its own
    torch.save(dict(state), buffer)
    with replacing(path, durable=True) as temporary:
        temporary.write_bytes(buffer.getbuffer())


def read_state(path: Path) -> dict[str, Any]:
    """Read what `save_state` wrote."""
    state = _read_pickle(path)
    if not isinstance(state, dict) or not {"model", "optimizer", "iteration", "fixed"} <= state.keys():
        raise PanopticBlendError(f"{path}: not a training state; start anew from weights with train.weights=...")
    return state


def _read(path: Path, model: nn.Module) -> Mapping[str, Tensor]:
    if str(path) == "imagenet":
        return _torchvision_imagenet(model)
    if path.suffix == ".safetensors":
        return _read_safetensors(path)[0]
    content = _read_pickle(path)
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, Mapping) or not all(
        isinstance(k, str) and isinstance(v, Tensor) for k, v in state.items()
    ):
        raise PanopticBlendError(f"{path}: holds no weights; expected a state dict of tensors, bare or under `model`")
    return state


def _torchvision_imagenet(model: nn.Module) -> Mapping[str, Tensor]:
    """torchvision's IMAGENET1K_V1 weights, downloaded once into torch's hub folder."""
    if not isinstance(backbone := getattr(model, "backbone", None), ResNet):
        raise PanopticBlendError("imagenet: only a ResNet backbone has torchvision weights; give a file instead")
    weights = get_weight(f"ResNet{backbone.depth}_Weights.IMAGENET1K_V1")
    try:
        state: Mapping[str, Tensor] = weights.get_state_dict(progress=False, check_hash=True, weights_only=True)
    except Exception as error:  # of the network, the disk, or the unpickler
        raise PanopticBlendError(
            f"imagenet: {weights.url} cannot be fetched ({_reason(error)}); download it elsewhere and give its path"
        ) from None
    return state


def _read_safetensors(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    with _opened(path) as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise PanopticBlendError(f"{path}: not a whole safetensors file ({error}); fetch or write it again") from None


def _read_pickle(path: Path) -> Any:
    require_file(path)
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # a broken file makes the unpickler raise anything
        raise PanopticBlendError(
            f"{path}: not a file of tensors ({_reason(error)}); expected .pth or .safetensors"
        ) from None


def _reason(error: Exception) -> str:
    """The first line of what went wrong."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:100]
