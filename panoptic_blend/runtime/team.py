"""The processes of a command that share its images, one per device: results, errors and progress of all of them.

Each process says in a store of torch how far it is and whether it failed, so that all end as soon as one does. Only
when all have finished do they exchange their results.
"""

from __future__ import annotations

import os
import pickle
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import count
from typing import TypeVar

import torch
from lightning.fabric import Fabric
from torch.distributed import PrefixStore, TCPStore  # type: ignore[attr-defined]

from panoptic_blend.failures import in_one_line
from panoptic_blend.prediction.sharing import WHOLE, Alone, Shard
from panoptic_blend.runtime.launchers import Wanted, find_placement
from panoptic_blend.runtime.precision import chosen_device
from panoptic_blend.runtime.processes import broadcast, counted, ddp, gather, joined, stop_others
from panoptic_blend.structures import PanopticBlendError, Progress

T = TypeVar("T")

_FAILURE, _ENDED = "failure", "ended"
"""Keys of the store: the error that ends all processes, and the number of processes that end."""
_POLL_SECONDS = 0.05
_END_SECONDS = 10.0
"""How long the first process waits for the others to finish their present image before it ends them."""


class Team(Alone):
    """The processes that share the images of a command, of which this is one; `together` starts them.

    Args:
        fabric: connects the processes; without it, or if it has one process, this one works alone.
        device: the device of this process; by default that of ``fabric``, or the CPU.
    """

    def __init__(self, fabric: Fabric | None = None, device: torch.device | None = None) -> None:
        self._fabric = fabric if fabric and fabric.world_size > 1 else None
        self.device = device or (fabric.device if fabric else torch.device("cpu"))
        self.shard = Shard(fabric.global_rank, fabric.world_size) if fabric else WHOLE
        self._calls, self._is_ended = count(), False
        if self._fabric:
            # a client of the store through which torch has connected the processes, wherever it is
            master = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
            self._store = PrefixStore("panoptic_blend", TCPStore(*master, timeout=timedelta(minutes=1)))

    @property
    def in_words(self) -> str:
        """The devices, such as ``cuda:0`` or ``2 x cuda``."""
        return f"{self.shard.count} x {self.device.type}" if self.shard.count > 1 else str(self.device)

    def share(self, total: int, work: Callable[[Shard, Progress], T], progress: Progress | None = None) -> list[T]:
        """See `Alone.share`."""
        if self._fabric is None:
            return super().share(total, work, progress)
        done_before, name = 0, f"done {next(self._calls)}"

        def show(done: int, _: int) -> None:
            nonlocal done_before
            self._check()
            everywhere = self._add(name, done - done_before)
            done_before = done
            if progress:
                progress(everywhere, total)

        own = self._done(lambda: work(self.shard, show), lambda: show(done_before, total))
        return gather(self._fabric, own)

    def from_first(self, work: Callable[[], T]) -> T:
        """See `Alone.from_first`."""
        if self._fabric is None:
            return work()
        own = self._done(lambda: [work()] if self.is_first else [], self._check)
        [found] = broadcast(self._fabric, own)
        return found

    def end(self, error: BaseException | None = None) -> None:
        """Say that this process ends; the first one, in which the store is, waits for the others.

        The others end with the ``error`` too, if there is one, unless another one was first.
        """
        if self._fabric is None or self._is_ended:
            return
        self._is_ended = True
        with suppress(RuntimeError):  # without the store, the first process has ended already
            if error:
                told = in_one_line(error) if isinstance(error, Exception) else KeyboardInterrupt()
                self._store.compare_set(_FAILURE, "", pickle.dumps(told).hex())
            number, until = self._store.add(_ENDED, 1), time.monotonic() + _END_SECONDS
            while self.is_first and number < self.shard.count and time.monotonic() < until and not self._killed():
                time.sleep(_POLL_SECONDS)
                number = self._store.add(_ENDED, 0)

    def _done(self, work: Callable[[], T], meanwhile: Callable[[], None]) -> T:
        """The result of ``work``, when all have theirs; ``meanwhile`` is called while this process waits for others."""
        arrived = f"arrived {next(self._calls)}"
        try:
            value = work()
        except Exception as error:
            self.end(error)
            self._check()  # another error may have been the first
            raise
        number = self._add(arrived, 1)
        while number < self.shard.count:  # not in a collective operation, which no signal interrupts
            meanwhile()
            time.sleep(_POLL_SECONDS)
            number = self._add(arrived, 0)
        return value

    def _check(self) -> None:
        """Raise the error of another process, if one has failed."""
        with _as_an_end():
            failure = self._store.get(_FAILURE) if self._store.check([_FAILURE]) else b""
        if failure:
            error = pickle.loads(bytes.fromhex(failure.decode()))  # of a process of this run
            self.end(error)
            raise error
        if code := self._killed():
            raise PanopticBlendError(
                f"a process of this command was killed (exit code {code}), perhaps because memory ran out; lower "
                "--devices"
            )

    def _killed(self) -> int:
        """The exit code of a process that this one has started and that has failed, or 0."""
        started = getattr(self._fabric.strategy.launcher, "procs", []) if self._fabric else []
        return next((code for process in started if (code := process.poll())), 0)

    def _add(self, key: str, number: int) -> int:
        with _as_an_end():
            return int(self._store.add(key, number))


@contextmanager
def together(wanted: Wanted, device: str = "auto") -> Iterator[Team]:
    """Start the other processes of a command, or join those that torchrun or SLURM started.

    An error or Ctrl-C in one of them ends all, and leaves the block in the first one only.

    Raises:
        PanopticBlendError: the launcher started other processes than wanted, or there are too few devices.
    """
    chosen, placement = chosen_device(device), find_placement(os.environ)
    devices, nodes = counted(placement, wanted, chosen)
    if devices * nodes == 1:
        yield Team(device=chosen)
        return
    if chosen.index is not None:
        raise PanopticBlendError(f"--device {device} is one device; give --device {chosen.type} to use {devices}")
    fabric = joined(placement, chosen, devices, nodes, ddp(chosen))
    team = Team(fabric)
    try:
        yield team
        team.end()
    except BaseException as error:
        team.end(error)
        stop_others(fabric)
        if not team.is_first:
            raise SystemExit from None  # the first process prints the message
        raise


@contextmanager
def _as_an_end() -> Iterator[None]:
    """The store is lost when the first process has ended."""
    try:
        yield
    except RuntimeError:
        raise PanopticBlendError("the first process of this command has ended; see its message") from None
