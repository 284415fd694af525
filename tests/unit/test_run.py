"""A run in its thread: how far it is, how it ends, and what an early end turns into."""

from __future__ import annotations

import json
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from turbobatch.engine import Candidate, Engine
from turbobatch.errors import AuthenticationError, CampaignError, JournalError, NotSentError
from turbobatch.events import Known, Settled, Waiting
from turbobatch.policy import Policy, Status, StopReason
from turbobatch.rates import Limit, Pacer
from turbobatch.run import Progress, Run, RunState, describe_stop
from turbobatch.sendapi import Request
from turbobatch.testing import FakeTransport, bad_credentials, no_answer, no_connection, refused

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from turbobatch.engine import FeedItem
    from turbobatch.events import RunEvent
    from turbobatch.journal import SqliteJournal
    from turbobatch.testing import Answer
    from turbobatch.transport import Completion, Job

SOON = 20.0  # seconds until a test gives up on another thread


class GatedTransport(FakeTransport):
    """Lets answers through one by one, so that tests can look at the run in between."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)

    def submit(self, jobs: Sequence[Job]) -> None:
        super().submit(jobs)
        for _ in jobs:
            self.begun.release()

    def poll(self, timeout: float) -> list[Completion]:
        if self.in_flight and not self.gate.acquire(timeout=timeout):
            return []
        return super().poll(timeout)


class Ear:
    """Hears a run's events and tells when it waits for something."""

    def __init__(self) -> None:
        self.waits = threading.Event()

    def __call__(self, event: RunEvent) -> None:
        if isinstance(event, Waiting) and event.reason:
            self.waits.set()


def rows(count: int) -> list[FeedItem]:
    return [candidate(number) for number in range(count)]


def candidate(number: int, size: int = 1) -> Candidate:
    headers = {"Content-Type": "application/json"}
    request = Request("https://api.example", headers, json.dumps({"number": number}).encode())
    return Candidate(number, size, f"k{number}", "d", request)


def start(
    journal: SqliteJournal,
    feed: Iterable[FeedItem],
    answer: Callable[[Request], Answer] | Iterable[Answer] = (),
    *,
    total: int = 10,
    transport: FakeTransport | None = None,
    on_end: Callable[[], None] = lambda: None,
    limits: Iterable[Limit] = (),
    **options: Any,
) -> Run:
    engine = Engine(
        feed=iter(feed),
        journal=journal,
        transport=transport or FakeTransport(answer),
        pacer=Pacer(limits),
        concurrency=1,
        policy=Policy(first_wait=0.001, first_patience=0.01),
        **options,
    )
    return Run(engine, total=total, on_end=on_end)


def state(run: Run) -> RunState:
    return run.progress.state


class TestProgress:
    def test_counts_rows_as_they_are_settled(self, journal: SqliteJournal) -> None:
        """Groups count with all their rows; what was known before is counted and told apart."""
        items: list[FeedItem] = [
            Known(Counter({Status.SENT: 3, Status.REJECTED: 1})),
            Settled(4, 2, Status.INVALID),
            candidate(6, size=3),
        ]
        run = start(journal, items, total=9)
        assert run.wait(SOON)
        now = run.progress
        assert now.rows == {Status.SENT: 6, Status.REJECTED: 1, Status.INVALID: 2}
        assert (now.state, now.total, now.done, now.known, now.waiting) == (RunState.FINISHED, 9, 9, 4, "")
        assert repr(run) == "<Run finished: 9 of 9 rows>"

    def test_of_a_run_in_the_middle(self, journal: SqliteJournal) -> None:
        """A row counts once its verdict is there, not when its POST begins."""
        transport, told = GatedTransport(), threading.Semaphore(0)
        run = start(journal, rows(3), transport=transport, total=3, emit=lambda _event: told.release())
        for settled in range(3):
            assert transport.begun.acquire(timeout=SOON)
            now = run.progress
            assert (now.state, now.done) == (RunState.RUNNING, settled)
            transport.gate.release()
            assert told.acquire(timeout=SOON)
        assert run.wait(SOON)
        assert run.progress.done == 3

    def test_is_a_moment_that_stays(self, journal: SqliteJournal) -> None:
        """A snapshot doesn't change with the run, and time stands still after its end."""
        transport = GatedTransport()
        run = start(journal, rows(1), transport=transport, total=1)
        assert transport.begun.acquire(timeout=SOON)
        before = run.progress
        transport.gate.release()
        assert run.wait(SOON)
        assert before.done == 0
        assert run.progress.seconds == run.progress.seconds > 0

    def test_estimates_by_the_pace_of_this_run(self) -> None:
        """Rows that were known before cost no time; without a pace there is no estimate."""
        now = Progress(state=RunState.RUNNING, total=100, rows={Status.SENT: 60}, known=40, seconds=10.0)
        assert (now.rows_per_second, now.seconds_left) == (2.0, 20.0)
        fresh = Progress(state=RunState.RUNNING, total=100)
        assert (fresh.rows_per_second, fresh.seconds_left) == (0.0, None)

    def test_tells_what_it_waits_for(self, journal: SqliteJournal) -> None:
        """While it waits, and no longer."""
        ear = Ear()
        run = start(journal, rows(2), limits=[Limit(1, 3600.0)], emit=ear)
        assert ear.waits.wait(SOON)
        assert run.progress.waiting == "the rate of 1/hour"
        run.stop()
        assert run.wait(SOON)
        assert run.progress.waiting == ""


class TestEnd:
    def test_passes_events_on(self, journal: SqliteJournal) -> None:
        """The listener that the engine had hears them, too."""
        heard: list[RunEvent] = []
        run = start(journal, rows(2), emit=heard.append)
        assert run.wait(SOON)
        assert [event.number for event in heard if isinstance(event, Settled)] == [0, 1]
        assert run.stop_reason is None
        run.raise_if_stopped()

    def test_wait_tells_whether_it_has_come(self, journal: SqliteJournal) -> None:
        """A wait that is too short says so and can be repeated."""
        transport = GatedTransport()
        run = start(journal, rows(1), transport=transport)
        assert transport.begun.acquire(timeout=SOON)
        assert not run.wait(0.0)
        assert run.stop_reason is None
        transport.gate.release()
        assert run.wait()
        assert run.wait(0.0)

    def test_closes_the_transport_and_lets_go_of_the_rest(self, journal: SqliteJournal) -> None:
        """Before anyone who waits goes on."""
        transport, ends = FakeTransport(), []
        run = start(journal, rows(1), transport=transport, on_end=lambda: ends.append(1))
        assert run.wait(SOON)
        assert transport.closed
        assert ends == [1]

    def test_that_broke_raises_in_wait(self, journal: SqliteJournal) -> None:
        """What ended the thread reaches whoever waits, each time."""

        def feed() -> Iterator[FeedItem]:
            yield candidate(0)
            raise CampaignError("line 3 of t.csv is cut off")

        ends: list[int] = []
        run = start(journal, feed(), on_end=lambda: ends.append(1))
        for _ in range(2):
            with pytest.raises(CampaignError, match="line 3"):
                run.wait(SOON)
        assert state(run) is RunState.FAILED
        assert ends == [1]

    @pytest.mark.parametrize("error", [JournalError("can't be closed"), RuntimeError("a fault of ours")])
    def test_comes_even_if_letting_go_fails(self, journal: SqliteJournal, error: Exception) -> None:
        """Nobody waits for ever, whatever goes wrong at the end; the first error is the one that is told."""

        class Stuck(FakeTransport):
            def close(self) -> None:
                raise error

        def end() -> None:
            raise JournalError("later")

        run = start(journal, rows(1), transport=Stuck(), on_end=end)
        with pytest.raises(type(error), match=str(error)):
            run.wait(SOON)
        assert state(run) is RunState.FAILED
        assert journal.counts() == {Status.SENT: 1}


class TestControl:
    def test_pause_and_resume(self, journal: SqliteJournal) -> None:
        """The state says so at once, no POST begins, and the run goes on where it was."""
        transport, ear = GatedTransport(), Ear()
        run = start(journal, rows(2), transport=transport, total=2, emit=ear)
        assert transport.begun.acquire(timeout=SOON)
        run.pause()
        assert state(run) is RunState.PAUSED
        transport.gate.release()
        assert ear.waits.wait(SOON)
        assert run.progress.waiting == "Resume"
        assert len(transport.requests) == 1
        run.resume()
        assert transport.begun.acquire(timeout=SOON)
        assert state(run) is RunState.RUNNING
        transport.gate.release()
        assert run.wait(SOON)
        assert state(run) is RunState.FINISHED

    def test_stop_waits_for_the_post_in_flight(self, journal: SqliteJournal) -> None:
        """It is stopping until the verdict is there, then stopped, and the rest is untouched."""
        transport = GatedTransport()
        run = start(journal, rows(5), transport=transport, total=5)
        assert transport.begun.acquire(timeout=SOON)
        run.stop()
        assert state(run) is RunState.STOPPING
        transport.gate.release()
        assert run.wait(SOON)
        assert state(run) is RunState.STOPPED
        assert journal.counts() == {Status.SENT: 1}
        assert run.stop_reason is StopReason.USER
        with pytest.raises(KeyboardInterrupt):
            run.raise_if_stopped()


class TestEarlyEnd:
    @pytest.mark.parametrize(
        ("answers", "error", "why", "cure"),
        [
            (
                [bad_credentials()],
                AuthenticationError,
                "the API refused the credentials (HTTP 401: Wrong credentials specified)",
                "check them and run the same command again",
            ),
            (
                [refused("nocredit")],
                NotSentError,
                "the account has no credit left (nocredit)",
                "top it up and run the same command again",
            ),
            (
                [no_connection("no connection (refused)")] * 99,
                NotSentError,
                "the API can't be reached (no connection (refused))",
                "run the same command again to go on",
            ),
            (
                [no_answer("no readable answer came (timeout)")] * 99,
                NotSentError,
                "the API can't be reached (no readable answer came (timeout))",
                "run the same command again to go on",
            ),
        ],
    )
    def test_becomes_the_error_that_says_what_to_do(
        self, journal: SqliteJournal, answers: list[Answer], error: type[Exception], why: str, cure: str
    ) -> None:
        """One line with the API's own words in it."""
        run = start(journal, rows(50), answers, total=50)
        assert run.wait(SOON)
        assert state(run) is RunState.STOPPED
        with pytest.raises(error) as caught:
            run.raise_if_stopped()
        assert str(caught.value) == f"{why}: the rest is pending; {cure}"

    @pytest.mark.parametrize("reason", list(StopReason))
    def test_is_described_in_one_line(self, reason: StopReason) -> None:
        """Each reason ends in what to do; nothing stands in empty brackets."""
        text = describe_stop(reason, "")
        assert text.startswith(f"{reason}: the rest is pending; ")
        assert "run the same command again" in text
        assert "\n" not in text


class TestCancel:
    def test_a_cancelled_run_never_begins(self, journal: SqliteJournal, monkeypatch: pytest.MonkeyPatch) -> None:
        """A Ctrl-C that strikes between the making of the thread and its first step: nothing is posted, ever."""
        going = threading.Event()
        bootstrap = threading.Thread.run

        def late(thread: threading.Thread) -> None:
            going.wait(SOON)
            bootstrap(thread)

        monkeypatch.setattr(threading.Thread, "run", late)
        transport = FakeTransport()
        run = start(journal, rows(2), transport=transport)
        assert run.cancel()
        going.set()
        assert run.wait(SOON)
        assert transport.requests == []

    def test_one_that_has_begun_goes_on(self, journal: SqliteJournal) -> None:
        transport = GatedTransport()
        run = start(journal, rows(1), transport=transport)
        assert transport.begun.acquire(timeout=SOON)
        assert not run.cancel()
        transport.gate.release()
        assert run.wait(SOON)
        assert len(transport.requests) == 1
