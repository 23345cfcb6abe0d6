"""Work off jobs in threads; what would wait too long is refused at once."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import TypeVar

from panoptic_blend.serve.limits import RefusalError

Result = TypeVar("Result")


class BoundedQueue:
    """A queue of jobs with a bound; all methods but the jobs themselves run in the thread of the event loop.

    Args:
        threads: the number of jobs that run at the same time.
        waiting: the number of requests that may wait besides.
        seconds: the time for which a request waits for its job.
    """

    def __init__(self, threads: int, waiting: int, seconds: float) -> None:
        self._executor = ThreadPoolExecutor(threads)
        self._threads, self.bound, self._seconds = threads, threads + waiting, seconds
        self._job_seconds = 1.0
        self.taken = 0

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place in the queue, taken before a body is read; raises `RefusalError` if there is none left."""
        if self.taken >= self.bound:
            wait = min(60, max(1, math.ceil(self.taken * self._job_seconds / self._threads)))
            raise RefusalError(503, f"{self.taken} requests are waiting already; try again in {wait} s", wait)
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1

    async def run(self, job: Callable[[], Result]) -> Result:
        """The result of ``job``, whose exceptions are raised here.

        Raises:
            RefusalError: the time is over. A job that has not begun is dropped; a running one ends by itself, unseen.
        """
        running = asyncio.get_running_loop().run_in_executor(self._executor, self._timed, job)
        done, _ = await asyncio.wait({running}, timeout=self._seconds)
        if not done:
            running.cancel()
            raise RefusalError(504, f"no answer after {self._seconds:g} s; send a smaller picture, or try again later")
        return running.result()

    def close(self) -> None:
        """Drop the jobs that have not begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    def _timed(self, job: Callable[[], Result]) -> Result:
        start = time.monotonic()
        try:
            return job()
        finally:
            self._job_seconds = time.monotonic() - start
