"""The loop: claim → commit intents → post → commit outcomes.

One thread owns the journal, the rate and the clock. Each turn of the loop collects the POSTs that ended, takes as many
new rows as there are free slots and permits, commits the outcomes together with the new intents (one fsync for all of
them), and only then spends the permits and hands the new requests to the transport.

A commit takes milliseconds, and seconds where a disk or a server stalls. So before it permits are only looked at, and
are taken after it, as the POST begins: a commit that stalls puts no POST into a window that another one has paid for. A
process that has a rate to itself finds as many then as before. Of a shared rate their time may be over: then the rows
wait for others, claimed as they are, and nothing more is claimed meanwhile. If anything else holds them back (Pause,
Stop, the window, the API, an error), their claims are withdrawn: nothing was posted. A claim's lease goes on while it
waits; where it has ended all the same, as this process stood still, nothing is posted.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from threading import Event
from typing import TYPE_CHECKING

from turbobatch.clock import SystemClock
from turbobatch.errors import JournalError
from turbobatch.events import Known, Retrying, Settled, Waiting, ignore_event, in_turn
from turbobatch.journal import Intent, Outcome
from turbobatch.policy import Breaker, Policy, Status, StopReason
from turbobatch.sendapi import VerdictKind, judge
from turbobatch.transport import Job

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from turbobatch.clock import Clock
    from turbobatch.events import RunEvent
    from turbobatch.journal import Entry, Journal
    from turbobatch.policy import Decision
    from turbobatch.rates import Pacing, Window
    from turbobatch.sendapi import Request, Verdict
    from turbobatch.transport import Completion, Transport

_LONGEST_NAP = 0.1  # seconds until the loop looks up again: how soon Stop and Pause are noticed
_BACKLOG = 500  # rows settled without a POST that are committed at once
_WORTH_TELLING = 1.0  # seconds; shorter waits for the rate are its ordinary pace
_READ_AHEAD = 16  # emails made ready while waiting for a permit
_LISTED = 20  # keys that a message names at most
_NOT_POSTED = "claimed, and not posted: the run had to wait or to end first"
_DOUBT_REMAINS = "; an earlier POST of this email is still in doubt"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An email that may be posted. `number` and `size`: its first row and how many rows share its verdict.

    `resend`: an earlier POST of it is in doubt, and the user wants another all the same.
    `recipients`: a digest of whom it goes to.
    """

    number: int
    size: int
    key: str
    digest: str
    request: Request
    resend: bool = False
    recipients: str = ""


FeedItem = Candidate | Settled | Known


@dataclass(slots=True)
class Control:
    """What other threads may ask of a running engine.

    `healthy`: the service has answered in this run, to this engine, or to another one that takes part in it.
    """

    stop: Event = field(default_factory=Event)
    pause: Event = field(default_factory=Event)
    healthy: Event = field(default_factory=Event)


@dataclass(slots=True)
class _Try:
    """A candidate on its way through this run."""

    candidate: Candidate
    failures: int = 0
    began: float = 0.0  # monotonic
    is_probe: bool = False


@dataclass(slots=True, kw_only=True)
class Engine:
    """Sends what the feed brings until the feed ends, the user stops it, or the service makes it stop.

    Args:
        feed: what to do, in order; it is read in the engine's own thread.
        journal: where intents and outcomes go.
        transport: how requests travel.
        pacer: the rate.
        concurrency: POSTs in flight at most, and so rows in doubt after a crash.
        window: when sending is allowed at all.
        policy: how patient the run is.
        emit: called with each event, after what it tells is durable.
        dice: what spreads the probes of an outage.
        slots: POSTs in flight at first; each healthy answer doubles them, up to `concurrency`. So a restart while the
            service is ill costs few rows.
    """

    feed: Iterator[FeedItem]
    journal: Journal
    transport: Transport
    pacer: Pacing
    concurrency: int
    window: Window | None = None
    policy: Policy = field(default_factory=Policy)
    clock: Clock = field(default_factory=SystemClock)
    control: Control = field(default_factory=Control)
    emit: Callable[[RunEvent], None] = ignore_event
    dice: random.Random = field(default_factory=random.Random)
    slots: int = 1
    in_flight: dict[int, _Try] = field(default_factory=dict, init=False)
    stop_reason: StopReason | None = field(default=None, init=False)
    stop_message: str = field(default="", init=False)
    _outcomes: list[Outcome] = field(default_factory=list, init=False)  # not committed yet
    _events: list[RunEvent] = field(default_factory=list, init=False)  # not told yet
    _ready: deque[Candidate] = field(default_factory=deque, init=False)
    _claimed: deque[_Try] = field(default_factory=deque, init=False)  # no POST of these has begun
    _retries: list[tuple[float, int, _Try]] = field(default_factory=list, init=False)
    _numbers: itertools.count[int] = field(default_factory=itertools.count, init=False)
    _breaker: Breaker = field(init=False)
    _fed: bool = field(default=False, init=False)
    _broken: Exception | None = field(default=None, init=False)
    _resume_at: float = field(default=0.0, init=False)
    _throttled_at: float = field(default=0.0, init=False)
    _throttles: int = field(default=0, init=False)
    _waiting_for: str = field(default="", init=False)

    def __post_init__(self) -> None:
        self._breaker = Breaker(self.policy, self.dice)  # here, since others may look at an engine before it runs

    def run(self) -> StopReason | None:
        """Work until the end; tells why it was an early one.

        Raises:
            JournalError: the journal failed; nothing new was posted then, and what came back was tried to be written
                until the end. It names the rows whose answers couldn't be, which stay in doubt.
            Exception: what the feed raised, once the POSTs in flight have ended and are journalled.
        """
        self._seed_pacer()
        while self._turn():
            pass
        if self._outcomes or self._claimed:  # the journal didn't take them; there may be room by now
            self._commit()
        if lost := [item.key for item in self._outcomes if item.posted and item.status is not Status.IN_DOUBT]:
            raise JournalError(f"{self._broken}; {_described(lost)}") from self._broken
        if self._broken is not None:
            raise self._broken
        self.journal.check()
        return self.stop_reason

    def listen(self, hear: Callable[[RunEvent], None]) -> None:
        """Have `hear` called with each event too, before `emit`."""
        self.emit = in_turn(hear, self.emit)

    def close(self) -> None:
        """Let go of the transport; what is in flight isn't waited for."""
        self.transport.close()

    def _seed_pacer(self) -> None:
        # The journal knows when an intent was made: by what its commit took that is earlier than its POST.
        now = self.clock.time()
        offset = self.clock.monotonic() - now
        self.pacer.seed(at + offset for at in self.journal.post_times(now - self.pacer.longest, now))

    def _turn(self) -> bool:
        outcomes, events = self._outcomes, self._events
        outcomes += [self._conclude(completion, events) for completion in self.transport.poll(self._nap())]
        if self.control.stop.is_set():
            self._stop(StopReason.USER, "")
        if not self._is_ending():
            self._read_feed(outcomes, events)
        self._commit()
        if self._is_ending():
            return bool(self.in_flight)
        return bool(self.in_flight or self._claimed or self._retries or self._ready or not self._fed)

    def _commit(self) -> None:
        """Make intents and outcomes durable; only then post and tell. What another process has claimed is its own.

        What the journal doesn't take, or a rate that can't be asked for, ends the run. The outcomes stay for later.
        """
        if self._is_ending():
            self._withdraw()
        try:
            tries = [] if self._is_ending() else self._claim(self._events)
            taken = self.journal.commit([self._intent(item) for item in tries], self._outcomes)
        except JournalError as error:
            self._break(error)
            return
        events, self._outcomes, self._events = self._events, [], []
        self._claimed.extend(item for item in tries if item.candidate.key not in taken)
        self._begin_posts()
        events += [_left_to_another(item.candidate, taken) for item in tries if item.candidate.key in taken]
        for event in events:
            self.emit(event)

    def _break(self, error: JournalError) -> None:
        if not isinstance(self._broken, JournalError):
            self._broken = error

    # What came back

    def _conclude(self, completion: Completion, events: list[RunEvent]) -> Outcome:
        item = self.in_flight.pop(completion.number)
        verdict = judge(completion.result, item.candidate.request.secrets)
        candidate = item.candidate
        decision = self.policy.decide(
            verdict,
            item.failures,
            throttles=self._throttles,
            outage=self._breaker.is_open,
            doubted=candidate.resend,
        )
        self._note_health(completion.number, item, verdict, decision)
        doubt = _DOUBT_REMAINS if candidate.resend and decision.status is not Status.SENT else ""
        if decision.stop is not None:
            self._stop(decision.stop, _said(verdict))
        if decision.retry_in is not None:
            item.failures += decision.blamed
            due = self.clock.monotonic() + decision.retry_in
            heapq.heappush(self._retries, (due, next(self._numbers), item))
            events.append(Retrying(candidate.number, candidate.key, verdict.message + doubt, decision.retry_in))
        elif decision.status is not Status.PENDING:
            message = _said(verdict) + doubt
            events.append(Settled(candidate.number, candidate.size, decision.status, candidate.key, message))
        return Outcome(
            key=candidate.key,
            status=decision.status,
            message=verdict.message + doubt,
            errors=verdict.errors,
            mid=verdict.mid,
            http_status=verdict.http_status,
            time=self.clock.time(),
            seconds=completion.seconds,
            posted=True,
        )

    def _note_health(self, number: int, item: _Try, verdict: Verdict, decision: Decision) -> None:
        now = self.clock.monotonic()
        if decision.pause is not None:
            self._resume_at = max(self._resume_at, now + decision.pause)
            if item.began >= self._throttled_at:  # not one of the POSTs that were in flight at the last pause
                self._throttles += 1
                self._throttled_at = now
            if self._throttles > self.policy.throttles:
                self._stop(StopReason.THROTTLED, verdict.message)
        if decision.healthy is None:
            return
        if decision.healthy:
            self._throttles = 0
            self.slots = min(self.slots * 2, self.concurrency)
            self.control.healthy.set()
        self._breaker.ever_healthy = self.control.healthy.is_set()
        reason = self._breaker.record(
            number=number,
            healthy=decision.healthy,
            in_doubt=verdict.kind is VerdictKind.IN_DOUBT,
            was_probe=item.is_probe,
            now=now,
        )
        if reason is not None:
            self._stop(reason, verdict.message)

    def _stop(self, reason: StopReason, message: str) -> None:
        if self.stop_reason is None:
            self.stop_reason, self.stop_message = reason, message

    def _is_ending(self) -> bool:
        """Whether only the POSTs in flight are waited for."""
        return self.stop_reason is not None or self._broken is not None

    # What goes out

    def _read_feed(self, outcomes: list[Outcome], events: list[RunEvent]) -> None:
        """Make candidates ready for the free slots; rows that need no POST are settled on the way."""
        # Many at a time where many are in flight: they share one commit, and a body isn't held long.
        wanted = min(max(self.concurrency - len(self.in_flight), 1), max(self.concurrency // 4, _READ_AHEAD))
        settled = 0
        while not self._fed and len(self._ready) < wanted and settled < _BACKLOG:
            match self._next_item():
                case None:
                    self._fed = True
                case Candidate() as candidate:
                    self._ready.append(candidate)
                case Known(rows=rows) as item:
                    settled += rows.total()
                    events.append(item)
                case item:
                    settled += 1
                    events.append(item)
                    if item.outcome is not None:
                        outcomes.append(item.outcome)

    def _next_item(self) -> FeedItem | None:
        try:
            return next(self.feed, None)
        except Exception as error:  # noqa: BLE001 - raised again once the verdicts under way are journalled
            self._broken = error
            return None

    def _claim(self, events: list[RunEvent]) -> list[_Try]:
        """What to claim next: as much as may be posted now. While claims wait for their permits, nothing."""
        now = self.clock.monotonic()
        due = sum(1 for at, _, _ in self._retries if at <= now)
        wanted = len(self._claimed) or min(self.slots - len(self.in_flight), due + self._fresh())
        if wanted <= 0 and not self._retries:
            return []
        reason, until = self._held_back(now)  # told also where every row has been tried and none is due
        granted = 0
        if not reason and wanted > 0:
            if not self._claimed:
                granted = self.pacer.room(now, 1 if self._breaker.is_open else wanted)
            if not granted and (until := self.pacer.next_at(now)) > now + _WORTH_TELLING:
                reason = f"the rate of {self.pacer.waiting_for(now)}"
        self._tell_waiting(reason, until - now, events)
        return [self._next_try(now) for _ in range(granted)]

    def _fresh(self) -> int:
        # While many rows wait for another try, no new ones are begun: memory and trouble stay bounded.
        return len(self._ready) if len(self._retries) < self.concurrency else 0

    def _next_try(self, now: float) -> _Try:
        is_due = bool(self._retries) and self._retries[0][0] <= now
        return heapq.heappop(self._retries)[2] if is_due else _Try(self._ready.popleft())

    def _intent(self, item: _Try) -> Intent:
        candidate = item.candidate
        return Intent(
            key=candidate.key,
            digest=candidate.digest,
            time=self.clock.time(),
            resend=candidate.resend,
            recipients=candidate.recipients,
        )

    def _begin_posts(self) -> None:
        """Post what is claimed, by permits of this moment; withdraw it if it has to wait for anything but the rate.

        Withdrawn for that, a row whose commits always take longer than a permit is good for would never leave.
        """
        now = self.clock.monotonic()
        if not self._claimed:
            return
        if self._held_back(now)[0]:
            self._withdraw()
            return
        try:
            granted = self.pacer.take(now, 1 if self._breaker.is_open else len(self._claimed))
            if granted:
                self.journal.check()  # these claims may be old by now
        except JournalError as error:
            self._break(error)
            return
        self._post([self._claimed.popleft() for _ in range(granted)], now)

    def _post(self, tries: Sequence[_Try], now: float) -> None:
        jobs = [Job(next(self._numbers), item.candidate.request) for item in tries]
        for job, item in zip(jobs, tries, strict=True):
            item.began, item.is_probe = now, self._breaker.is_open
            self.in_flight[job.number] = item
        self.transport.submit(jobs)

    def _withdraw(self) -> None:
        """Take claims back of which no POST has begun; unless the run ends, the rows are tried again."""
        now = self.clock.monotonic()
        for item in self._claimed:
            doubted = item.candidate.resend
            self._outcomes.append(
                Outcome(
                    key=item.candidate.key,
                    status=Status.IN_DOUBT if doubted else Status.PENDING,
                    message=_NOT_POSTED + (_DOUBT_REMAINS if doubted else ""),
                    time=self.clock.time(),
                    posted=True,
                )
            )
            heapq.heappush(self._retries, (now, next(self._numbers), item))
        self._claimed.clear()

    # When to wait, and what for

    def _held_back(self, now: float) -> tuple[str, float]:
        """What the whole run waits for, if anything, and until when (monotonic)."""
        if self.control.pause.is_set():
            return "Resume", now
        if self.window is not None and not self.window.is_open(at := self._now()):
            return f"the window {self.window}", now + (self.window.next_open(at) - at).total_seconds()
        if now < self._resume_at:
            return "the pause that the API asked for", self._resume_at
        if self._breaker.is_open and (self.in_flight or now < self._breaker.probe_at):
            return "the API, which can't be reached", self._breaker.probe_at
        return "", now

    def _tell_waiting(self, reason: str, seconds: float, events: list[RunEvent]) -> None:
        if reason != self._waiting_for:
            events.append(Waiting(reason, self.clock.time() + seconds))
        self._waiting_for = reason

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self.clock.time(), UTC)

    def _nap(self) -> float:
        """How long to wait for completions before there may be something else to do; seconds."""
        if self._is_ending() or (self._full() and not self._claimed):
            return _LONGEST_NAP
        now = self.clock.monotonic()
        at = now if self._claimed or self._fresh() or not (self._ready or self._fed) else now + _LONGEST_NAP
        if self._retries:
            at = min(at, max(self._retries[0][0], now))
        at = max(at, self.pacer.next_at(now), self._resume_at)
        if self._breaker.is_open:
            at = max(at, self._breaker.probe_at)
        if self._waiting_for and at <= now:
            return _LONGEST_NAP
        return min(at - now, _LONGEST_NAP)

    def _full(self) -> bool:
        if self._breaker.is_open:
            return bool(self.in_flight)
        return len(self.in_flight) >= self.slots


def _said(verdict: Verdict) -> str:
    return "; ".join(verdict.errors) or verdict.message


def _left_to_another(candidate: Candidate, taken: Mapping[str, Entry]) -> Settled:
    entry = taken[candidate.key]
    return Settled(candidate.number, candidate.size, entry.status, candidate.key, entry.message)


def _described(lost: Sequence[str]) -> str:
    named = f": {', '.join(map(repr, lost))}" if len(lost) <= _LISTED else ""
    return f"the answers to {len(lost)} emails couldn't be written, their rows stay in doubt{named}"
