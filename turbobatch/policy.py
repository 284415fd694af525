"""Verdict + what went before → what happens next. Pure: no clock, no I/O."""

from __future__ import annotations

import random
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from turbobatch.sendapi import VerdictKind

if TYPE_CHECKING:
    from turbobatch.sendapi import Verdict


class Status(StrEnum):
    """What is known of one row; the values of the `send_status` column."""

    PENDING = "pending"  # not tried yet, or tried and surely not accepted
    SENT = "sent"  # the API answered OK
    REJECTED = "rejected"  # the API refused this email
    INVALID = "invalid"  # never sent: the row couldn't be merged or has a bad address
    DUPLICATE = "duplicate"  # never sent: an earlier row has the same key
    SUPPRESSED = "suppressed"  # never sent: the address is on a suppression list
    FAILED = "failed"  # surely not accepted, retries used up
    IN_DOUBT = "in_doubt"  # a POST began and no verdict came


MEANINGS = {
    Status.PENDING: "not tried yet",
    Status.SENT: "the API answered OK",
    Status.REJECTED: "the API refused this email",
    Status.INVALID: "never sent: the row couldn't be merged or has a bad address",
    Status.DUPLICATE: "never sent: an earlier row has the same key",
    Status.SUPPRESSED: "never sent: the address is on a suppression list",
    Status.FAILED: "surely not accepted, retries used up",
    Status.IN_DOUBT: "a POST began and no verdict came",
}
"""What each status says, in the words that are shown."""

SETTLED_WELL = frozenset({Status.SENT, Status.DUPLICATE, Status.SUPPRESSED})
"""The statuses that ask nothing more of the user."""


class StopReason(StrEnum):
    """Why a run ended before its table did."""

    USER = "stopped by the user"
    CREDENTIALS = "the API refused the credentials"
    NO_CREDIT = "the account has no credit left"
    MISDIRECTED = "the host is not the API"
    OUTAGE = "the API can't be reached"
    THROTTLED = "the API keeps asking for a pause"
    CLUSTER = "the workers are gone"


@dataclass(frozen=True, slots=True)
class Decision:
    """What happens to a row after a POST, and to the campaign."""

    status: Status
    retry_in: float | None = None  # seconds; the row is tried again
    pause: float | None = None  # seconds; the whole campaign waits
    stop: StopReason | None = None
    healthy: bool | None = None  # what it says of the service: well, ill, nothing
    blamed: bool = False  # it counts as one of the email's own tries


_ALWAYS = {
    VerdictKind.SENT: Decision(Status.SENT, healthy=True),
    VerdictKind.REJECTED: Decision(Status.REJECTED, healthy=True),
    VerdictKind.IN_DOUBT: Decision(Status.IN_DOUBT, healthy=False),
    VerdictKind.CREDENTIALS: Decision(Status.PENDING, stop=StopReason.CREDENTIALS),
    VerdictKind.NO_CREDIT: Decision(Status.PENDING, stop=StopReason.NO_CREDIT),
    VerdictKind.MISDIRECTED: Decision(Status.PENDING, stop=StopReason.MISDIRECTED),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """How patient a run is. Times are seconds."""

    tries: int = 3  # POSTs of one email that surely weren't accepted, in one run
    first_wait: float = 1.0  # doubles from try to try
    longest_wait: float = 60.0
    threshold: int = 5  # failures in a row, over all rows, that make an outage
    patience: float = 300.0  # how long an outage may last once the API has answered in this run
    first_patience: float = 3.0  # and how long before it ever has: most likely the host is wrong
    throttles: int = 8  # pauses asked for in a row

    def decide(
        self, verdict: Verdict, failures: int, *, throttles: int = 0, outage: bool = False, doubted: bool = False
    ) -> Decision:
        """Decide on one answer.

        Args:
            verdict: what the answer proves.
            failures: how often this email was to blame for not being accepted in this run, this time not counted.
            throttles: how many pauses in a row the API has asked for, this one not counted.
            outage: the service is known to be ill, so the email isn't to blame.
            doubted: an earlier POST of this email is in doubt. What this one came to says nothing of that, unless
                it is a success: the doubt remains.
        """
        decision = self._decide(verdict, failures, throttles=throttles, outage=outage)
        if doubted and decision.status is not Status.SENT:
            return replace(decision, status=Status.IN_DOUBT)
        return decision

    def wait(self, failures: int) -> float:
        """The pause before the next try, doubling from `first_wait` to `longest_wait`."""
        return float(min(self.first_wait * 2 ** min(failures, 30), self.longest_wait))

    def _decide(self, verdict: Verdict, failures: int, *, throttles: int, outage: bool) -> Decision:
        if (decision := _ALWAYS.get(verdict.kind)) is not None:
            return decision
        if verdict.kind is VerdictKind.THROTTLED:
            pause = max(verdict.retry_after or 0.0, self.wait(throttles))
            return Decision(Status.PENDING, retry_in=pause, pause=pause)
        if failures + 1 >= self.tries and not outage:
            return Decision(Status.FAILED, healthy=False)
        return Decision(Status.PENDING, retry_in=self.wait(failures), healthy=False, blamed=not outage)


@dataclass(slots=True)
class Breaker:
    """Tells an outage from rows that fail: several failures in a row with no success between.

    While it is open, single POSTs probe whether the service is back, after growing, jittered pauses. A probe that
    ends in doubt gives up at once: each further one could cost another row.
    """

    policy: Policy
    dice: random.Random = field(default_factory=random.Random)
    failures: int = 0
    ever_healthy: bool = False  # the service has answered in this run, whoever asked
    opened_at: float | None = None
    probe_at: float = 0.0
    _probes: int = 0
    _since: int = 0

    @property
    def is_open(self) -> bool:
        """Whether the service counts as down."""
        return self.opened_at is not None

    def record(self, *, number: int, healthy: bool, in_doubt: bool, was_probe: bool, now: float) -> StopReason | None:
        """Take note of the answer to the POST that was the `number`th, at `now` (seconds, monotonic).

        Tells when to give up. A success says nothing of failures whose POSTs all began later: it may have been under
        way for long when the outage began.
        """
        if healthy:
            self.ever_healthy = True
            if number > self._since:
                self.failures, self.opened_at, self._probes = 0, None, 0
            return None
        self._since = min(self._since, number) if self.failures else number
        self.failures += 1
        if self.failures < self.policy.threshold:
            return None
        if self.opened_at is None:
            self.opened_at = now
        elif not was_probe:
            return None  # a straggler of the POSTs that were in flight when the outage began
        elif in_doubt:
            return StopReason.OUTAGE
        pause = self.policy.wait(self._probes + (4 if in_doubt else 0)) * self.dice.uniform(0.8, 1.2)
        patience = self.policy.patience if self.ever_healthy else self.policy.first_patience
        if now + pause - self.opened_at > patience:
            return StopReason.OUTAGE
        self._probes += 1
        self.probe_at = now + pause
        return None
