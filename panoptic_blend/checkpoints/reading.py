"""Files of weights: safetensors, torch's and plain pickles, distinguished by their content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from panoptic_blend.checkpoints.pickles import Array, first_bytes, is_torch, read_pickle
from panoptic_blend.checkpoints.wrappers import state_dict_in, without_wrappers
from panoptic_blend.files import require_file
from panoptic_blend.structures import PanopticBlendError


@dataclass(frozen=True)
class WeightsFile:
    """The content of a file of weights, under the names used there."""

    state: dict[str, Tensor]
    author: str = ""
    """The ``__author__`` in a pickle of detectron2's."""
    header: Mapping[str, str] = field(default_factory=dict)
    """Metadata of a safetensors file."""


def read_weights(path: Path) -> WeightsFile:
    """Read a state dict, bare or under the key that trainers use, under the names of the model (see `wrappers`).

    Raises:
        PanopticBlendError: the file is broken, holds no weights, or needs more than arrays and containers.
    """
    if is_safetensors(path):
        with opened(path) as file:
            named = without_wrappers({name: name for name in file.keys()})  # noqa: SIM118
            tensors = {name: file.get_tensor(key) for name, key in named.items()}
            return WeightsFile(tensors, header=file.metadata() or {})
    content = read_pickle(path)
    state = _entries(content, str(path))
    _require_honest(path, state)
    return WeightsFile(
        {name: value.tensor() if isinstance(value, Array) else value.detach() for name, value in state.items()},
        author=str(content.get("__author__", "")),
    )


def weights_in(content: Mapping[Any, Any]) -> WeightsFile:
    """What `read_weights` gives for a file with this ``content``: a state dict, or what ``torch.load`` returned.

    Raises:
        PanopticBlendError: it holds no weights.
    """
    state = _entries(content, "state dict")
    return WeightsFile(
        {name: torch.as_tensor(value).detach() for name, value in state.items()},
        author=str(content.get("__author__", "")),
    )


def _entries(content: object, source: str) -> dict[str, Any]:
    """The state dict in ``content``, under the names of the model."""
    state: Mapping[Any, Any] = state_dict_in(content, _is_tensor) if isinstance(content, Mapping) else {}
    if all(isinstance(name, str) for name in state):
        state = without_wrappers(state)
    if not state or not all(_is_entry(*item) for item in state.items()):
        raise PanopticBlendError(
            f"{source}: holds no weights; expected a state dict of tensors, bare or under `model`{_oddity(state)}"
        )
    return dict(state)


def _is_tensor(value: object) -> bool:
    return isinstance(value, (Tensor, Array, np.ndarray))


def _is_entry(name: object, value: object) -> bool:
    return isinstance(name, str) and _is_tensor(value)


def _oddity(state: Mapping[Any, Any]) -> str:
    """The entry that keeps a dict with tensors from being a state dict, for the message."""
    odd = [name for name, value in state.items() if not _is_entry(name, value)]
    name = odd[0] if odd and isinstance(odd[0], (str, int)) else type(odd[0]).__name__ if odd else ""
    return f", and {str(name)[:50]!r} is not a tensor" if 0 < len(odd) < len(state) else ""


def _require_honest(path: Path, state: Mapping[Any, Tensor | Array]) -> None:
    """Refuse tensors that are views of fewer numbers than their shape claims: copying them could take any memory."""
    arrays = sum(value.values.nbytes for value in state.values() if isinstance(value, Array))
    if arrays > path.stat().st_size:
        raise PanopticBlendError(f"{path}: its arrays claim more numbers than it holds; export them again")
    for name, value in state.items():
        if isinstance(value, Tensor) and not _is_plain(value):
            raise PanopticBlendError(f"{path}: {name} is not a plain tensor of numbers; export it dense and contiguous")


def _is_plain(tensor: Tensor) -> bool:
    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_complex() or tensor.device.type != "cpu":
        return False
    return tensor.numel() * tensor.element_size() <= tensor.untyped_storage().nbytes()


def is_safetensors(path: Path) -> bool:
    """Whether a file is safetensors, by its first bytes, or by its name if it is cut short."""
    start = first_bytes(path)
    if is_torch(start):
        return False
    return start[4:9] == b"\0\0\0\0{" or (path.suffix == ".safetensors" and not start.startswith(b"\x80"))


def read_header(path: Path) -> Mapping[str, str]:
    """The metadata of a safetensors file; empty for any other file."""
    if not is_safetensors(path):
        return {}
    with opened(path) as file:
        return file.metadata() or {}


Figure = Literal["pq", "ap"]
"""A figure in the header of a checkpoint: PQ, or AP of masks."""


def stated_figure(header: Mapping[str, str], name: Figure) -> float | None:
    """A figure in a header; None if there is none, or no finite number."""
    try:
        figure = float(header[name])
    except (KeyError, ValueError):
        return None
    return figure if isfinite(figure) else None


@contextmanager
def opened(path: Path) -> Iterator[Any]:
    """Open a safetensors file."""
    require_file(path)
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except SafetensorError as error:
        raise PanopticBlendError(
            f"{path}: not a complete safetensors file ({error}); fetch or write it again"
        ) from None
