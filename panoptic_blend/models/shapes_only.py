"""Networks that have shapes and no values, to compare weights with before there is memory for them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_FILLS = {Tensor.normal_, Tensor.uniform_}
_INITIALIZATIONS = {nn.init.normal_, nn.init.uniform_, nn.init.constant_, nn.init.kaiming_uniform_}
"""Those of torch that reach a `TorchFunctionMode` by themselves, with the name of their argument."""


@contextmanager
def shapes_only() -> Iterator[None]:
    """Tensors of modules that are built in this context are on torch's device ``meta``."""
    with torch.device("meta"), _Unfilled():
        yield


class _Unfilled(TorchFunctionMode):
    """Leaves a tensor as it is where first values would fill it, for which ``meta`` takes most of its time."""

    def __torch_function__(
        self,
        function: Callable[..., Any],
        types: Iterable[type],
        arguments: tuple[Any, ...] = (),
        named: Mapping[str, Any] | None = None,
    ) -> Any:
        named = named or {}
        if function in _INITIALIZATIONS:
            return named["tensor"]
        return arguments[0] if function in _FILLS else function(*arguments, **named)
