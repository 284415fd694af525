"""Whatever a run waits for, it stops when asked, and what wasn't sent is pending."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from typing import TYPE_CHECKING, Any, NamedTuple

import pandas as pd
import pytest

from tests.integration.hosts import Answering, served
from turbobatch import Campaign, MailMerge, Run, TurboClient
from turbobatch.policy import Policy, StopReason
from turbobatch.run import RunState
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from tests.conftest import Until

ROWS = 12
PROMPT = 5.0  # seconds in which a run must have ended once it was told to; each wait here is of an hour or longer
PATIENCE = 60.0  # seconds after which a test gives up
LONG = Policy(first_wait=7200.0, longest_wait=7200.0, first_patience=1e6, patience=1e6)
PEOPLE = pd.DataFrame({"id": [str(number) for number in range(ROWS)], "email": "ana@example.org"})


class Host(NamedTuple):
    """Where a run posts to, and what it has accepted."""

    base_url: str
    accepted: Callable[[], list[str]]

    def client(self) -> TurboClient:
        return TurboClient(consumer_key="sandbox", consumer_secret="sandbox", base_url=self.base_url)


class Wait(NamedTuple):
    """A reason to wait: the host and the settings that bring it about, how many emails go before, how it is told."""

    host: Callable[[], AbstractContextManager[Host]]
    settings: dict[str, Any]
    told: str
    sent: int = 0


@contextmanager
def healthy() -> Iterator[Host]:
    with Sandbox() as sandbox:
        yield Host(sandbox.base_url("v2"), lambda: sorted(sandbox.inbox()["subject"]))


@contextmanager
def asking_for_a_pause() -> Iterator[Host]:
    """A host that answers 429 and wants an hour's pause."""

    class Handler(Answering, BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(429)
            self.send_header("Retry-After", "3600")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with served(Handler) as url:
        yield Host(f"{url}/api/v2", list)


@contextmanager
def away() -> Iterator[Host]:
    """A port on which nobody listens."""
    sandbox = Sandbox()
    with sandbox:
        url = sandbox.base_url("v2")
    yield Host(url, list)


def closed_window(now: datetime | None = None) -> str:
    """Hours that are six hours off, whatever the time is."""
    opens = (now or datetime.now(UTC)) + timedelta(hours=6)
    return f"{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M} UTC"


def waits() -> dict[str, Wait]:
    return {
        "an hourly quota": Wait(healthy, {"rate": "3/hour"}, "the rate of 3/hour", 3),
        "a daily quota": Wait(healthy, {"rate": "1000/second, 2/day"}, "the rate of 2/day", 2),
        "a slow pace": Wait(healthy, {"rate": "1/minute"}, "the rate of 1/minute", 1),
        "its window": Wait(healthy, {"window": closed_window()}, "the window "),
        "a pause asked for": Wait(asking_for_a_pause, {}, "the pause that the API asked for"),
        "an outage's next probe": Wait(away, {"rate": "10/second"}, "the API, which can't be reached"),
    }


@pytest.fixture
def campaign(tmp_path: Path) -> Callable[..., Campaign]:
    """Make a campaign, always the same one to its journal; its policy never gives up and tries again late."""
    message = MailMerge(from_="shop@acme.example", to="{{ email }}", subject="{{ id }}", text="Hello")

    def make(**settings: Any) -> Campaign:
        given = {"concurrency": 16, "policy": LONG, **settings}
        return Campaign(name="letters", message=message, key="id", journal=tmp_path / "journal.db", **given)

    return make


def state(run: Run) -> RunState:
    return run.progress.state


def check_stopped(run: Run, campaign: Campaign, host: Host, sent: int) -> None:
    """It has ended as the user wanted, and the journal agrees with what arrived."""
    assert state(run) is RunState.STOPPED
    assert run.progress.waiting == ""
    assert run.stop_reason is StopReason.USER
    with pytest.raises(KeyboardInterrupt):
        run.raise_if_stopped()
    results = campaign.results(PEOPLE)
    expected = {"sent": sent, "pending": ROWS - sent}
    assert Counter(results["send_status"]) == {status: count for status, count in expected.items() if count}
    assert sorted(results.loc[results["send_status"] == "sent", "send_key"]) == host.accepted()


@pytest.mark.parametrize("reason", waits())
def test_a_waiting_run_stops(reason: str, campaign: Callable[..., Campaign], until: Until) -> None:
    """It ends long before its wait does, what it sent before is sent, and the rest is pending."""
    wait = waits()[reason]
    with wait.host() as host:
        waiting = campaign(**wait.settings)
        run = waiting.start(PEOPLE, host.client())
        until(lambda: run.progress.waiting.startswith(wait.told))
        assert state(run) is RunState.RUNNING
        run.stop()
        assert run.wait(PROMPT)
        check_stopped(run, waiting, host, wait.sent)


@pytest.mark.parametrize("reason", waits())
def test_a_waiting_run_can_be_paused_and_then_stops(
    reason: str, campaign: Callable[..., Campaign], until: Until
) -> None:
    """Pause and stop don't get in each other's way."""
    wait = waits()[reason]
    with wait.host() as host:
        waiting = campaign(**wait.settings)
        run = waiting.start(PEOPLE, host.client())
        until(lambda: run.progress.waiting.startswith(wait.told))
        run.pause()
        until(lambda: run.progress.waiting == "Resume")
        assert state(run) is RunState.PAUSED
        run.stop()
        assert run.wait(PROMPT)
        check_stopped(run, waiting, host, wait.sent)


def test_a_run_that_waits_to_try_again_stops(campaign: Callable[..., Campaign], until: Until) -> None:
    """No outage yet, only emails that are to be tried again later."""
    with away() as host:
        waiting = campaign(concurrency=2)
        run = waiting.start(PEOPLE, host.client())
        until(lambda: waiting.results(PEOPLE)["send_attempts"].sum() >= 2)
        run.stop()
        assert run.wait(PROMPT)
        check_stopped(run, waiting, host, 0)


def test_a_paused_run_stops_and_another_goes_on(campaign: Callable[..., Campaign], until: Until) -> None:
    """Paused in mid-campaign, stopped, and completed by another run: each email arrives once."""
    with Sandbox(latency=0.25) as sandbox:
        host = Host(sandbox.base_url("v2"), lambda: sorted(sandbox.inbox()["subject"]))
        paused = campaign(concurrency=2)
        run = paused.start(PEOPLE, host.client())
        until(lambda: len(host.accepted()) >= 3)
        run.pause()
        until(lambda: run.progress.waiting == "Resume")
        run.stop()
        assert run.wait(PROMPT)
        check_stopped(run, paused, host, len(host.accepted()))
        assert 3 <= len(host.accepted()) < ROWS
        results = campaign().send(PEOPLE, host.client(), progress=False)
        assert set(results["send_status"]) == {"sent"}
        assert host.accepted() == sorted(PEOPLE["id"])


def test_a_paused_run_goes_on_when_told(campaign: Callable[..., Campaign], until: Until) -> None:
    """Nothing is sent while it is paused; after `resume` it finishes."""
    with healthy() as host:
        run = campaign(rate="20/second").start(PEOPLE, host.client())
        run.pause()
        until(lambda: run.progress.waiting == "Resume")
        assert state(run) is RunState.PAUSED
        assert not run.wait(0.3)
        assert len(host.accepted()) < ROWS
        run.resume()
        assert run.wait(PATIENCE)
        assert state(run) is RunState.FINISHED
        assert host.accepted() == sorted(PEOPLE["id"])


def test_a_stop_that_comes_first_sends_nothing(campaign: Callable[..., Campaign]) -> None:
    """Stopped at once, a run may have sent what it had begun, and no more than `concurrency` of it."""
    with healthy() as host:
        begun = campaign(concurrency=1)
        run = begun.start(PEOPLE, host.client())
        run.stop()
        assert run.wait(PROMPT)
        check_stopped(run, begun, host, len(host.accepted()))
        assert len(host.accepted()) <= 1


@pytest.mark.parametrize("hour", range(24))
def test_the_closed_window_of_these_tests_is_closed(hour: int) -> None:
    """At any time of the day, also where it reaches over midnight."""
    from turbobatch.rates import Window

    now = datetime(2026, 3, 1, hour, 59, 59, tzinfo=UTC)
    window = Window.parse(closed_window(now))
    assert not window.is_open(now)
    assert window.next_open(now) - now > timedelta(hours=5)
