"""How requests travel: one thread's loop hands them over and collects what came back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from turbobatch.sendapi import Failure

if TYPE_CHECKING:
    from collections.abc import Sequence

    from turbobatch.sendapi import Request, Response

__all__ = ["ANSWER_LIMIT", "CONNECT_TIMEOUT", "IDLE_LIMIT", "Completion", "Job", "Transport", "no_answer"]

CONNECT_TIMEOUT = 10.0  # seconds
ANSWER_LIMIT = 1024 * 1024  # bytes; the API's answers have some hundred

IDLE_LIMIT = 5.0  # seconds; a balancer forgets idle connections without a word, and a POST into one ends in doubt


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


def no_answer(kind: str, *, started: bool, certificate: bool = False) -> Failure:
    """Say what went wrong in the same words, whichever library it happened in; `kind` must quote nothing foreign."""
    if certificate and not started:
        return Failure("the host's certificate is not valid", started=False, certificate=True)
    if started:
        return Failure(f"no readable answer came ({kind})", started=True)
    return Failure(f"no connection ({kind})", started=False)
