"""The loop keeps its promises on a simulated clock: never twice, never lost, never faster than the rate."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import json
import math
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from turbobatch.clock import SystemClock
from turbobatch.engine import Candidate, Control, Engine
from turbobatch.errors import CampaignError, JournalError
from turbobatch.events import Known, Retrying, Settled, Waiting
from turbobatch.journal import Intent, Outcome, SqliteJournal, journal_place, open_journal
from turbobatch.journal.postgres import PostgresJournal
from turbobatch.policy import Policy, Status, StopReason
from turbobatch.rates import Limit, Pacer, Window
from turbobatch.sendapi import Failure, Request, Response
from turbobatch.testing import (
    FakeClock,
    FakeTransport,
    bad_credentials,
    fields_of,
    no_answer,
    no_connection,
    ok,
    refused,
    throttled,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from turbobatch.engine import FeedItem
    from turbobatch.events import RunEvent
    from turbobatch.journal import Entry
    from turbobatch.testing import Answer
    from turbobatch.transport import Completion, Job


class Timeline(FakeClock):
    """A clock on which something happens at given moments, as another thread would do it."""

    def __init__(self, now: float = 1_800_000_000.0) -> None:
        super().__init__(now)
        self._plans: list[tuple[float, int, Callable[[], None]]] = []
        self._numbers = itertools.count()

    def at(self, moment: float, do: Callable[[], None]) -> None:
        heapq.heappush(self._plans, (moment, next(self._numbers), do))

    def advance_to(self, moment: float) -> None:
        super().advance_to(moment)
        while self._plans and self._plans[0][0] <= self.monotonic():
            heapq.heappop(self._plans)[2]()


class NotingTransport(FakeTransport):
    """Notes what the tests ask about a run's POSTs."""

    before_submit: Callable[[Sequence[Job]], None] | None = None
    most_in_flight = 0
    polls = 0

    def submit(self, jobs: Sequence[Job]) -> None:
        if self.before_submit is not None:
            self.before_submit(jobs)
        super().submit(jobs)
        self.most_in_flight = max(self.most_in_flight, self.in_flight)

    def poll(self, timeout: float) -> list[Completion]:
        self.polls += 1
        assert self.polls < 200_000, "the loop spins"
        return super().poll(timeout)

    @property
    def keys(self) -> list[str]:
        return [fields["reference_id"] for fields in self.requests]


@dataclass
class Scene:
    """An engine's whole world."""

    journal: SqliteJournal
    clock: Timeline = field(default_factory=Timeline)
    control: Control = field(default_factory=Control)
    events: list[RunEvent] = field(default_factory=list)
    transport: NotingTransport = field(default_factory=NotingTransport)
    engine: Engine | None = None

    def run(
        self,
        feed: Iterable[FeedItem],
        answer: Callable[[Request], Answer] | Iterable[Answer] = (),
        *,
        latency: float | Callable[[Request], float] = 0.2,
        limits: Iterable[Limit] = (),
        concurrency: int = 4,
        before_submit: Callable[[Sequence[Job]], None] | None = None,
        **options: Any,
    ) -> StopReason | None:
        """Run an engine to its end on the scene's clock and journal."""
        self.transport = NotingTransport(answer, latency=latency, clock=self.clock)
        self.transport.before_submit = before_submit
        settings: dict[str, Any] = {
            "journal": self.journal,
            "emit": self.events.append,
            "dice": SteadyDice(),
            "pacer": Pacer(limits),
            **options,
        }
        self.engine = Engine(
            feed=iter(feed),
            transport=self.transport,
            concurrency=concurrency,
            clock=self.clock,
            control=self.control,
            **settings,
        )
        return self.engine.run()

    def statuses(self, *keys: str) -> list[Status]:
        found = self.journal.lookup(keys)
        return [found[key].status for key in keys]

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.events if isinstance(event, kind)]


class SteadyDice(random.Random):
    """Dice that always fall in the middle."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


@pytest.fixture
def scene() -> Iterator[Scene]:
    with SqliteJournal() as journal:
        yield Scene(journal)


def candidate(number: int, *, key: str | None = None, size: int = 1, resend: bool = False) -> Candidate:
    key = key or f"k{number}"
    body = json.dumps({"reference_id": key}).encode()
    request = Request("https://api.example/mail/send", {"Content-Type": "application/json"}, body)
    return Candidate(number, size, key, f"digest {key}", request, resend, f"to {key}")


def rows(count: int) -> list[FeedItem]:
    return [candidate(number) for number in range(count)]


def keys(count: int) -> list[str]:
    return [f"k{number}" for number in range(count)]


def by_key(answers: dict[str, list[Answer]]) -> Callable[[Request], Answer]:
    """Answers in turn for some keys, OK for all others."""
    left = {key: iter(items) for key, items in answers.items()}
    return lambda request: next(left.get(fields_of(request)["reference_id"], iter(())), ok())


class TestGoodWeather:
    def test_sends_every_row_in_order(self, scene: Scene) -> None:
        """Each once, each with its verdict in the journal and an event."""
        assert scene.run(rows(50), lambda _: ok(mid=7)) is None
        assert scene.transport.keys == keys(50)
        assert scene.journal.counts() == {Status.SENT: 50}
        assert [event.number for event in scene.of(Settled)] == list(range(50))
        entry = scene.journal.lookup(["k3"])["k3"]
        assert (entry.mid, entry.http_status, entry.attempts, entry.seconds, entry.message) == ("7", 200, 1, 0.2, "OK")
        assert (entry.digest, entry.recipients) == ("digest k3", "to k3")

    def test_of_nothing_ends_at_once(self, scene: Scene) -> None:
        """An empty table is no trouble."""
        assert scene.run([]) is None
        assert scene.transport.requests == []
        assert scene.events == []

    @pytest.mark.parametrize("concurrency", [1, 3, 16, 40])
    def test_keeps_to_its_concurrency_and_uses_it(self, scene: Scene, concurrency: int) -> None:
        """POSTs in flight are bounded, also while some of them hang."""
        dice = random.Random(3)  # noqa: S311 - a simulation
        scene.run(rows(200), latency=lambda _: dice.choice([0.05, 0.2, 5.0]), concurrency=concurrency)
        assert scene.transport.most_in_flight == concurrency
        assert scene.journal.counts() == {Status.SENT: 200}

    def test_tells_the_verdict_of_a_refusal(self, scene: Scene) -> None:
        """The API's own errors reach the journal and the event, and the run goes on."""
        scene.run(rows(3), by_key({"k1": [refused("'x' 'to' email not valid", "'y' 'cc' email not valid")]}))
        assert scene.statuses("k0", "k1", "k2") == [Status.SENT, Status.REJECTED, Status.SENT]
        assert scene.journal.lookup(["k1"])["k1"].errors == ("'x' 'to' email not valid", "'y' 'cc' email not valid")
        told = {event.number: event.message for event in scene.of(Settled)}
        assert told[1] == "'x' 'to' email not valid; 'y' 'cc' email not valid"

    def test_passes_on_what_needs_no_post(self, scene: Scene) -> None:
        """Rows that the journal knows, and rows that are settled on the way, become events and entries."""
        noted = Outcome(key="bad", status=Status.INVALID, message="row 1: no", time=5.0, posted=False)
        items: list[FeedItem] = [
            Known(Counter({Status.SENT: 3})),
            Settled(1, 2, Status.INVALID, "bad", "row 1: no", noted),
            candidate(3),
            Settled(4, 1, Status.DUPLICATE, "k3", "row 4: same key as row 3"),
        ]
        scene.run(items)
        assert [event for event in scene.events if event in items] == [items[0], items[1], items[3]]
        assert scene.statuses("bad", "k3") == [Status.INVALID, Status.SENT]
        assert scene.transport.keys == ["k3"]

    def test_settles_rows_by_the_thousand_without_waiting(self, scene: Scene) -> None:
        """A second run over a long table costs no time on the clock."""
        scene.run([Known(Counter({Status.SENT: 1})) for _ in range(5000)])
        assert len(scene.events) == 5000
        assert scene.clock.monotonic() <= 0.1

    def test_one_verdict_for_all_rows_of_a_group(self, scene: Scene) -> None:
        """The event carries how many."""
        scene.run([candidate(0, size=5)])
        assert [(event.size, event.status) for event in scene.of(Settled)] == [(5, Status.SENT)]


class TestOrder:
    def test_intents_are_durable_before_their_post_begins(self, scene: Scene) -> None:
        """At the moment of the POST the journal says "in doubt" already."""

        def check(jobs: Sequence[Job]) -> None:
            submitted = [fields_of(job.request)["reference_id"] for job in jobs]
            assert scene.statuses(*submitted) == [Status.IN_DOUBT] * len(jobs)
            assert not scene.journal._db.in_transaction

        scene.run(rows(30), by_key({"k3": [no_connection()]}), before_submit=check)
        assert len(scene.transport.requests) == 31

    def test_outcomes_are_durable_before_they_are_told(self, scene: Scene) -> None:
        """Whoever hears of a verdict finds it in the journal."""
        seen = []

        def check(event: RunEvent) -> None:
            if isinstance(event, Settled) and event.key is not None:
                seen.append(event.key)
                assert scene.statuses(event.key) == [event.status]

        items: list[FeedItem] = [
            *rows(10),
            Settled(
                10,
                1,
                Status.INVALID,
                "x",
                "",
                Outcome(key="x", status=Status.INVALID, message="", time=1.0, posted=False),
            ),
        ]
        scene.run(items, by_key({"k3": [no_answer()], "k4": [refused("no")]}), emit=check)
        assert sorted(seen) == sorted([*keys(10), "x"])

    def test_what_another_process_has_claimed_is_not_posted(self, scene: Scene, database: str) -> None:
        """Its rows are told as the journal has them, the run goes on with the rest, and no permit is lost."""
        place = journal_place(database)
        pacer = Pacer([Limit(7, 1e6)])
        with open_journal(place, "receipts") as other, open_journal(place, "receipts") as journal:
            other.commit([Intent(key=key, digest="d", time=1.0) for key in ("k2", "k5")], [])
            other.commit([], [Outcome(key="k5", status=Status.SENT, message="OK", time=2.0, posted=True)])
            scene.run(rows(9), concurrency=3, slots=3, journal=journal, pacer=pacer)
            assert [item["reference_id"] for item in scene.transport.requests] == [
                key for key in keys(9) if key not in ("k2", "k5")
            ]
            told = {event.key: event.status for event in scene.of(Settled)}
            assert told == dict.fromkeys(keys(9), Status.SENT) | {"k2": Status.IN_DOUBT}
            assert journal.counts() == {Status.SENT: 8, Status.IN_DOUBT: 1}

    def test_a_commit_holds_the_outcomes_and_the_next_intents(self, scene: Scene) -> None:
        """One sync for both: fewer commits than POSTs where several are in flight."""
        commits = []

        class Counting(SqliteJournal):
            def commit(self, intents: Sequence[Intent], outcomes: Sequence[Outcome]) -> Mapping[str, Entry]:
                if intents or outcomes:
                    commits.append((len(intents), len(outcomes)))
                return super().commit(intents, outcomes)

        with Counting() as journal:
            scene.run(rows(40), concurrency=4, slots=4, journal=journal)
        assert commits == [(4, 0), *[(4, 4)] * 9, (0, 4)]

    @pytest.mark.parametrize("failing", [0, 1, 3])
    def test_a_journal_that_fails_stops_everything(self, scene: Scene, failing: int) -> None:
        """Nothing more is posted; what has come back is written with the next commit, and told."""
        commits = itertools.count()

        class Failing(SqliteJournal):
            def commit(self, intents: Sequence[Intent], outcomes: Sequence[Outcome]) -> Mapping[str, Entry]:
                if (intents or outcomes) and next(commits) == failing:
                    raise JournalError("the disk is full")
                return super().commit(intents, outcomes)

        with Failing() as journal:
            with pytest.raises(JournalError, match="disk is full"):
                scene.run(rows(40), concurrency=2, slots=2, journal=journal)
            assert len(scene.transport.requests) == failing * 2
            assert len(scene.of(Settled)) == failing * 2
            assert journal.counts() == ({Status.SENT: failing * 2} if failing else {})

    @pytest.mark.parametrize("claimed", [0, 2])
    @pytest.mark.parametrize("failing", [0, 1, 3])
    def test_a_rate_that_can_not_be_asked_for_stops_everything(self, scene: Scene, failing: int, claimed: int) -> None:
        """It may lie in the journal's database: nothing more is posted, and what comes back is written."""
        asked = itertools.count()

        class Failing(Pacer):
            def room(self, now: float, want: int) -> int:
                if not claimed and next(asked) == failing:
                    raise JournalError("no connection")
                return super().room(now, want)

            def take(self, now: float, want: int) -> int:
                if claimed and next(asked) == failing:
                    raise JournalError("no connection")
                return super().take(now, want)

        with pytest.raises(JournalError, match="no connection"):
            scene.run(rows(40), concurrency=2, slots=2, pacer=Failing(()))
        assert len(scene.transport.requests) == failing * 2
        assert len(scene.of(Settled)) == failing * 2
        counts = Counter({Status.SENT: failing * 2, Status.PENDING: claimed})
        assert Counter(scene.journal.counts()) == +counts

    def test_a_key_that_was_sent_is_never_posted(self, scene: Scene) -> None:
        """Even a feed at fault can't send twice: the journal refuses before the POST."""
        scene.run([candidate(0)])
        with pytest.raises(JournalError, match="contradicts"):
            scene.run([candidate(0)])
        assert scene.transport.requests == []

    def test_a_key_in_doubt_is_never_posted_unasked(self, scene: Scene) -> None:
        """Nor is one of which a POST is still under way."""
        scene.run([candidate(0)], [no_answer()])
        with pytest.raises(JournalError, match="contradicts"):
            scene.run([candidate(0)])
        assert scene.transport.requests == []
        with pytest.raises(JournalError, match="contradicts"):
            scene.run([candidate(1), candidate(1)], concurrency=1, latency=0.0, answer=[no_answer(), ok()])
        assert len(scene.transport.requests) == 1

    def test_a_row_in_doubt_goes_out_again_on_demand(self, scene: Scene) -> None:
        """The mark travels from the feed to the journal."""
        scene.run([candidate(0)], [no_answer()])
        scene.run([candidate(0, resend=True)])
        entry = scene.journal.lookup(["k0"])["k0"]
        assert (entry.status, entry.attempts) == (Status.SENT, 2)


class TestResend:
    """A doubt ends with `sent` or by hand, whatever else the later POSTs come to."""

    @pytest.mark.parametrize(
        "answers",
        [
            [no_connection()] * 3,
            [refused("'x' 'to' email not valid")],
            [refused("nocredit")],
            [bad_credentials()],
            [Response(302, {"location": "https://x.example"}, b"")],
            [throttled()] * 99,
            [no_answer()],
        ],
        ids=["no connection", "refused", "no credit", "credentials", "redirect", "throttled", "no answer"],
    )
    def test_that_proves_nothing_leaves_the_doubt(self, scene: Scene, answers: list[Answer]) -> None:
        """The event says the same as the journal, and a plain run doesn't post the row."""
        scene.run([candidate(0)], [no_answer()])
        scene.events.clear()
        scene.run([candidate(0, resend=True)], answers)
        entry = scene.journal.lookup(["k0"])["k0"]
        assert entry.status is Status.IN_DOUBT
        assert "; an earlier POST of this email is still in doubt" in entry.message
        assert {event.status for event in scene.of(Settled)} <= {Status.IN_DOUBT}
        with pytest.raises(JournalError, match="contradicts"):
            scene.run([candidate(0)])
        assert scene.transport.requests == []

    def test_is_retried_within_its_run(self, scene: Scene) -> None:
        """A POST that surely wasn't accepted is tried again, in doubt all the while."""
        scene.run([candidate(0)], [no_answer()])
        between: list[Status] = []

        def note(jobs: Sequence[Job]) -> None:
            between.extend(scene.journal.lookup(["k0"])["k0"].status for _ in jobs)

        scene.run([candidate(0, resend=True)], [no_connection(), throttled(1), ok()], before_submit=note)
        assert between == [Status.IN_DOUBT] * 3
        entry = scene.journal.lookup(["k0"])["k0"]
        assert (entry.status, entry.attempts, entry.message) == (Status.SENT, 4, "OK")


class TestSlowStart:
    def test_doubles_with_each_healthy_answer(self, scene: Scene) -> None:
        """One POST until the service is known to be well, then soon all that are allowed."""
        waves = []
        scene.run(rows(200), concurrency=16, before_submit=lambda jobs: waves.append(len(jobs)))
        assert [wave for wave in waves if wave][:5] == [1, 2, 8, 16, 16]
        assert scene.transport.most_in_flight == 16

    def test_costs_few_rows_where_the_service_is_ill(self, scene: Scene) -> None:
        """An outage that began before the run leaves no more rows in doubt than it takes to notice it."""
        for begun in range(0, 300, 100):
            assert scene.run(rows(300)[begun:], lambda _: no_answer(), concurrency=64) is StopReason.OUTAGE
        assert scene.journal.counts() == {Status.IN_DOUBT: 3 * Policy().threshold}

    def test_a_refusal_is_a_healthy_answer(self, scene: Scene) -> None:
        """Also a bad row proves that the service is there; a failure opens no further slot."""
        scene.run(rows(40), by_key({"k0": [refused("no")], "k1": [no_answer()]}), concurrency=4)
        assert scene.transport.most_in_flight == 4
        scene.run(rows(43)[40:], lambda _: no_answer(), concurrency=4)
        assert scene.transport.most_in_flight == 1


class TestFeedFailure:
    def test_waits_for_the_verdicts_under_way(self, scene: Scene) -> None:
        """A table that turns out malformed costs no row its verdict, and is told in the end."""

        def feed() -> Iterator[FeedItem]:
            yield from rows(4)
            raise CampaignError("line 6 of t.csv has 3 cells instead of 2")

        with pytest.raises(CampaignError, match="line 6"):
            scene.run(feed(), latency=5.0, concurrency=4, slots=4)
        assert scene.journal.counts() == {Status.SENT: 4}

    def test_begins_nothing_new(self, scene: Scene) -> None:
        """Neither rows read before nor retries."""

        def feed() -> Iterator[FeedItem]:
            yield from rows(3)
            raise CampaignError("cut off")

        with pytest.raises(CampaignError):
            scene.run(feed(), [no_connection()], concurrency=2)
        assert scene.journal.counts() == {Status.PENDING: 1, Status.SENT: 1}
        assert len(scene.transport.requests) == 2


class TestRate:
    @pytest.mark.parametrize("seed", range(6))
    def test_is_a_ceiling_in_every_sliding_window(self, scene: Scene, seed: int) -> None:
        """Retries count too; measured where the POSTs leave."""
        dice = random.Random(seed)  # noqa: S311 - a simulation
        limits = [Limit(5, 1.0), Limit(40, 61.0)]

        def answer(_request: Request) -> Answer:
            answers: list[Answer] = [ok(), ok(), ok(), no_connection(), refused("no"), throttled(1)]
            return dice.choice(answers)

        scene.run(rows(120), answer, latency=lambda _: dice.uniform(0.01, 2.0), limits=limits, concurrency=8)
        times = scene.transport.times
        assert len(times) >= 120
        for limit in limits:
            for first, beyond in zip(times, times[limit.count :], strict=False):
                assert beyond - first >= limit.period

    def test_is_kept_evenly_and_fully(self, scene: Scene) -> None:
        """No bursts, and no time lost: 10 a second are a POST each tenth."""
        scene.run(rows(100), limits=[Limit(10, 1.0)], concurrency=8, slots=8)
        gaps = [after - before for before, after in pairwise(scene.transport.times)]
        assert min(gaps) > 0.09
        assert scene.transport.times[-1] < 10.5

    def test_quotas_survive_a_restart(self, scene: Scene) -> None:
        """What the journal says was posted counts, by the wall clock."""
        limits = [Limit(10, 120.0)]
        scene.clock.at(5.0, scene.control.stop.set)
        assert scene.run(rows(20), limits=limits) is StopReason.USER
        assert scene.journal.counts() == {Status.SENT: 10}
        scene.control = Control()
        began = scene.clock.monotonic()
        scene.run(rows(20)[10:], limits=limits)
        assert scene.transport.times[0] >= 120.0
        assert began < 10.0
        assert scene.journal.counts() == {Status.SENT: 20}

    def test_a_clock_put_back_holds_up_no_longer_than_the_limit(self, scene: Scene) -> None:
        """POSTs from "the future" count as just begun, not as a ban until then."""
        later = scene.clock.time() + 86_400
        scene.journal.commit([Intent(key=f"old {number}", digest="d", time=later) for number in range(5)], [])
        scene.run(rows(1), limits=[Limit(5, 70.0)])
        assert scene.transport.times == [pytest.approx(70.0, abs=0.2)]

    def test_a_clock_that_was_ahead_is_paid_for_once(self, scene: Scene) -> None:
        """Each run finds those POSTs in the future; they don't begin anew with each."""
        later = scene.clock.time() + 86_400
        scene.journal.commit([Intent(key=f"old {number}", digest="d", time=later) for number in range(5)], [])
        scene.clock.at(40.0, scene.control.stop.set)
        scene.run(rows(1), limits=[Limit(5, 70.0)])
        assert scene.transport.times == []
        scene.control = Control()
        scene.run(rows(1), limits=[Limit(5, 70.0)])
        assert scene.transport.times == [pytest.approx(70.0, abs=0.2)]

    def test_tells_when_it_waits_for_a_quota(self, scene: Scene) -> None:
        """Once when the wait begins, once when it ends; the ordinary pace is no news."""
        scene.run(rows(15), limits=[Limit(10, 120.0), Limit(5, 1.0)])
        reasons = [event.reason for event in scene.of(Waiting)]
        assert reasons == ["the rate of 10/2 minutes", ""]
        assert scene.of(Waiting)[0].until == pytest.approx(scene.clock.time() - scene.clock.monotonic() + 120.0, abs=1)


class StallingJournal(SqliteJournal):
    """A commit takes as long as the next one of these says."""

    def __init__(self, clock: FakeClock, stalls: Iterable[float]) -> None:
        super().__init__()
        self.clock = clock
        self.stalls = iter(stalls)

    def commit(self, intents: Sequence[Intent], outcomes: Sequence[Outcome]) -> Mapping[str, Entry]:
        if intents or outcomes:
            self.clock.advance(next(self.stalls, 0.0))
        return super().commit(intents, outcomes)


class Late(Pacer):
    """Permits are over by the time of the POST, as those of a shared rate may be; from `again` on there are others."""

    def __init__(self, again: float = math.inf, each: int = 99) -> None:
        super().__init__(())
        self.again, self.each = again, each
        self.asked: list[tuple[float, int]] = []

    def take(self, now: float, want: int) -> int:
        self.asked.append((now, want))
        return min(want, self.each) if now >= self.again else 0

    def next_at(self, now: float) -> float:
        return max(now, min(self.again, now + 3600)) if self.asked else now

    def waiting_for(self, now: float) -> Limit | None:
        return Limit(1, 60.0) if self.next_at(now) > now else None


class TestCommitsThatTakeLong:
    """The permits that count are those of the moment of the POST; what is claimed waits for them."""

    @pytest.mark.parametrize("seed", range(8))
    def test_never_make_the_rate_more_than_it_is(self, scene: Scene, seed: int) -> None:
        """In any sliding window, measured where the POSTs leave; and no row is claimed in vain."""
        dice = random.Random(seed)  # noqa: S311 - a simulation
        limits = [[Limit(5, 1.0), Limit(40, 61.0)], [Limit(50, 1.0)], [Limit(1, 0.5)]][seed % 3]
        stalls = (dice.choice([0.0, 0.004, 0.02, 0.3, 1.2, 2.5]) * dice.random() for _ in itertools.count())

        with StallingJournal(scene.clock, stalls) as journal:
            scene.run(rows(150), latency=lambda _: dice.uniform(0.01, 1.0), limits=limits, concurrency=16,
                      slots=16, journal=journal)  # fmt: skip
            assert max(entry.attempts for entry in journal.entries(Status.SENT)) == 1
        assert sorted(scene.transport.keys) == sorted(keys(150))
        times = scene.transport.times
        for limit in limits:
            for first, beyond in zip(times, times[limit.count :], strict=False):
                assert beyond - first >= limit.period

    def test_leave_rows_waiting_until_there_are_permits(self, scene: Scene) -> None:
        """Claimed, in flight for everybody else, and told; nothing more is claimed, and each goes once, in order."""
        pacer = Late(again=50.0, each=1)
        seen: list[int] = []
        scene.clock.at(30.0, lambda: seen.append(scene.journal.counts()[Status.IN_DOUBT]))
        assert scene.run(rows(9), concurrency=3, slots=3, pacer=pacer) is None
        assert seen == [3]
        assert scene.transport.times[0] == pytest.approx(50.0, abs=0.1)
        assert scene.transport.keys == keys(9)
        assert scene.transport.most_in_flight <= 3
        assert scene.transport.polls < 1000
        assert scene.of(Waiting)[0].reason == "the rate of 1/minute"
        assert scene.journal.counts() == {Status.SENT: 9}

    def test_and_a_stop_leave_nothing_in_doubt(self, scene: Scene) -> None:
        """What waited was never posted: it is pending, and the next run sends it."""
        scene.clock.at(5.0, scene.control.stop.set)
        assert scene.run(rows(9), concurrency=3, slots=3, pacer=Late()) is StopReason.USER
        assert scene.clock.monotonic() < 6.0
        assert scene.journal.counts() == {Status.PENDING: 3}
        assert "not posted" in scene.journal.lookup(["k0"])["k0"].message
        scene.control = Control()
        scene.run(rows(9))
        assert scene.transport.keys == keys(9)

    def test_and_a_table_that_fails_leave_nothing_in_doubt(self, scene: Scene) -> None:
        """Nor does any other end."""

        def feed() -> Iterator[FeedItem]:
            yield from rows(2)
            raise CampaignError("cut off")

        with pytest.raises(CampaignError):
            scene.run(feed(), concurrency=2, slots=2, pacer=Late())
        assert Status.IN_DOUBT not in scene.journal.counts()
        assert scene.transport.requests == []

    @pytest.mark.parametrize("during", [False, True])
    def test_and_a_pause_withdraw_what_waits(self, scene: Scene, *, during: bool) -> None:
        """It is pending until Resume, and goes then: a pause may be a night."""
        seen: list[Any] = []
        scene.clock.at(0.5 if during else 5.0, scene.control.pause.set)
        scene.clock.at(300.0, lambda: seen.append(scene.journal.counts()))
        scene.clock.at(500.0, scene.control.pause.clear)
        with StallingJournal(scene.clock, [1.0] if during else []) as scene.journal:
            assert scene.run(rows(9), concurrency=3, slots=3, pacer=Late(again=400.0)) is None
            assert scene.journal.counts() == {Status.SENT: 9}
        assert seen == [{Status.PENDING: 3}]
        assert min(scene.transport.times) >= 500.0
        assert scene.transport.keys == keys(9)

    def test_past_the_window_post_nothing(self, scene: Scene) -> None:
        """It closed while they went on."""
        scene.clock = Timeline(datetime(2026, 11, 3, 18, 0, tzinfo=UTC).timestamp() - 3.0)
        scene.clock.at(60.0, scene.control.stop.set)
        with StallingJournal(scene.clock, [5.0]) as journal:
            window = Window.parse("Mon-Fri 09:00-18:00 UTC")
            assert scene.run(rows(3), window=window, journal=journal) is StopReason.USER
            assert journal.counts() == {Status.PENDING: 1}
        assert scene.transport.requests == []

    def test_and_an_outage_leave_single_probes(self, scene: Scene) -> None:
        """What waited when it began goes when the API is back, or looks for it."""
        at_once: list[tuple[int, int]] = []

        def note(jobs: Sequence[Job]) -> None:
            at_once.append((len(jobs), scene.transport.in_flight))

        class Uneven(Late):
            def take(self, now: float, want: int) -> int:
                self.again = now if now < 0.5 or now > 1.5 else math.inf
                return super().take(now, want)

            def next_at(self, now: float) -> float:
                return now if now > 1.5 else min(super().next_at(now), max(now, 1.6))

        def answer(_request: Request) -> Answer:
            return no_connection() if scene.clock.monotonic() < 20.0 else ok()

        reason = scene.run(rows(12), answer, latency=0.9, concurrency=8, slots=6, pacer=Uneven(),
                           policy=Policy(first_patience=100.0), before_submit=note)  # fmt: skip
        assert reason is None
        assert at_once[0] == (6, 0)
        assert set(at_once[1:4]) == {(1, 0)}
        assert scene.journal.counts() == {Status.SENT: 12}

    def test_leave_an_earlier_doubt_as_it_was(self, scene: Scene) -> None:
        """That nothing was posted now says nothing of then."""
        scene.run([candidate(0)], [no_answer()])
        scene.clock.at(scene.clock.monotonic() + 5.0, scene.control.stop.set)
        scene.run([candidate(0, resend=True)], pacer=Late())
        entry = scene.journal.lookup(["k0"])["k0"]
        assert entry.status is Status.IN_DOUBT
        assert "not posted" in entry.message
        assert "an earlier POST of this email is still in doubt" in entry.message

    @pytest.mark.parametrize("stopped", [False, True])
    def test_past_the_lease_post_nothing(
        self, scene: Scene, database: str, monkeypatch: pytest.MonkeyPatch, *, stopped: bool
    ) -> None:
        """Of a process that was stopped: others may have settled its claims. One that only waits keeps its lease."""
        monkeypatch.setenv("TURBOBATCH_LEASE", "1")

        class Slow(Pacer):
            def take(self, now: float, want: int) -> int:
                with journal._lock if stopped else contextlib.nullcontext():  # its other threads stood still, too
                    time.sleep(1.5)
                return super().take(now, want)

        with open_journal(journal_place(database), "receipts") as journal:
            assert isinstance(journal, PostgresJournal)
            if stopped:
                with pytest.raises(JournalError, match="was lost"):
                    scene.run(rows(1), journal=journal, pacer=Slow(()))
            else:
                assert scene.run(rows(1), journal=journal, pacer=Slow(())) is None
        assert len(scene.transport.requests) == (not stopped)


class TestRetries:
    def test_wait_longer_and_longer(self, scene: Scene) -> None:
        """The first after one second, the next after two; other rows go on meanwhile."""
        scene.run(rows(3), by_key({"k0": [no_connection(), no_connection()]}), latency=0.0, concurrency=2)
        at = [time for time, key in zip(scene.transport.times, scene.transport.keys, strict=True) if key == "k0"]
        assert at == [0.0, 1.0, 3.0]
        assert [(event.key, event.seconds) for event in scene.of(Retrying)] == [("k0", 1.0), ("k0", 2.0)]
        entry = scene.journal.lookup(["k0"])["k0"]
        assert (entry.status, entry.attempts) == (Status.SENT, 3)
        assert scene.transport.times[2] < 1.0

    def test_are_used_up_after_three(self, scene: Scene) -> None:
        """The row has failed, told with what went wrong; nothing else is touched."""
        scene.run(rows(3), by_key({"k1": [no_connection("no connection (timeout)")] * 9}))
        assert scene.statuses("k0", "k1", "k2") == [Status.SENT, Status.FAILED, Status.SENT]
        assert scene.transport.keys.count("k1") == 3
        assert scene.of(Settled)[-1].message == "no connection (timeout)"

    def test_are_durable_as_pending(self, scene: Scene) -> None:
        """A crash while a row waits for its next try leaves it surely unsent."""
        states = []

        def look(event: RunEvent) -> None:
            if isinstance(event, Retrying):
                states.append(scene.statuses(event.key))

        scene.run(rows(1), [no_connection(), no_connection()], emit=look)
        assert states == [[Status.PENDING]] * 2

    def test_never_for_a_row_in_doubt(self, scene: Scene) -> None:
        """No answer, an unreadable one, a server error: posted once, whatever it was."""
        doubtful: list[Answer] = [
            no_answer(),
            Response(200, {}, b"<html>"),
            Response(200, {}, b""),
            Response(500, {}, b""),
            Response(503, {"retry-after": "1"}, b""),
        ]
        answers = by_key({f"k{2 * number}": [answer] for number, answer in enumerate(doubtful)})
        scene.run(rows(10), answers, concurrency=1)
        assert scene.transport.keys == keys(10)
        assert scene.journal.counts() == {Status.IN_DOUBT: 5, Status.SENT: 5}

    def test_hold_new_rows_back_without_spinning(self, scene: Scene) -> None:
        """With as many rows waiting as may be in flight, the loop sleeps until the first is due."""
        scene.run(rows(10), by_key({"k0": [no_connection()] * 2, "k1": [no_connection()]}), latency=0.0, concurrency=2)
        assert scene.transport.keys[:5] == ["k0", "k1", "k0", "k1", "k2"]
        assert scene.transport.polls < 100
        assert scene.journal.counts() == {Status.SENT: 10}


class TestThrottling:
    def test_pauses_everything_as_long_as_asked(self, scene: Scene) -> None:
        """No POST begins before Retry-After is over; then the row is tried again, and first."""
        scene.run(rows(8), by_key({"k2": [throttled(30)]}), concurrency=2, slots=2, latency=0.5)
        before = [time for time in scene.transport.times if time < 30]
        assert len(before) == 4
        assert scene.transport.times[4] == pytest.approx(31.0, abs=0.01)
        assert scene.transport.keys[4] == "k2"
        assert scene.journal.counts() == {Status.SENT: 8}
        assert [event.reason for event in scene.of(Waiting)] == ["the pause that the API asked for", ""]

    def test_does_not_count_against_the_row(self, scene: Scene) -> None:
        """However often the API was busy, the row keeps its tries."""
        answers: list[Answer] = [*[throttled(1)] * 4, no_connection(), throttled(1), no_connection()]
        assert scene.run(rows(1), answers) is None
        entry = scene.journal.lookup(["k0"])["k0"]
        assert (entry.status, entry.attempts) == (Status.SENT, 8)

    def test_pauses_grow_where_the_api_names_no_time(self, scene: Scene) -> None:
        """Also when it is another row each time."""
        scene.run(rows(1), [throttled(), throttled(), throttled(), throttled()], latency=0.0)
        assert scene.transport.times == [0.0, 1.0, 3.0, 7.0, 15.0]

    def test_in_a_row_end_the_run(self, scene: Scene) -> None:
        """An API that only ever asks for pauses isn't waited for all day; the rows stay pending."""
        assert scene.run(rows(3), lambda _: throttled(5), concurrency=1) is StopReason.THROTTLED
        assert len(scene.transport.requests) == 9
        assert scene.statuses("k0") == [Status.PENDING]

    def test_of_posts_in_flight_together_counts_once(self, scene: Scene) -> None:
        """Sixteen answers to one wave are one pause."""
        answers = [throttled(5) for _ in range(16 * 8)]
        dice = random.Random(1)  # noqa: S311 - a simulation
        assert scene.run(rows(16), answers, latency=lambda _: dice.uniform(0.1, 0.9), concurrency=16, slots=16) is None
        assert scene.journal.counts() == {Status.SENT: 16}

    def test_with_successes_between_goes_on(self, scene: Scene) -> None:
        """Only pauses with nothing between them end a run."""
        answers = itertools.cycle([throttled(1), ok()])
        assert scene.run(rows(30), lambda _: next(answers), concurrency=1) is None
        assert scene.journal.counts() == {Status.SENT: 30}


class TestStops:
    @pytest.mark.parametrize(
        ("answer", "reason", "message"),
        [
            (bad_credentials(), StopReason.CREDENTIALS, "HTTP 401: Wrong credentials specified"),
            (Response(403, {}, b""), StopReason.CREDENTIALS, "HTTP 403, no readable answer"),
            (refused("nocredit"), StopReason.NO_CREDIT, "nocredit"),
            (
                Response(302, {"location": "https://elsewhere.example/?secret"}, b""),
                StopReason.MISDIRECTED,
                "HTTP 302, no readable answer, a redirect to https://elsewhere.example/",
            ),
            (
                Failure("the host's certificate is not valid", started=False, certificate=True),
                StopReason.MISDIRECTED,
                "the host's certificate is not valid",
            ),
        ],
    )
    def test_what_condemns_the_run_leaves_rows_pending(
        self, scene: Scene, answer: Answer, reason: StopReason, message: str
    ) -> None:
        """The row that met it is pending again, the rest was never touched, and the API's words are kept."""
        assert scene.run(rows(20), by_key({"k2": [answer]}), concurrency=1) is reason
        assert scene.engine is not None
        assert scene.engine.stop_message == message
        assert scene.transport.keys == keys(3)
        assert scene.statuses("k0", "k1", "k2") == [Status.SENT, Status.SENT, Status.PENDING]
        assert [event.number for event in scene.of(Settled)] == [0, 1]
        scene.run(rows(20)[2:])
        assert scene.journal.counts() == {Status.SENT: 20}

    def test_wait_for_the_posts_in_flight(self, scene: Scene) -> None:
        """What is under way gets its verdict before the run ends."""
        latencies = itertools.chain([1.0, 9.0, 9.0, 9.0], itertools.repeat(1.0))
        reason = scene.run(
            rows(20), [bad_credentials(), ok(), refused("no"), no_answer()], latency=lambda _: next(latencies), slots=4
        )
        assert reason is StopReason.CREDENTIALS
        assert scene.statuses(*keys(4)) == [Status.PENDING, Status.SENT, Status.REJECTED, Status.IN_DOUBT]
        assert len(scene.transport.requests) == 4

    def test_keep_the_first_reason(self, scene: Scene) -> None:
        """What comes while the run winds down doesn't change why it ended."""
        answers = [refused("nocredit"), bad_credentials(), bad_credentials()]
        latencies = itertools.count(1.0)
        assert scene.run(rows(9), answers, latency=lambda _: next(latencies), concurrency=3) is StopReason.NO_CREDIT


class TestOutage:
    def test_opens_after_five_failures_then_probes_one_at_a_time(self, scene: Scene) -> None:
        """While the API is away single POSTs look for it; once it answers all go on, and no row is lost."""
        down, up = 10.0, 60.0

        def answer(_request: Request) -> Answer:
            return no_connection() if down <= scene.clock.monotonic() < up else ok()

        at_once = []
        reason = scene.run(
            rows(600),
            answer,
            latency=0.1,
            limits=[Limit(10, 1.0)],
            concurrency=8,
            before_submit=lambda jobs: at_once.append((scene.clock.monotonic(), len(jobs), scene.transport.in_flight)),
        )
        assert reason is None
        assert scene.journal.counts() == {Status.SENT: 600}
        probes = [(count, in_flight) for time, count, in_flight in at_once if down + 5 < time < up and count]
        assert 3 <= len(probes) <= 6
        assert set(probes) == {(1, 0)}
        assert "the API, which can't be reached" in [event.reason for event in scene.of(Waiting)]

    def test_gives_up_when_it_lasts_too_long(self, scene: Scene) -> None:
        """After five minutes, and what was tried in vain is pending again."""
        reason = scene.run(
            rows(500), lambda _: no_connection() if scene.clock.monotonic() > 5 else ok(), limits=[Limit(10, 1.0)]
        )
        assert reason is StopReason.OUTAGE
        assert 250 < scene.clock.monotonic() < 310
        counts = scene.journal.counts()
        assert counts.keys() == {Status.SENT, Status.PENDING}
        scene.run(rows(500)[counts[Status.SENT] :])
        assert scene.journal.counts() == {Status.SENT: 500}

    def test_gives_up_in_seconds_where_the_api_never_answered(self, scene: Scene) -> None:
        """A wrong host shows soon, and nothing is in doubt."""
        assert scene.run(rows(50), lambda _: no_connection(), concurrency=16) is StopReason.OUTAGE
        assert scene.clock.monotonic() < 10
        assert scene.journal.counts().keys() == {Status.PENDING}

    def test_is_borne_from_the_beginning_where_others_had_answers(self, scene: Scene) -> None:
        """Seconds would be too many only for a host that nobody of this run has heard of."""
        back_at = scene.clock.monotonic() + 20.0

        def answer(_: Request) -> Answer:
            return ok() if scene.clock.monotonic() > back_at else no_connection()

        assert scene.run(rows(20), answer) is StopReason.OUTAGE
        assert not scene.control.healthy.is_set()
        scene.control.healthy.set()
        assert scene.run(rows(20), answer) is None
        assert scene.journal.counts() == {Status.SENT: 20}

    def test_blames_no_row_for_it(self, scene: Scene) -> None:
        """The row that probed all the while has its own tries left when the API is back."""
        answers: list[Answer] = [ok(), *[no_connection()] * 12]
        replies = itertools.chain(answers, itertools.repeat(ok()))
        scene.run(rows(8), lambda _: next(replies), concurrency=8, policy=Policy(patience=1e6))
        assert scene.journal.counts() == {Status.SENT: 8}

    def test_in_doubt_gives_up_with_the_first_probe(self, scene: Scene) -> None:
        """Answers that never come cost a row each, so few are asked."""
        scene.run(rows(4))
        reason = scene.run(rows(300)[4:], [ok(), *[no_answer()] * 99], concurrency=4)
        assert reason is StopReason.OUTAGE
        assert scene.journal.counts()[Status.IN_DOUBT] <= 4 + 5

    @pytest.mark.parametrize("concurrency", [1, 4, 16])
    @pytest.mark.parametrize("answer", [no_answer(), no_connection(), Response(502, {}, b"")])
    @pytest.mark.parametrize("seed", range(3))
    def test_costs_few_rows(self, scene: Scene, concurrency: int, answer: Answer, seed: int) -> None:
        """At most `concurrency` and the threshold end in doubt or failed."""
        dice = random.Random(seed)  # noqa: S311 - a simulation
        replies = itertools.chain([ok()] * 40, itertools.repeat(answer))
        reason = scene.run(
            rows(400), lambda _: next(replies), latency=lambda _: dice.uniform(0.05, 3.0), concurrency=concurrency
        )
        assert reason is StopReason.OUTAGE
        counts = Counter(scene.journal.counts())
        assert counts[Status.IN_DOUBT] + counts[Status.FAILED] <= concurrency + Policy().threshold

    def test_of_rows_alone_is_none(self, scene: Scene) -> None:
        """Every third row in trouble, with successes between: the run goes on to its end."""
        answers: list[Answer] = [ok(), no_answer(), no_connection()]
        replies = itertools.cycle(answers)
        assert scene.run(rows(60), lambda _: next(replies), concurrency=1) is None
        assert set(scene.journal.counts()) <= {Status.SENT, Status.IN_DOUBT, Status.FAILED}


class TestControl:
    def test_pause_begins_nothing_until_resume(self, scene: Scene) -> None:
        """What is in flight goes on; no POST begins in between."""
        scene.clock.at(5.0, scene.control.pause.set)
        scene.clock.at(500.0, scene.control.pause.clear)
        scene.run(rows(200), limits=[Limit(10, 1.0)])
        assert scene.journal.counts() == {Status.SENT: 200}
        assert not [time for time in scene.transport.times if 5.2 < time < 500.0]
        assert [event.reason for event in scene.of(Waiting)] == ["Resume", ""]
        gaps = [after - before for before, after in pairwise(scene.transport.times)]
        assert min(gaps) > 0.04

    def test_stop_ends_soon_and_keeps_what_is_under_way(self, scene: Scene) -> None:
        """No new POSTs, those in flight are waited for, the rest is as if it had never been."""
        scene.clock.at(5.0, scene.control.stop.set)
        assert scene.run(rows(200), latency=3.0, limits=[Limit(1, 1.0)]) is StopReason.USER
        assert 5.0 < scene.clock.monotonic() < 9.0
        assert scene.journal.counts() == {Status.SENT: len(scene.transport.requests)}

    @pytest.mark.parametrize("latency", [0.0, 30.0])
    def test_stop_works_while_paused_or_retrying(self, scene: Scene, latency: float) -> None:
        """A run that waits hears it, too."""
        scene.control.pause.set()
        scene.clock.at(5.0, scene.control.stop.set)
        assert scene.run(rows(5), latency=latency) is StopReason.USER
        assert scene.transport.requests == []
        scene.control = Control()
        scene.clock.at(10.0, scene.control.stop.set)
        policy = Policy(first_wait=60.0)
        assert scene.run(rows(2), lambda _: no_connection(), latency=0.1, policy=policy) is StopReason.USER
        assert scene.journal.counts() == {Status.PENDING: 2}


class TestWindow:
    def test_waits_for_the_window_to_open(self, scene: Scene) -> None:
        """Nothing leaves before; the wait is told with its end."""
        opens = datetime(2026, 11, 3, 9, 0, tzinfo=UTC).timestamp()
        scene.clock = Timeline(opens - 20.0)
        scene.run(rows(10), window=Window.parse("Mon-Fri 09:00-18:00 UTC"))
        assert min(scene.transport.times) >= 20.0
        assert scene.journal.counts() == {Status.SENT: 10}
        waiting = scene.of(Waiting)
        assert (waiting[0].reason, waiting[0].until) == ("the window Mon-Fri 09:00-18:00 UTC", opens)
        assert waiting[1].reason == ""

    def test_begins_nothing_once_it_has_closed(self, scene: Scene) -> None:
        """What is in flight at closing time may end."""
        closes = datetime(2026, 11, 3, 18, 0, tzinfo=UTC).timestamp()
        scene.clock = Timeline(closes - 3.0)
        scene.clock.at(60.0, scene.control.stop.set)
        window = Window.parse("Mon-Fri 09:00-18:00 UTC")
        assert (
            scene.run(rows(100), limits=[Limit(2, 1.0)], window=window, latency=5.0, concurrency=50) is StopReason.USER
        )
        assert max(scene.transport.times) < 3.0
        assert scene.journal.counts() == {Status.SENT: len(scene.transport.requests)}


def test_the_systems_clock_runs() -> None:
    """What the engine reads outside of tests."""
    clock = SystemClock()
    assert clock.monotonic() <= clock.monotonic()
    assert clock.time() > 1_700_000_000
