"""Optimiser and learning-rate schedule."""

from __future__ import annotations

from torch import nn, optim
from torch.distributed.tensor import DTensor

from panoptic_blend.config.options import Train


def build_optimizer(model: nn.Module, options: Train) -> optim.Optimizer:
    """SGD or AdamW over the trainable parameters; those of normalization layers (`is_norm`) are not decayed."""
    norms = {id(p) for m in model.modules() if is_norm(m) for p in m.parameters(recurse=False)}
    trainable = [p for p in model.parameters() if p.requires_grad]
    groups = [
        {"params": [p for p in trainable if id(p) not in norms], "weight_decay": options.weight_decay},
        {"params": [p for p in trainable if id(p) in norms], "weight_decay": 0.0},
    ]
    in_parts = any(isinstance(p, DTensor) for p in trainable)  # for which there is no fused SGD
    fused = not in_parts and options.precision != "16-mixed"  # where Fabric could not clip a fused one's gradients
    if options.optimizer == "adamw":
        return optim.AdamW(groups, lr=options.lr, fused=fused)
    return optim.SGD(groups, lr=options.lr, momentum=options.momentum, fused=fused)


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a normalization layer, of torch, torchvision, timm or anybody else.

    Its class or a base class has ``norm`` in its name, and its own parameters scale and shift single channels (those of
    torch's LayerNorm may have more axes). A convolution that normalizes its weight is none, for instance, and the other
    layers of a block that is named for its norm are judged by themselves.
    """
    if isinstance(module, nn.LayerNorm):
        return True
    is_named = any("norm" in kind.__name__.lower() for kind in type(module).__mro__)
    return is_named and all(p.ndim <= 1 for p in module.parameters(recurse=False))


def learning_rate(iteration: int, options: Train) -> float:
    """The rate of iteration 0, 1, ...: a linear warm-up, then a factor ``gamma`` at every step passed."""
    rate = options.lr * options.gamma ** sum(step <= iteration for step in options.steps)
    if iteration < options.warmup_iterations:
        share = iteration / options.warmup_iterations
        rate *= options.warmup_factor * (1 - share) + share
    return rate


def set_learning_rate(optimizer: optim.Optimizer, rate: float) -> None:
    """Give every parameter group ``rate``."""
    for group in optimizer.param_groups:
        group["lr"] = rate
