"""A trained model made faster to run: norms become part of convolutions, and weights are rounded once."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.ops import DeformConv2d, FrozenBatchNorm2d

from panoptic_blend.models.backbones.resnet import BasicBlock, Bottleneck, ResNet
from panoptic_blend.models.dataflow import Reading, exclusive_readings

_CONVOLUTIONS = (nn.Conv2d, DeformConv2d)
_NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)
_ROUNDED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)

_IN_ORDER = {kind.forward for kind in (nn.Sequential, ResNet, BasicBlock, Bottleneck)}
"""What runs a norm, and nothing else, on the output of the convolution before it."""


def fold_norms(model: nn.Module) -> None:
    """Multiply batch norms of ``model``, in evaluation mode, into the convolutions whose outputs they read.

    What the model says stays the same but for rounding; it can no longer be trained, nor take weights. In our own
    modules the order of the layers shows what a norm reads. In a backbone of others it is observed, and every norm for
    which folding is not exact stays as it is.
    """
    backbone = getattr(model, "backbone", None)
    foreign = [backbone] if isinstance(backbone, nn.Module) and not isinstance(backbone, ResNet) else []
    not_ours = {module for network in foreign for module in network.modules()}
    for parent in model.modules():
        if parent not in not_ours and type(parent).forward in _IN_ORDER:
            _fold_in_order(parent)
    for network in foreign:
        _fold_observed(network)


def _fold_in_order(parent: nn.Module) -> None:
    for (conv_name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
        if isinstance(conv, _CONVOLUTIONS) and isinstance(norm, _NORMS):
            setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(parent, norm_name, nn.Identity())


@torch.no_grad()
def _fold_observed(network: nn.Module) -> None:
    """Fold the norms that are seen to be the only readers of a convolution's output, if all outputs stay the same."""
    if not any(_with_statistics(module) for module in network.modules()):
        return
    like = next(network.parameters(), torch.empty(0))
    images = _random((1, 3, 64, 96), like)
    expected = network(images)
    originals: dict[str, nn.Module] = {}
    for reading in exclusive_readings(network, images, _CONVOLUTIONS, _with_statistics):
        originals |= _fold_pair(network, reading, like)
    if originals and not _says(network, images, expected):
        for name, module in originals.items():
            network.set_submodule(name, module)


def _fold_pair(network: nn.Module, reading: Reading, like: Tensor) -> dict[str, nn.Module]:
    """Fold one norm, if the result is the same on random numbers; the modules by name that were there before."""
    conv: Any = network.get_submodule(reading.source)
    norm: Any = network.get_submodule(reading.reader)
    x = _random(reading.input_shape, like)
    folded = fuse_conv_bn_eval(conv, norm)
    rest = _after_normalizing(norm)
    if not _is_same(rest(folded(x)), norm(conv(x))):
        return {}
    network.set_submodule(reading.source, folded)
    network.set_submodule(reading.reader, rest)
    return {reading.source: conv, reading.reader: norm}


def _with_statistics(module: nn.Module) -> bool:
    """Whether a module has the parts of a batch norm whose statistics do not depend on its input."""
    is_norm = all(hasattr(module, name) for name in ("running_mean", "running_var", "eps", "weight", "bias"))
    return is_norm and module.running_var is not None and not module.training


def _after_normalizing(norm: nn.Module) -> nn.Module:
    """What is left of a norm: nothing, or its children, as timm's norms carry their activation."""
    layers = [child for child in norm.children() if type(child) is not nn.Identity]
    return nn.Sequential(*layers) if layers else nn.Identity()


def _random(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Normal numbers, always the same, which leave the state of torch's generators alone."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(like)


def _says(network: nn.Module, images: Tensor, expected: dict[str, Tensor]) -> bool:
    try:
        found = network(images)
    except Exception:  # of code that looked into a norm
        return False
    return all(_is_same(found[name], value) for name, value in expected.items())


def _is_same(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors differ by rounding only."""
    return found.shape == expected.shape and bool((found - expected).abs().max() <= 1e-4 * expected.abs().max())


def round_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Round once what autocast to ``dtype`` rounds in every call; what a folded model says there stays the same.

    Layers derived from torch's are left out: they may do more with their weights than apply them.
    """
    for module in model.modules():
        if type(module) in _ROUNDED:
            module.to(dtype)
