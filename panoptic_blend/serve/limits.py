"""What a server accepts at most, and the refusal of a request that wants more or makes no sense."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Limits:
    """The bounds of a server.

    Args:
        megabytes: the largest picture file.
        megapixels: the largest picture; one of 12 takes up to about 1.5 GB of memory while it is predicted.
        queue: the pictures that may wait for the model; more are refused with the status 503.
        seconds: the time that a request may take, to arrive and to be answered.
        kept_megabytes: memory for the pictures of the page, of which those that were used least recently are dropped.
        hosts: the names of this machine by which it may be called, besides ``localhost`` and any IP address.
    """

    megabytes: float = 32
    megapixels: float = 32
    queue: int = 32
    seconds: float = 60
    kept_megabytes: float = 256
    hosts: frozenset[str] = field(default_factory=frozenset)


class RefusalError(Exception):
    """The answer to a request that cannot be fulfilled: an HTTP status, one line, and seconds to wait, if it helps."""

    def __init__(self, status: int, message: str, retry_after: int | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.retry_after = status, message, retry_after
