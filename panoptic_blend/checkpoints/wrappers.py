"""State dicts inside what trainers save, and under the names that wrappers of a model give them."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

T = TypeVar("T")

_KEYS = (
    *("model", "state_dict", "model_state_dict", "blobs", "module"),
    *("model_state", "net", "network", "weights", "params"),
    *("model_ema", "ema_model", "ema", "ema_state_dict", "state_dict_ema", "model_ema_state_dict", "params_ema"),
    *("swa_model", "swa_state_dict", "averaged_model", "shadow"),
)
"""Where trainers keep a state dict; averages of weights come last: they are taken where there is nothing else."""

_NESTING = 4

_WRAPPERS = re.compile(r"(?:^|(?<=\.))(?:_orig_mod|_fsdp_wrapped_module|_checkpoint_wrapped_module|_forward_module)\.")
"""Names that torch.compile, FSDP and Lightning Fabric put anywhere into the names of parameters."""

_AVERAGES = re.compile("ema|avg|average|shadow|swa|teacher")


def state_dict_in(content: Mapping[Any, Any], is_tensor: Callable[[object], bool]) -> Mapping[Any, Any]:
    """The state dict in what a trainer saved: the content itself, or what it has under a usual key, however nested."""
    return _find(content, is_tensor, _NESTING) or content


def _find(content: Mapping[Any, Any], is_tensor: Callable[[object], bool], depth: int) -> Mapping[Any, Any] | None:
    inner = [content[key] for key in _KEYS if isinstance(content.get(key), Mapping)] if depth else []
    for candidate in inner:
        if found := _find(candidate, is_tensor, depth - 1):
            return found
    return content if any(map(is_tensor, content.values())) else None


def without_wrappers(state: Mapping[str, T]) -> dict[str, T]:
    """A state dict with the names that the model itself has.

    The names that ``DistributedDataParallel``, ``torch.compile``, FSDP, ``AveragedModel`` and a ``LightningModule`` put
    before them are removed. Where they hold more than the model, such as a criterion, only the model is kept; where
    they hold it twice, the one that is no average of weights.
    """
    names = {_WRAPPERS.sub("", name): value for name, value in state.items() if name != "n_averaged"}
    prefixes = {match[1] for name in names if (match := re.match(r"((?:[^.]+\.)*?)backbone\.", name))}
    if prefixes and "" not in prefixes:
        prefix = min(prefixes, key=lambda prefix: (bool(_AVERAGES.search(prefix)), len(prefix), prefix))
        return {name.removeprefix(prefix): value for name, value in names.items() if name.startswith(prefix)}
    while not prefixes and (prefix := _common(names)):
        names = {name.removeprefix(prefix): value for name, value in names.items()}
    return names


def _common(names: Mapping[str, object]) -> str:
    """The prefix ``module.`` or ``model.`` that all names have; empty if they have neither."""
    return next((x for x in ("module.", "model.") if names and all(name.startswith(x) for name in names)), "")
