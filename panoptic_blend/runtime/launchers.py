"""Which processes torchrun, SLURM or another launcher has started, as their environment variables say."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from lightning.fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning.fabric.plugins.environments.slurm import SLURMEnvironment
from torch.distributed import TCPStore  # type: ignore[attr-defined]

from panoptic_blend.structures import PanopticBlendError

PATIENCE = 30
"""Seconds to wait for other tasks where it is not certain that there are any."""

_SPECIAL_STEPS = 2**32 - 16
"""SLURM's numbers of steps that srun did not start, such as the shell of ``salloc``, begin here."""


@dataclass(frozen=True)
class Placement:
    """The place of this process among the tasks that a launcher started, one for each device.

    There are ``count`` tasks, ``per_node`` on each node; ``address`` and ``port`` are where the first listens.
    ``is_certain`` is false where only this task may have been started, though the environment tells of others.
    """

    launcher: str
    rank: int
    local_rank: int
    node: int
    count: int
    per_node: int
    address: str
    port: int
    is_certain: bool = True


@dataclass(frozen=True)
class Wanted:
    """How many devices per node and how many nodes a command was told to use; ``prefix`` of their names in messages."""

    devices: int = 1
    nodes: int = 1
    prefix: str = "--"


_FLAGS = {"SLURM": ("--ntasks-per-node", "--nodes")}
"""How a launcher is told the numbers of processes per node and of nodes; others take torchrun's flags."""


_MEETING = ("MASTER_ADDR", "MASTER_PORT", "NODE_RANK")
"""Variables by which nodes find each other if no launcher has started them."""


def devices_and_nodes(placement: Placement | None, wanted: Wanted, environment: Mapping[str, str]) -> tuple[int, int]:
    """The numbers of devices per node and of nodes: those of the launcher if there is one, else the ``wanted`` ones.

    Raises:
        PanopticBlendError: the wanted numbers contradict the launcher or NODE_RANK, or nothing says where the first of
            several nodes is. A 1, their default, does not contradict a launcher.
    """
    if placement is None:
        if wanted.nodes > 1 and (missing := [name for name in _MEETING if name not in environment]):
            raise PanopticBlendError(
                f"{wanted.prefix}nodes is {wanted.nodes}, but the environment lacks {', '.join(missing)}; set "
                "MASTER_ADDR and MASTER_PORT to those of the first machine, and NODE_RANK to the number of this one, "
                "from 0"
            )
        if (node := _number(environment, "NODE_RANK", 0)) >= wanted.nodes:
            raise PanopticBlendError(
                f"NODE_RANK is {node}, but {wanted.prefix}nodes is {wanted.nodes}; give --nodes, or unset NODE_RANK"
            )
        return wanted.devices, wanted.nodes
    found = placement.per_node, placement.count // placement.per_node
    flags = _FLAGS.get(placement.launcher, ("--nproc_per_node", "--nnodes"))
    for name, given, here, flag in zip(("devices", "nodes"), (wanted.devices, wanted.nodes), found, flags, strict=True):
        if given not in (1, here):
            own = ", or let it start its own with `env -u SLURM_NTASKS`" if placement.launcher == "SLURM" else ""
            plural = "" if here == 1 else "s"
            what = f"task{plural} on each node" if name == "devices" else f"node{plural}"
            raise PanopticBlendError(
                f"{wanted.prefix}{name} is {given}, but {placement.launcher} says {here} {what}; start it with "
                f"{flag}={given}, or without --{name}{own}"
            )
    return found


class Tasks(ClusterEnvironment):
    """The tasks of a launcher, for Fabric."""

    def __init__(self, placement: Placement) -> None:
        self._placement = placement

    creates_processes_externally = True

    @property
    def main_address(self) -> str:
        return self._placement.address

    @property
    def main_port(self) -> int:
        return self._placement.port

    @staticmethod
    def detect() -> bool:
        return False  # `find_placement` does

    def world_size(self) -> int:
        return self._placement.count

    def set_world_size(self, size: int) -> None:
        """The launcher has set it."""

    def global_rank(self) -> int:
        return self._placement.rank

    def set_global_rank(self, rank: int) -> None:
        """The launcher has set it."""

    def local_rank(self) -> int:
        return self._placement.local_rank

    def node_rank(self) -> int:
        return self._placement.node


def find_placement(environment: Mapping[str, str]) -> Placement | None:
    """The place of this process among the tasks of torchrun, SLURM or another launcher; None if none started it.

    Raises:
        PanopticBlendError: a variable is not a number, or the nodes have different numbers of tasks.
    """
    if "TORCHELASTIC_RUN_ID" in environment:
        return _of_ranks("torchrun", environment)
    if "SLURM_NTASKS" in environment and "SLURM_PROCID" in environment:
        return _of_slurm(environment)
    if {"RANK", "WORLD_SIZE", "MASTER_ADDR"} <= environment.keys():
        return _of_ranks("the environment (RANK, WORLD_SIZE)", environment)
    return None


def _of_ranks(launcher: str, environment: Mapping[str, str]) -> Placement:
    """As torch's ``env://`` describes tasks; without a local rank there is one on each node."""
    count = _number(environment, "WORLD_SIZE")
    per_node = _number(environment, "LOCAL_WORLD_SIZE", count if "LOCAL_RANK" in environment else 1)
    rank = _number(environment, "RANK")
    if per_node < 1 or count % per_node:
        raise PanopticBlendError(
            f"{launcher} has started {count} tasks, {per_node} of them on this node; start the same number on each, as "
            "with --nproc_per_node"
        )
    return Placement(
        launcher,
        rank,
        _number(environment, "LOCAL_RANK", 0),
        rank // per_node,
        count,
        per_node,
        environment.get("MASTER_ADDR", "127.0.0.1"),
        _number(environment, "MASTER_PORT", 29500),
    )


def _of_slurm(environment: Mapping[str, str]) -> Placement | None:
    """As srun describes its tasks.

    A script of sbatch, and a shell inside an allocation, have most of these variables too without being one of several
    tasks: only srun sets SLURM_STEP_ID, and jobs named ``bash`` or ``interactive`` are often the shell of
    ``srun --pty bash``.
    """
    step = _number(environment, "SLURM_STEP_ID", -1)
    if step >= _SPECIAL_STEPS:
        return None
    is_shell = environment.get("SLURM_JOB_NAME") in ("bash", "interactive")
    prefix = "SLURM_STEP_NUM_" if step >= 0 else "SLURM_N"
    count = _number(environment, f"{prefix}TASKS", _number(environment, "SLURM_NTASKS"))
    if count == 1 and is_shell:
        return None
    nodes = _number(environment, f"{prefix}NODES", _number(environment, "SLURM_NNODES", 1))
    if nodes < 1 or count % nodes:
        raise PanopticBlendError(
            f"SLURM has started {count} tasks on {nodes} nodes; start the same number on each, as with "
            "--ntasks-per-node"
        )
    hosts = environment.get("SLURM_STEP_NODELIST") or environment.get("SLURM_NODELIST") or "127.0.0.1"
    job = _number(environment, "SLURM_JOB_ID", 0)
    return Placement(
        "SLURM",
        _number(environment, "SLURM_PROCID"),
        _number(environment, "SLURM_LOCALID", 0),
        _number(environment, "SLURM_NODEID", 0),
        count,
        count // nodes,
        environment.get("MASTER_ADDR") or SLURMEnvironment.resolve_root_node_address(hosts),
        _number(environment, "MASTER_PORT", 15000 + (job + 101 * max(step, 0)) % 10000),
        is_certain=step >= 0 and not is_shell,
    )


def await_others(placement: Placement) -> TCPStore:
    """Wait until all tasks of an uncertain placement are there; keep the result until they have joined.

    Raises:
        PanopticBlendError: they were not there in time.
    """
    try:
        return TCPStore(
            placement.address,
            placement.port,
            placement.count,
            is_master=placement.rank == 0,
            timeout=timedelta(seconds=PATIENCE),
            multi_tenant=True,  # torch's own store at this address shares the server
        )
    except RuntimeError as error:
        raise PanopticBlendError(
            f"SLURM_NTASKS is {placement.count}, but not all of these tasks have come within {PATIENCE} s; start them "
            "with srun, or this process alone with `env -u SLURM_NTASKS`"
        ) from error


def _number(environment: Mapping[str, str], name: str, default: int | None = None) -> int:
    """A variable as a number; ``default`` if it is not set."""
    value = environment.get(name)
    if value is None and default is not None:
        return default
    if value is None or not value.isdecimal():
        raise PanopticBlendError(f"the environment variable {name} is {value!r}, not a number; correct or unset it")
    return int(value)
