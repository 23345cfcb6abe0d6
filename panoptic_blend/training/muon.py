"""The optimizer Muon: steps along orthogonal matrices (Jordan et al., 2024, kellerjordan.github.io/posts/muon)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn, optim

_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration, from the source above; singular values end between 0.7 and 1.2."""
_ROUNDS = 5
_MOMENTUM = 0.95
_RMS = 0.2
"""The usual root mean square of a step of AdamW in units of its rate; steps of Muon are given the same, so that both
take one rate (Liu et al., Muon is Scalable for LLM Training, 2025, equation 4)."""
_NARROWEST, _WIDEST = 32, 256
"""The shorter side of the matrices that Muon steps. Narrower ones, such as those of depthwise convolutions, have few
directions; with wider ones (c5 of a ResNet) a step of the demo takes 45 % longer and learns no more."""


class Muon(optim.AdamW):
    """Muon for the weights of convolutions and linear layers that `hidden_weights` finds, AdamW for all others.

    A weight (outputs, inputs, ...) is a matrix (outputs, the rest). Its step is the matrix with orthonormal rows or
    columns that is nearest to its momentum, so that directions with small gradients are learned as fast as others.

    Args:
        groups: parameter groups as of AdamW; those with ``"is_hidden": True`` are stepped by Muon.
        lr: learning rate of both.
    """

    def __init__(self, groups: Sequence[dict[str, Any]], lr: float, fused: bool = False) -> None:
        super().__init__([{"is_hidden": False, **group} for group in groups], lr=lr, fused=fused)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Step all parameters that have a gradient; the gradients of those that Muon steps are None afterwards."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            if group["is_hidden"]:
                self._step_hidden(
                    [p for p in group["params"] if p.grad is not None], group["lr"], group["weight_decay"]
                )
        super().step()  # AdamW passes over parameters without a gradient
        return loss

    def _step_hidden(self, weights: list[Tensor], rate: float, decay: float) -> None:
        if not weights:
            return
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        for weight in weights:
            if not self.state[weight]:
                self.state[weight]["momentum"] = torch.zeros_like(weight)
                self.state[weight]["step"] = torch.zeros(())  # not used: AdamW wants it in every state that it loads
        momenta = [self.state[weight]["momentum"] for weight in weights]
        torch._foreach_lerp_(momenta, gradients, 1 - _MOMENTUM)
        torch._foreach_lerp_(gradients, momenta, _MOMENTUM)  # Nesterov's momentum
        torch._foreach_mul_(weights, 1 - rate * decay)
        for alike in _by_shape(weights):
            # channels last, as they are in memory: the order of the columns does not matter
            ahead = torch.stack([gradients[place].movedim(1, -1) for place in alike])
            steps = orthogonalized(ahead.flatten(2))
            scale = rate * _RMS * max(steps.shape[1:]) ** 0.5
            found = steps.view(ahead.shape).movedim(-1, 2).unbind()
            torch._foreach_add_([weights[place] for place in alike], found, alpha=-scale)
        for weight in weights:
            weight.grad = None


def _by_shape(weights: Sequence[Tensor]) -> list[list[int]]:
    """The places of the weights of each shape, of which all steps are made at once: there are many small ones."""
    places: dict[torch.Size, list[int]] = {}
    for place, weight in enumerate(weights):
        places.setdefault(weight.shape, []).append(place)
    return list(places.values())


def orthogonalized(matrix: Tensor) -> Tensor:
    """The nearest matrix (..., m, n) with orthonormal rows or columns, roughly: singular values lie from 0.7 to 1.2.

    Every round multiplies X by a I + b G + c G^2 with G = X X^T. All these polynomials of the first G commute, so the
    product is made of small square matrices, and the wide matrix is read twice instead of twice in every round.
    """
    is_tall = matrix.shape[-2] > matrix.shape[-1]
    wide = (matrix.mT if is_tall else matrix) / matrix.norm(dim=(-2, -1), keepdim=True).clamp(min=1e-7)
    gram = wide @ wide.mT
    product = factor = _factor(gram)
    for _ in range(_ROUNDS - 1):
        gram = factor @ gram @ factor
        factor = _factor(gram)
        product = factor @ product
    wide = product @ wide
    return wide.mT if is_tall else wide


def _factor(gram: Tensor) -> Tensor:
    a, b, c = _COEFFICIENTS
    factor = gram @ gram
    factor.mul_(c).add_(gram, alpha=b).diagonal(dim1=-2, dim2=-1).add_(a)
    return factor


def hidden_weights(model: nn.Module) -> list[nn.Parameter]:
    """Trainable weights of convolutions and linear layers between the pixels and the predictions.

    Not those that read pixels, those that predict classes (``class_layers``, see `FCOSHead`), narrow ones, or very wide
    ones.
    """
    predictors = [m.get_submodule(name) for m in model.modules() for name in getattr(m, "class_layers", ())]
    excluded = {id(p) for predictor in predictors for p in predictor.parameters()}
    weights = [p for p in model.parameters() if p.requires_grad and p.ndim > 1 and id(p) not in excluded]
    sides = range(_NARROWEST, _WIDEST + 1)
    return [p for p in weights if p.shape[1] != 3 and min(len(p), p[0].numel()) in sides]
