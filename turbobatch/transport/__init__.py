"""How requests travel: one thread's loop hands them over and collects what came back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turbobatch.sendapi import Failure, Request, Response

__all__ = ["Completion", "Job", "Transport"]


@dataclass(frozen=True, slots=True)
class Job:
    """A request with a number to know its completion by."""

    number: int
    request: Request


@dataclass(frozen=True, slots=True)
class Completion:
    """What came of a job, and how long its POST took."""

    number: int
    result: Response | Failure
    seconds: float


class Transport(Protocol):
    """Posts each request exactly once: no retries, no redirects, no proxies or credentials from the environment."""

    def submit(self, jobs: Sequence[Job]) -> None:
        """Begin these POSTs; returns at once."""
        ...

    def poll(self, timeout: float) -> list[Completion]:
        """The POSTs that ended: waits up to `timeout` seconds for the first, takes all there are."""
        ...

    def close(self) -> None:
        """End without waiting for POSTs in flight."""
        ...
