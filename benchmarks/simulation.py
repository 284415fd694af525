"""A campaign on a cluster, simulated: events one after the other, from a seed.

Workers merge, claim, commit and post as the engine does. PostgreSQL has some processors, and a disk that flushes for
all who wait; a row deals out the rate, and the vendor takes its time. Rows never run out:
beginning and end are left out.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Then = Callable[[], None]

MERGING, COMMITTING, PERMITS, ANSWERS = "its own processor", "commits", "the rate", "answers"
STATES = (MERGING, COMMITTING, PERMITS, ANSWERS)
CORES, DISK, MACHINE = "PostgreSQL's processors", "its disk", "the machine's processors"
_READ_AHEAD = 16  # emails, as in the engine
_BATCH = 0.05  # seconds' worth of the rate that are reserved at once
_AHEAD = 0.25  # seconds beyond which no slot is given away
_NEARLY = 0.95
_ROUNDING = 1e-9
_WARM = 0.2  # of what is simulated


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What is simulated. Times in seconds; what isn't given is what was measured on two cores (RESULTS.md).

    Attributes:
        rate: emails a second that all workers share; 0 is none.
        cpu_row: of a worker, for an email: merged, encoded, posted, its answer read.
        cpu_turn: of a worker, for a turn of its loop with a commit.
        commit_cpu: of PostgreSQL, for a commit.
        commit_row: of PostgreSQL, for an email's intent and outcome.
        flush: of the disk under PostgreSQL; commits that wait meanwhile share the next one.
        trip: to PostgreSQL and back.
        reserve_cpu: of PostgreSQL, for a reservation of the rate's permits.
        journal_cores: PostgreSQL's processors.
        one_machine: so many processors for workers, PostgreSQL and vendor together; 0 if each has its own.
        vendor_cpu: of that machine, for an email, where the vendor runs on it too.
        wake: from an answer's arrival until the worker looks at it, and at those that have come meanwhile.
        scatter: how far latencies lie apart: by as much of it to either side.
        spread: how long after its time a permit may be spent, and by as much the shared rate's period is longer.
        jitter: how much later than that a POST may come, but for no more than one email's share of the period.
    """

    workers: int = 16
    concurrency: int = 64
    rate: float = 0.0
    latency: float = 0.15
    scatter: float = 0.1
    wake: float = 0.0003
    cpu_row: float = 0.0004
    cpu_turn: float = 0.001
    commit_cpu: float = 0.0011
    commit_row: float = 0.00005
    flush: float = 0.002
    trip: float = 0.001
    reserve_cpu: float = 0.0001
    journal_cores: int = 4
    one_machine: int = 0
    vendor_cpu: float = 0.0
    spread: float = 0.025
    jitter: float = 0.02

    @property
    def pace(self) -> float:
        """Emails a second that the shared rate lets through."""
        return self.rate / (1 + self.spread + min(self.jitter, 1 / self.rate))


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What came of it. `used`: for how much of the time something is busy; `spent`: a worker's time, by what for."""

    per_second: float
    commits_per_second: float
    reservations_per_second: float
    emails_a_commit: float
    limit: str
    used: dict[str, float]
    spent: dict[str, float]


class Agenda:
    """What happens next, and what time it is."""

    def __init__(self) -> None:
        self.now = 0.0
        self._numbers = itertools.count()
        self._due: list[tuple[float, int, Then]] = []

    def after(self, seconds: float, then: Then) -> None:
        """Have `then` called so much later."""
        heapq.heappush(self._due, (self.now + seconds, next(self._numbers), then))

    def step(self) -> None:
        """Go to what comes next."""
        self.now, _, then = heapq.heappop(self._due)
        then()


@dataclass(slots=True)
class Cores:
    """Processors that work is dealt out to, in the order in which it comes."""

    agenda: Agenda
    count: int
    busy: int = 0
    used: float = 0.0
    _waiting: deque[tuple[float, Then]] = field(default_factory=deque)

    def work(self, seconds: float, then: Then) -> None:
        """Do it as soon as one is free."""
        if self.busy == self.count:
            self._waiting.append((seconds, then))
            return
        self.busy += 1
        self.used += seconds
        self.agenda.after(seconds, lambda: self._done(then))

    def _done(self, then: Then) -> None:
        self.busy -= 1
        if self._waiting:
            self.work(*self._waiting.popleft())
        then()


@dataclass(slots=True)
class Disk:
    """One flush at a time: who comes meanwhile shares the next."""

    agenda: Agenda
    seconds: float
    used: float = 0.0
    _waiting: list[Then] = field(default_factory=list)
    _flushing: bool = False

    def flush(self, then: Then) -> None:
        """Make durable what was written."""
        self._waiting.append(then)
        if not self._flushing:
            self._begin()

    def _begin(self) -> None:
        self._flushing, served, self._waiting = True, self._waiting, []
        self.used += self.seconds
        self.agenda.after(self.seconds, lambda: self._done(served))

    def _done(self, served: Sequence[Then]) -> None:
        self._flushing = False
        if self._waiting:
            self._begin()
        for then in served:
            then()


@dataclass(slots=True)
class RateRow:
    """The slots of the shared rate: who asks gets the next ones, a step apart."""

    step: float
    due: float = 0.0

    def reserve(self, now: float, wanted: int) -> tuple[int, float]:
        """Grant some permits, and tell when the first may be spent; or none, and when to ask again."""
        first = max(self.due, now)
        if first > now + _AHEAD:
            return 0, first - _AHEAD
        granted = min(wanted, max(int(_BATCH / self.step), 1))
        self.due = first + granted * self.step
        return granted, first


@dataclass(frozen=True, slots=True)
class Reading:
    """What was counted until some time: events, workers' seconds by what for, and the busy seconds of PostgreSQL."""

    at: float
    counts: Counter[str]
    spent: Mapping[str, float]
    cores: float
    disk: float


class World:
    """All of it, and what is counted."""

    def __init__(self, setup: Setup, seed: int) -> None:
        self.setup = setup
        self.agenda = Agenda()
        self.dice = random.Random(seed)  # noqa: S311 - the same run each time is the point
        self.cores = Cores(self.agenda, setup.one_machine or setup.journal_cores)
        self.disk = Disk(self.agenda, setup.flush)
        self.rate = RateRow(1 / setup.pace) if setup.rate else None
        self.counts: Counter[str] = Counter()
        self.workers = [Worker(self) for _ in range(setup.workers)]

    def cores_of(self) -> Cores:
        """A worker's processor."""
        return self.cores if self.setup.one_machine else Cores(self.agenda, 1)

    def until(self, emails: float) -> Reading:
        """Go on until so many are done, and read what was counted."""
        while self.counts["done"] < emails:
            self.agenda.step()
        spent = {state: sum(worker.spent[state] for worker in self.workers) for state in STATES}
        return Reading(self.agenda.now, Counter(self.counts), spent, self.cores.used, self.disk.used)


class Worker:
    """One engine: a single thread that goes round."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.cores = world.cores_of()
        self.in_flight = 0
        self.answers = 0  # that came since the last turn began
        self.ready = 0  # merged, and not claimed so far
        self.permits = 0
        self.permits_at = self.ask_at = 0.0
        self.spent = dict.fromkeys(STATES, 0.0)
        self._outcomes = 0  # of this turn
        self._state, self._since = ANSWERS, 0.0
        self._sleeps = 0  # a sleeper's number; 0 while awake
        self._naps = itertools.count(1)
        # Workers don't begin at the same moment.
        world.agenda.after(world.dice.random() * world.setup.latency, self._turn)

    def _enter(self, state: str) -> None:
        now = self.world.agenda.now
        self.spent[self._state] += now - self._since
        self._state, self._since = state, now

    def _turn(self) -> None:
        setup = self.world.setup
        self._sleeps = 0
        self._outcomes, self.answers = self.answers, 0
        free = setup.concurrency - self.in_flight + self._outcomes
        merged = max(min(free, max(setup.concurrency // 4, _READ_AHEAD)) - self.ready, 0)
        self.ready += merged
        self._enter(MERGING)
        self.cores.work(setup.cpu_turn + merged * setup.cpu_row, self._claim)

    def _claim(self) -> None:
        world, wanted = self.world, min(self.ready, self.world.setup.concurrency - self.in_flight + self._outcomes)
        if world.rate is None:
            self._commit(wanted)
        elif not self.permits and wanted and world.agenda.now >= self.ask_at:
            self._enter(PERMITS)
            world.counts["reservations"] += 1
            answer = partial(world.agenda.after, world.setup.trip, partial(self._reserved, wanted))
            world.cores.work(world.setup.reserve_cpu, answer)
        else:
            self._spend(wanted)

    def _reserved(self, wanted: int) -> None:
        if self.world.rate is not None:
            self.permits, at = self.world.rate.reserve(self.world.agenda.now, wanted)
            self.permits_at, self.ask_at = (at, 0.0) if self.permits else (0.0, at)
        self._spend(wanted)

    def _spend(self, wanted: int) -> None:
        rate, now = self.world.rate, self.world.agenda.now
        if rate is not None and self.permits:  # one each step; what is held for longer than the spread is forfeited
            self._drop(min(int(max(now - self.world.setup.spread - self.permits_at, 0.0) / rate.step), self.permits))
            wanted = min(wanted, self.permits, int((now - self.permits_at) / rate.step + 1 + _ROUNDING))
        claimed = max(wanted, 0) if self.permits else 0
        self._drop(claimed)
        self._commit(claimed)

    def _drop(self, permits: int) -> None:
        self.permits -= permits
        self.permits_at += permits * self.world.rate.step if self.world.rate is not None else 0.0

    def _commit(self, claimed: int) -> None:
        setup, world = self.world.setup, self.world
        emails = (claimed + self._outcomes) / 2  # an intent and an outcome make one
        if not emails:
            self._sleep()
            return
        self._enter(COMMITTING)
        world.counts["commits"] += 1
        answer = partial(world.agenda.after, setup.trip, partial(self._post, claimed))
        world.cores.work(setup.commit_cpu + emails * setup.commit_row, partial(world.disk.flush, answer))

    def _post(self, claimed: int) -> None:
        world, setup = self.world, self.world.setup
        world.counts["done"] += self._outcomes
        self.in_flight += claimed - self._outcomes
        self.ready -= claimed
        for _ in range(claimed):
            answer = partial(world.agenda.after, self._latency(), self._answer)
            if setup.vendor_cpu:
                world.cores.work(setup.vendor_cpu, answer)
            else:
                answer()
        if self.answers or (world.rate is None and self.in_flight < setup.concurrency):
            self._turn()
        else:
            self._sleep()

    def _latency(self) -> float:
        scatter = self.world.setup.scatter
        return self.world.setup.latency * self.world.dice.uniform(1 - scatter, 1 + scatter)

    def _sleep(self) -> None:
        """Until an answer comes, or a permit may be spent or asked for."""
        self._sleeps = number = next(self._naps)
        is_full = self.in_flight >= self.world.setup.concurrency
        self._enter(ANSWERS if is_full or self.world.rate is None else PERMITS)
        if self.answers:  # they came while it asked for permits
            self.world.agenda.after(0.0, partial(self._wake, number))
        if self.world.rate is not None and not is_full:
            at = self.permits_at if self.permits else self.ask_at
            self.world.agenda.after(max(at - self.world.agenda.now, 0.0), partial(self._wake, number))

    def _wake(self, number: int) -> None:
        if self._sleeps == number:
            self._turn()

    def _answer(self) -> None:
        self.answers += 1
        if self._sleeps and self.answers == 1:
            self.world.agenda.after(self.world.setup.wake, partial(self._wake, self._sleeps))


def simulate(setup: Setup, *, emails: int = 100_000, seed: int = 1) -> Found:
    """Send so many emails, and tell what held them up once it was under way."""
    world = World(setup, seed)
    begin = world.until(emails * _WARM)
    end = world.until(emails)
    seconds = end.at - begin.at
    counts = end.counts - begin.counts
    spent = {state: end.spent[state] - begin.spent[state] for state in STATES}
    shares = {state: spent[state] / sum(spent.values()) for state in STATES}
    busy = {
        MACHINE if setup.one_machine else CORES: (end.cores - begin.cores) / seconds / world.cores.count,
        DISK: (end.disk - begin.disk) / seconds,
    }
    per_second = counts["done"] / seconds
    return Found(
        per_second=per_second,
        commits_per_second=counts["commits"] / seconds,
        reservations_per_second=counts["reservations"] / seconds,
        emails_a_commit=counts["done"] / counts["commits"],
        limit=_limit(setup, per_second, busy, shares),
        used=busy,
        spent=shares,
    )


def _limit(setup: Setup, per_second: float, busy: Mapping[str, float], shares: Mapping[str, float]) -> str:
    """What to change first: the rate where it is reached, else what is always busy, else what a worker waits for."""
    if setup.rate and per_second >= _NEARLY * setup.pace:
        return PERMITS
    # A disk that is always busy holds nobody up by that: the next flush takes whoever waits.
    full = [name for name, share in busy.items() if name != DISK and share >= _NEARLY]
    return full[0] if full else max(shares, key=shares.__getitem__)
