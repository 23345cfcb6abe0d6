"""Optimizer and learning-rate schedule."""

from __future__ import annotations

import math
from typing import Any

from torch import nn, optim
from torch.distributed.tensor import DTensor

from panoptic_blend.config.options import Train
from panoptic_blend.structures import PanopticBlendError
from panoptic_blend.training.muon import Muon, hidden_weights


def build_optimizer(model: nn.Module, options: Train) -> optim.Optimizer:
    """The optimizer of the trainable parameters, without weight decay for normalization layers (see `is_norm`).

    Parameters of the backbone have groups of their own if it has another learning rate.

    Raises:
        PanopticBlendError: it has another learning rate, but no trainable parameter; or Muon for sharded parameters.
    """
    norms = {id(p) for m in model.modules() if is_norm(m) for p in m.parameters(recurse=False)}
    hidden = {id(p) for p in hidden_weights(model)} if options.optimizer == "muon" else set()
    trainable = {name: p for name, p in model.named_parameters() if p.requires_grad}
    groups: dict[tuple[float, float, bool], list[nn.Parameter]] = {}
    for name, parameter in trainable.items():
        factor = options.backbone_lr if name.startswith("backbone.") else 1.0
        decay = 0.0 if id(parameter) in norms else options.weight_decay
        groups.setdefault((factor, decay, id(parameter) in hidden), []).append(parameter)
    is_sharded = any(isinstance(p, DTensor) for p in trainable.values())
    # no fused SGD for sharded parameters, and Fabric cannot clip gradients for a fused optimizer with loss scaling
    fused = not is_sharded and options.precision != "16-mixed"
    if options.backbone_lr != 1.0 and not any(name.startswith("backbone.") for name in trainable):
        raise PanopticBlendError(
            f"train.backbone_lr={options.backbone_lr} has no effect, because the whole backbone is frozen; leave it out"
        )
    grouped: list[dict[str, Any]] = [
        {"params": p, "weight_decay": decay, "factor": factor} | ({"is_hidden": True} if is_hidden else {})
        for (factor, decay, is_hidden), p in groups.items()
    ]
    if options.optimizer == "muon":
        if is_sharded:
            raise PanopticBlendError("train.optimizer=muon needs whole matrices; set train.strategy=ddp")
        return Muon(grouped, options.lr, fused=fused)
    if options.optimizer == "adamw":
        return optim.AdamW(grouped, lr=options.lr, fused=fused)
    return optim.SGD(grouped, lr=options.lr, momentum=options.momentum, fused=fused)


def is_norm(module: nn.Module) -> bool:
    """Whether a module is a normalization layer of torch, torchvision, timm or another library.

    Its class or a base class must have ``norm`` in its name, and its own parameters at most one axis, as those that
    scale and shift channels have; those of torch's LayerNorm may have more. This excludes convolutions that normalize
    their weights. The children of a module do not count.
    """
    if isinstance(module, nn.LayerNorm):
        return True
    is_named = any("norm" in kind.__name__.lower() for kind in type(module).__mro__)
    return is_named and all(p.ndim <= 1 for p in module.parameters(recurse=False))


def require_full_rate(options: Train) -> None:
    """Raise an error if the warm-up reaches the first step or the end, so that the rate never arrives at ``lr``."""
    ends = {"the end of training": options.iterations}
    if options.steps:
        ends["the first of train.steps"] = min(options.steps)
    name, end = min(ends.items(), key=lambda item: item[1])
    if options.iterations and 0 < options.warmup_iterations >= end:
        raise PanopticBlendError(
            f"train.warmup_iterations={options.warmup_iterations} reaches {name}, iteration {end}, so the learning "
            f"rate never arrives at train.lr; lower it, for example train.warmup_iterations={max(end, 0) // 10}"
        )


def learning_rate(iteration: int, options: Train) -> float:
    """The learning rate of an iteration, counted from 0: a linear warm-up, then the schedule.

    That is a factor ``gamma`` at each step, or half a cosine from ``lr`` at the end of the warm-up to 0 at the end of
    training (Loshchilov and Hutter, SGDR, 2017, equation 5, with a single period).
    """
    warmup = options.warmup_iterations
    rate = options.lr * options.gamma ** sum(step <= iteration for step in options.steps)
    if iteration < warmup:
        progress = iteration / warmup
        return rate * (options.warmup_factor * (1 - progress) + progress)
    if options.schedule == "cosine":
        return rate * 0.5 * (1 + math.cos(math.pi * (iteration - warmup) / (options.iterations - warmup)))
    return rate


def set_learning_rate(optimizer: optim.Optimizer, rate: float) -> None:
    """Set the learning rate of all parameter groups, each by its factor."""
    for group in optimizer.param_groups:
        group["lr"] = rate * group["factor"]
