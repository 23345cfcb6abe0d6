"""A trained model made faster to run: norms become part of convolutions, and weights are rounded once."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from torchvision.ops import DeformConv2d, FrozenBatchNorm2d

_CONVOLUTIONS = (nn.Conv2d, DeformConv2d)
_NORMS = (nn.BatchNorm2d, FrozenBatchNorm2d)


def fold_norms(model: nn.Module) -> None:
    """Multiply every batch norm of ``model``, in evaluation mode, into the convolution that comes before it.

    What the model says stays the same but for rounding; it can no longer be trained, nor take weights.
    """
    for parent in model.modules():
        for (conv_name, conv), (norm_name, norm) in pairwise(list(parent.named_children())):
            if isinstance(conv, _CONVOLUTIONS) and isinstance(norm, _NORMS):
                setattr(parent, conv_name, fuse_conv_bn_eval(conv, norm))
                setattr(parent, norm_name, nn.Identity())


def round_weights(model: nn.Module, dtype: torch.dtype) -> None:
    """Round once what autocast to ``dtype`` rounds in every call; what a folded model says there stays the same."""
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            module.to(dtype)
