"""Batch norms that would see one value of each channel, of which there is no variance."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from panoptic_blend.config.experiment import Config
from panoptic_blend.deploy.resizing import scaled, size_for
from panoptic_blend.structures import PanopticBlendError, Size

_LARGE = 256
"""Sides in pixels from which the coarsest features of every backbone have several cells."""

_REMEDY = "raise train.batch_size, train.images_per_step, or data.short_sides and data.long_side"


def require_variance(model: nn.Module, config: Config, sizes: Iterable[Size], processes: int) -> None:
    """Raise an error if a trained batch norm would see only one value of each channel in the smallest training image.

    This can be where an image is processed alone. Random crops are left to `one_value_named`.
    """
    options, data = config.train, config.data
    share = options.batch_size // processes
    is_alone = share // -(-share // (options.images_per_step or share)) == 1
    if not is_alone or (processes > 1 and options.sync_norm):
        return
    smallest = min((size_for(size, min(data.short_sides), data.long_side) for size in sizes), key=max)
    smallest = scaled(smallest, min(1, *(data.jitter or [1])))
    if max(smallest) < _LARGE and (name := _with_one_value(model, smallest)):
        height, width = smallest
        raise PanopticBlendError(
            f"the batch norm {name} has one value of each channel in an image of {height} x {width} pixels that is "
            f"processed alone, and cannot be trained on it; {_REMEDY}"
        )


@torch.no_grad()
def _with_one_value(model: nn.Module, size: Size) -> str | None:
    """The name of the first trained batch norm that gets one value of each channel from an image of this size."""
    found: list[str] = []

    def watch(name: str) -> Any:
        def look(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
            if inputs[0].numel() == inputs[0].shape[1]:
                found.append(name)

        return look

    norms = [(name, m) for name, m in model.named_modules() if isinstance(m, nn.BatchNorm2d) and m.training]
    handles = [norm.register_forward_pre_hook(watch(name)) for name, norm in norms]
    model.eval()  # the statistics of the batch norms stay as they are
    try:
        model([torch.zeros(3, *size, dtype=torch.uint8)])
    finally:
        model.train()
        for handle in handles:
            handle.remove()
    return next(iter(found), None)


@contextmanager
def one_value_named(iteration: int, names: Iterable[str]) -> Iterator[None]:
    """Turn torch's error for a batch norm with one value of each channel into one that names images and remedy."""
    try:
        yield
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise PanopticBlendError(
            f"iteration {iteration}: a batch norm has one value of each channel in {', '.join(names)}; {_REMEDY}"
        ) from error
