"""The images of a command, shared by its processes; with one process there is nothing to share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from panoptic_blend.structures import Progress

T = TypeVar("T")


@dataclass(frozen=True)
class Shard:
    """The part of a list that one process works on: shard ``rank`` (from 0) of ``count``."""

    rank: int = 0
    count: int = 1

    def range_of(self, number: int) -> range:
        """The indices of this shard in a list of ``number`` items; the shards in order make up the whole list."""
        return range(number * self.rank // self.count, number * (self.rank + 1) // self.count)


WHOLE = Shard()
"""The only shard of a single process."""


class Alone:
    """A process that works alone; `runtime.team.Team` is one of several."""

    shard = WHOLE

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes what all have found."""
        return self.shard.rank == 0

    def share(self, total: int, work: Callable[[Shard, Progress], T], progress: Progress | None = None) -> list[T]:
        """Do ``work`` on the shard of each process; returns the results of all in the first process, in their order.

        The others get none.

        Every process must call it. An error in one of them ends the work of all, and is raised in all.

        Args:
            total: the number of items to share.
            work: called with this process's shard and a function that it must call after each item, with the number
                of items done and any total.
            progress: called with the number of items that all processes have done, and ``total``.
        """
        return [work(self.shard, lambda done, _: progress(done, total) if progress else None)]

    def from_first(self, work: Callable[[], T]) -> T:
        """The result of ``work`` in the first process, in all of them; an error is raised in all."""
        return work()


ALONE = Alone()
"""This process, without others."""
