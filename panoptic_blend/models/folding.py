"""Make a trained model faster: fold norms into convolutions, and round weights once."""

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
"""The forward methods that apply a norm, and nothing else, to the output of the convolution before it."""


def fold_norms(model: nn.Module) -> None:
    """Multiply the batch norms of ``model``, in evaluation mode, into the convolutions whose outputs they read.

    The outputs stay the same but for rounding. The model can no longer be trained, nor load weights; its ``is_folded``
    is true from now on, and a `PanopticBlend` then refuses both. In our own modules the order of the layers shows which
    convolution a norm reads. In a foreign backbone it is observed in a forward pass, and a norm that cannot be folded
    exactly stays.
    """
    backbone = getattr(model, "backbone", None)
    foreign = [backbone] if isinstance(backbone, nn.Module) and not isinstance(backbone, ResNet) else []
    not_ours = {module for network in foreign for module in network.modules()}
    for parent in model.modules():
        if parent not in not_ours and type(parent).forward in _IN_ORDER:
            _fold_in_order(parent)
    for network in foreign:
        _fold_observed(network)
    folded: Any = model
    folded.is_folded = True


def _fold_in_order(parent: nn.Module) -> None:
    for (conv_name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
        if isinstance(conv, _CONVOLUTIONS) and isinstance(norm, _NORMS):
            setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(parent, norm_name, nn.Identity())


@torch.no_grad()
def _fold_observed(network: nn.Module) -> None:
    """Fold norms that are the only readers of a convolution's output; undo it if an output of the network changes."""
    if not any(_with_statistics(module) for module in network.modules()):
        return
    like = next(network.parameters(), torch.empty(0))
    images = _random((1, 3, 64, 96), like)
    expected = network(images)
    originals: dict[str, nn.Module] = {}
    for reading in exclusive_readings(network, images, _CONVOLUTIONS, _with_statistics):
        originals |= _fold_pair(network, reading, like)
    if originals and not _outputs_match(network, images, expected):
        for name, module in originals.items():
            network.set_submodule(name, module)


def _fold_pair(network: nn.Module, reading: Reading, like: Tensor) -> dict[str, nn.Module]:
    """Fold one norm if the result is the same on random numbers; returns the replaced modules by name."""
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
    """Whether a module is like a batch norm whose statistics do not depend on its input."""
    is_norm = all(hasattr(module, name) for name in ("running_mean", "running_var", "eps", "weight", "bias"))
    return is_norm and module.running_var is not None and not module.training


def _after_normalizing(norm: nn.Module) -> nn.Module:
    """The rest of a folded norm: nothing, or its children, because norms of timm contain their activation."""
    layers = [child for child in norm.children() if type(child) is not nn.Identity]
    return nn.Sequential(*layers) if layers else nn.Identity()


def _random(shape: tuple[int, ...], like: Tensor) -> Tensor:
    """Normal random numbers, always the same, drawn without touching torch's global generator."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(like)


def _outputs_match(network: nn.Module, images: Tensor, expected: dict[str, Tensor]) -> bool:
    try:
        found = network(images)
    except Exception:  # from code that reads attributes of a norm
        return False
    return all(_is_same(found[name], value) for name, value in expected.items())


def _is_same(found: Tensor, expected: Tensor) -> bool:
    """Whether two tensors differ by rounding only."""
    return found.shape == expected.shape and bool((found - expected).abs().max() <= 1e-4 * expected.abs().max())


def round_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Round the weights once that autocast to ``dtype`` would round in every call; the outputs stay the same.

    Subclasses of torch's layers are left out, because they may use their weights in other ways.
    """
    for module in model.modules():
        if type(module) in _ROUNDED:
            module.to(dtype)
