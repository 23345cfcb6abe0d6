"""An exponential moving average of the weights of a run, which is evaluated and saved in their place."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn


class MovingAverage:
    """The exponential moving average of all that training changes in a model: parameters and running statistics.

    Running statistics of norms are averaged as EfficientNet's training code does (tensorflow/tpu, ``get_ema_vars``),
    because the averaged weights lag behind, so that the statistics of the newest weights are not theirs. Frozen parts
    are not averaged.

    Args:
        model: as it is trained; its parameters may be sharded.
        decay: the share that the average keeps at an update. At first it is lower: see `update`.
        known: the averages in a state, whole, by name; averages that are not in it start from the weights of ``model``.
    """

    @torch.no_grad()
    def __init__(self, model: nn.Module, decay: float, known: Mapping[str, Tensor]) -> None:
        self._decay = decay
        self._weights = _changing(model)
        self._averages = {name: weight.detach().clone() for name, weight in self._weights.items()}
        for name, average in self._averages.items():  # in the same order in every process
            if name in known:
                average.copy_(_placed(known[name], average))

    @torch.no_grad()
    def update(self, number: int) -> None:
        """Follow the weights after an optimizer step, of which there were ``number`` before.

        The decay is at most (1 + number) / (10 + number), so that the average forgets the initial weights (TensorFlow's
        ``ExponentialMovingAverage``, ``num_updates``).
        """
        follow = get_ema_multi_avg_fn(min(self._decay, (1 + number) / (10 + number)))
        follow(_local(self._averages), _local(self._weights), number)

    def state_dict(self) -> dict[str, Tensor]:
        """The averages on the CPU, whole, by their names in the state dict of the model; every rank must call it."""
        return {name: _whole(average).cpu() for name, average in self._averages.items()}


def _changing(model: nn.Module) -> dict[str, Tensor]:
    """The tensors of the state dict that training changes by fractions, each under its first name."""
    kept = model.state_dict(keep_vars=True)
    changing: dict[str, Tensor] = {}
    for path, module in model.named_modules():
        trained = [(name, p) for name, p in module.named_parameters(recurse=False) if p.requires_grad]
        statistics = [*module.named_buffers(recurse=False)] if module.training else []
        for name, tensor in (*trained, *statistics):
            if (full := f"{path}.{name}".removeprefix(".")) in kept and tensor.is_floating_point():
                changing[full] = tensor
    return changing


def _local(tensors: Mapping[str, Tensor]) -> list[Tensor]:
    """The parts of the tensors on this rank; some may be sharded and others not."""
    return [tensor.to_local() if isinstance(tensor, DTensor) else tensor for tensor in tensors.values()]


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _placed(whole: Tensor, like: Tensor) -> Tensor:
    """A whole tensor on the device of another, and sharded as it is."""
    if isinstance(like, DTensor):
        return distribute_tensor(whole.to(like.device), like.device_mesh, like.placements)
    return whole
