"""What happens in a run, as it is told to those who watch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

    from turbobatch.journal import Outcome
    from turbobatch.policy import Status


@dataclass(frozen=True, slots=True)
class Settled:
    """A row (or group) has its status for this run; an event, and what a feed yields for rows that need no POST.

    `outcome` is what a feed wants journalled with it, if anything.
    """

    number: int
    size: int
    status: Status
    key: str | None = None
    message: str = ""
    outcome: Outcome | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Known:
    """Rows that the journal settles already, by status."""

    rows: Counter[Status]


@dataclass(frozen=True, slots=True)
class Retrying:
    """An email surely wasn't accepted and will be tried again in `seconds`."""

    number: int
    key: str
    message: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """The whole run waits for `reason`, until about `until` (seconds since the epoch)."""

    reason: str
    until: float


@dataclass(frozen=True, slots=True)
class Moved:
    """How many rows more, or fewer, have each status by now, of a run that others do; `known` are as in `Known`."""

    rows: Counter[Status]
    known: int


@dataclass(frozen=True, slots=True)
class Told:
    """A row is in trouble, in a run that others do; `Moved` counts it."""

    event: Settled | Retrying


@dataclass(frozen=True, slots=True)
class Workers:
    """How many workers of a cluster send now, in a run that isn't sent by this process.

    Attributes:
        count: of the workers.
        cluster: its scheduler's address.
        dashboard: the address of Dask's own page about it, if it has one.
    """

    count: int
    cluster: str
    dashboard: str = ""

    def __str__(self) -> str:
        return f"{self.count} worker{'' if self.count == 1 else 's'} of {self.cluster}"


RunEvent = Settled | Known | Retrying | Waiting | Moved | Told | Workers


def ignore_event(_event: RunEvent) -> None:
    """Hear an event and do nothing."""


def in_turn(*hearers: Callable[[RunEvent], None]) -> Callable[[RunEvent], None]:
    """Hear an event in all of these, one after the other."""

    def hear(event: RunEvent) -> None:
        for each in hearers:
            each(event)

    return hear
