"""The processes of a command, one per device: launch, parallelization strategy and communication."""

from __future__ import annotations

import atexit
import logging
import os
import signal
import threading
import time
from collections.abc import Mapping, Sequence
from inspect import signature
from typing import Any, TypeVar

import torch
from lightning.fabric import Fabric
from lightning.fabric.plugins import MixedPrecision
from lightning.fabric.plugins.environments.lightning import LightningEnvironment
from lightning.fabric.strategies.ddp import DDPStrategy
from lightning.fabric.strategies.model_parallel import ModelParallelStrategy
from lightning.fabric.strategies.strategy import Strategy
from torch import Tensor, distributed, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.nn.parallel import DistributedDataParallel

from panoptic_blend.config.options import Train
from panoptic_blend.models.batching import widest_float
from panoptic_blend.models.panoptic_blend import PanopticBlend
from panoptic_blend.runtime.launchers import Placement, Tasks, Wanted, await_others, devices_and_nodes, find_placement
from panoptic_blend.runtime.precision import present_device, resolve
from panoptic_blend.structures import PanopticBlendError

T = TypeVar("T")

_ALLOCATOR = "PYTORCH_ALLOC_CONF", "PYTORCH_CUDA_ALLOC_CONF"
"""The variables that set torch's allocator on a GPU, the newer one first; read when the GPU is first used."""


class Autocast(MixedPrecision):
    """Fabric's mixed precision without its rounding of inputs, which box coordinates and counts do not tolerate."""

    def convert_input(self, data: T) -> T:
        """Return the inputs unchanged; autocast rounds inside the network, where this is safe."""
        return data


def launch(options: Train) -> Fabric:
    """Start the other processes of this node for a training, or join those that torchrun or SLURM started.

    Raises:
        PanopticBlendError: the machine has no such device, the launcher started other processes than the options say,
            there are too few devices, the batch size is not a multiple of their number, or FSDP is combined with
            float16.
    """
    device, placement = present_device(options.device, "train.device"), find_placement(os.environ)
    if device.type == "cuda" and not any(name in os.environ for name in _ALLOCATOR):
        os.environ[_ALLOCATOR[0]] = "expandable_segments:True"  # batches of many sizes leave gaps otherwise
    devices, nodes = counted(placement, Wanted(options.devices, options.nodes, "train."), device)
    if options.batch_size % (devices * nodes):
        raise PanopticBlendError(
            f"train.batch_size {options.batch_size} cannot be shared by {devices * nodes} devices; "
            f"make it a multiple of {devices * nodes}"
        )
    precision = resolve(options.precision, device)
    if options.strategy == "fsdp" and precision == "16-mixed" and devices * nodes > 1:
        raise PanopticBlendError(
            "train.precision 16-mixed needs loss scaling, which train.strategy fsdp does not support; "
            "use bf16-mixed or 32-true"
        )
    plugins = [Autocast(precision, device.type)] if precision != "32-true" else []
    return joined(placement, device, devices, nodes, strategy(options, devices * nodes, device), plugins)


def counted(placement: Placement | None, wanted: Wanted, device: torch.device) -> tuple[int, int]:
    """The numbers of devices per node and of nodes, as `devices_and_nodes` finds them, if this machine has so many.

    Raises:
        PanopticBlendError: they contradict the launcher, or there are too few devices.
    """
    devices, nodes = devices_and_nodes(placement, wanted, os.environ)
    present = torch.accelerator.device_count()
    if device.type != "cpu" and devices > max(1, present):
        remedy = "lower it" if present else f"use --device cpu, or leave out --device {device.type}"
        raise PanopticBlendError(f"{wanted.prefix}devices is {devices}, but this machine has only {present}; {remedy}")
    return devices, nodes


def joined(
    placement: Placement | None,
    device: torch.device,
    devices: int,
    nodes: int,
    strategy: Strategy | str,
    plugins: Sequence[Any] = (),
) -> Fabric:
    """Start the other processes of this node, or join those of the ``placement``; the result connects all of them."""
    for name in ("lightning.fabric", "lightning.pytorch"):  # they would print the devices, as we do
        logging.getLogger(name).setLevel(logging.WARNING)
    # processes that Fabric starts would print pages of C++ frames when the first one, with torch's store, is killed
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")
    environment = Tasks(placement) if placement else LightningEnvironment()
    if not placement and "LOCAL_RANK" in os.environ:  # Fabric has started this process
        _die_with_parent()
    fabric = Fabric(
        accelerator=device.type,
        devices=devices,
        num_nodes=nodes,
        strategy=strategy,
        plugins=[environment, *plugins],
    )
    # held until all have joined
    store = await_others(placement) if placement and placement.count > 1 and not placement.is_certain else None
    fabric.launch()
    if fabric.world_size > 1 and _backend(device):  # Fabric does this for NCCL alone
        atexit.register(_leave)
    del store
    return fabric


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def strategy(options: Train, world_size: int, device: torch.device) -> Strategy | str:
    """How ``world_size`` processes share the work, each on a ``device`` of that type."""
    if world_size == 1:
        return "auto"
    if options.strategy == "ddp":
        return ddp(device)
    return ModelParallelStrategy(
        _shard, data_parallel_size=world_size, tensor_parallel_size=1, process_group_backend=_backend(device)
    )


def ddp(device: torch.device) -> DDPStrategy:
    """DDP that copies no gradient, and that sends no buffer before a forward pass; see `take_buffers_of_first`."""
    newer, older = "forward_sync_buffers", "broadcast_buffers"  # torch warns of the older name where it has both
    sent: dict[str, Any] = {newer if newer in signature(DistributedDataParallel).parameters else older: False}
    return DDPStrategy(process_group_backend=_backend(device), gradient_as_bucket_view=True, **sent)


def _backend(device: torch.device) -> str | None:
    """The libraries through which processes communicate: on a GPU, tensors of the host and objects go through Gloo."""
    return "cpu:gloo,cuda:nccl" if device.type == "cuda" else None


def _shard(model: nn.Module, mesh: DeviceMesh) -> nn.Module:
    """Every rank keeps its part of each parameter; a unit of the backbone is whole only while it runs."""
    from torch.distributed.fsdp import fully_shard

    assert isinstance(model, PanopticBlend)
    for part in (*model.backbone.shard_units, model):
        fully_shard(part, mesh=mesh["data_parallel"])
    return model


def _die_with_parent() -> None:
    """Kill this process when its parent is dead; not every communication library notices that.

    `machine.die_with_parent` needs a parent that used multiprocessing, and Fabric does not.
    """
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1)
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

    threading.Thread(target=watch, daemon=True).start()


def starts_run() -> bool:
    """Whether this process will be the first of its run; for use before `launch`."""
    if placement := find_placement(os.environ):
        return placement.rank == 0
    return all(os.environ.get(name, "0") == "0" for name in ("LOCAL_RANK", "NODE_RANK"))


def is_first() -> bool:
    """Whether this is the first process of its run, which prints and writes files."""
    return not distributed.is_initialized() or distributed.get_rank() == 0


def is_sharded(fabric: Fabric) -> bool:
    """Whether the parameters of the model are distributed over the ranks."""
    return isinstance(fabric.strategy, ModelParallelStrategy)


def stop_others(fabric: Fabric) -> None:
    """Terminate the processes that this one started; torchrun and SLURM terminate theirs."""
    for process in getattr(fabric.strategy.launcher, "procs", []):
        process.terminate()


def sum_over_ranks(fabric: Fabric, counts: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Sum scalars of the same name over the sequence and over all ranks, in the `widest_float` of the device."""
    own = summed(counts, widest_float(fabric.device))
    if fabric.world_size > 1:
        distributed.all_reduce(own)  # without the barrier that Fabric's has
    return dict(zip(counts[0], own.unbind(), strict=True))


def summed(counts: Sequence[Mapping[str, Tensor]], dtype: torch.dtype) -> Tensor:
    """Scalars of the same name summed over the sequence, one after the other: (names,)."""
    return torch.stack([torch.stack([x.to(dtype) for x in part.values()]) for part in counts]).sum(dim=0)


def take_buffers_of_first(fabric: Fabric, model: nn.Module) -> None:
    """Give every rank the buffers of the first: the running statistics of norms that are not synchronized differ."""
    if fabric.world_size > 1:
        for buffer in model.buffers():
            if buffer.is_floating_point():
                distributed.broadcast(buffer, src=0)


def all_gather(fabric: Fabric, value: T) -> list[T]:
    """The picklable ``value`` of every rank, in the order of ranks; every rank must call it."""
    values: list[Any] = [value] * fabric.world_size
    if fabric.world_size > 1:
        distributed.all_gather_object(values, value)
    return values


def gather(fabric: Fabric, value: T) -> list[T]:
    """The picklable ``value`` of every rank in the order of ranks, in the first; none in the others."""
    values: list[Any] = [None] * fabric.world_size if fabric.global_rank == 0 else []
    distributed.gather_object(value, values or None)
    return values


def broadcast(fabric: Fabric, value: T) -> T:
    """The picklable ``value`` of the first rank, in every rank."""
    values = [value if fabric.global_rank == 0 else None]
    distributed.broadcast_object_list(values)
    found: Any = values[0]
    return found
