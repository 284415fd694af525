"""The fakes keep the promises of what they stand for, and serve in a user's tests as their page says."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import turbobatch as tb
from turbobatch.sendapi import V1, V2, Request, VerdictKind, judge
from turbobatch.testing import (
    Answer,
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
from turbobatch.transport import Job, Transport

if TYPE_CHECKING:
    from pathlib import Path

EMAIL = tb.Email(from_="shop@acme.example", to="ana@example.org", subject="Ciao ÷ & =", content="")


def request(email: tb.Email = EMAIL) -> Request:
    return V2("https://api.example", "k", "s").request(email)


class TestFakeClock:
    def test_stands_still_until_it_is_advanced(self) -> None:
        """Both of its readings move together, by what it is told."""
        clock = FakeClock(1000.0)
        clock.advance(2.5)
        assert (clock.time(), clock.monotonic()) == (1002.5, 2.5)

    def test_never_goes_back(self) -> None:
        """A negative step is the test's mistake; a moment that is past changes nothing."""
        clock = FakeClock()
        clock.advance_to(5.0)
        clock.advance_to(1.0)
        assert clock.monotonic() == 5.0
        with pytest.raises(ValueError, match="go back"):
            clock.advance(-1.0)


class TestFakeTransport:
    def test_poll_advances_to_the_next_answer(self) -> None:
        """Answers come when they are due, the soonest first, whatever the order of submission."""
        clock = FakeClock()
        latencies = iter([3.0, 1.0, 1.0])
        transport = FakeTransport(latency=lambda _: next(latencies), clock=clock)
        transport.submit([Job(0, request()), Job(1, request()), Job(2, request())])
        assert transport.in_flight == 3
        assert [item.number for item in transport.poll(10.0)] == [1, 2]
        assert clock.monotonic() == 1.0
        assert [(item.number, item.seconds) for item in transport.poll(10.0)] == [(0, 3.0)]
        assert clock.monotonic() == 3.0

    def test_poll_advances_by_its_timeout_without_an_answer(self) -> None:
        """Nothing due: the wait is as long as asked, and the answer is still to come."""
        clock = FakeClock()
        transport = FakeTransport(latency=5.0, clock=clock)
        transport.submit([Job(0, request())])
        assert transport.poll(2.0) == []
        assert transport.poll(-1.0) == []
        assert clock.monotonic() == 2.0
        assert transport.in_flight == 1

    def test_answers_in_turn_then_ok(self) -> None:
        """A list is given out in order; what comes after it is taken."""
        transport = FakeTransport([refused("no"), no_answer()])
        transport.submit([Job(number, request()) for number in range(4)])
        kinds = [judge(item.result).kind for item in transport.poll(0.0)]
        assert kinds == [VerdictKind.REJECTED, VerdictKind.IN_DOUBT, VerdictKind.SENT, VerdictKind.SENT]

    def test_answers_by_a_function_of_the_request(self) -> None:
        """The function sees what the API would see."""

        def answer(posted: Request) -> Answer:
            return ok(mid=7) if fields_of(posted)["to"] == "ana@example.org" else refused("who?")

        transport = FakeTransport(answer)
        transport.submit([Job(0, request()), Job(1, request(EMAIL.replace(to="bo@example.org")))])
        verdicts = [judge(item.result) for item in transport.poll(0.0)]
        assert [(item.kind, item.mid) for item in verdicts] == [(VerdictKind.SENT, "7"), (VerdictKind.REJECTED, None)]

    def test_notes_requests_and_their_times(self) -> None:
        """Each request is kept as the API reads it, with the moment it was submitted."""
        clock = FakeClock()
        transport = FakeTransport(clock=clock)
        transport.submit([Job(0, request())])
        clock.advance(1.5)
        transport.submit([Job(1, request())])
        assert transport.requests[0]["subject"] == "Ciao ÷ & ="
        assert transport.times == [0.0, 1.5]

    def test_close_drops_what_is_in_flight(self) -> None:
        """As with every Transport; one fake may then serve another run."""
        transport = FakeTransport(latency=1.0, clock=FakeClock())
        transport.submit([Job(0, request())])
        transport.close()
        assert transport.closed
        assert transport.poll(5.0) == []
        transport.submit([Job(1, request())])
        assert not transport.closed

    def test_takes_real_time_without_a_clock(self) -> None:
        """Next to an engine on the machine's clock, waiting for nothing must not spin."""
        began = time.monotonic()
        assert FakeTransport().poll(0.02) == []
        assert time.monotonic() - began >= 0.02

    def test_is_a_transport(self) -> None:
        """The type checker agrees that it stands for one."""
        transport: Transport = FakeTransport()
        assert transport.poll(0.0) == []


class TestFields:
    @pytest.mark.parametrize("auth_in", ["headers", "fields", "query"])
    def test_of_a_form_hold_no_credentials(self, auth_in: str) -> None:
        """v1 can carry them in the body; a test's assertion must not have to know."""
        api = V1("https://api.example", "user", "secret", auth_in)  # type: ignore[arg-type]  # parametrized
        fields = fields_of(api.request(EMAIL))
        assert fields["subject"] == "Ciao ÷ & ="
        assert not {"authuser", "authpass"} & fields.keys()

    def test_of_json(self) -> None:
        """v2's body as it travels."""
        assert fields_of(request())["from"] == "shop@acme.example"


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (ok(), VerdictKind.SENT),
        (refused("bad"), VerdictKind.REJECTED),
        (refused("bad", status=200), VerdictKind.REJECTED),
        (refused("nocredit"), VerdictKind.NO_CREDIT),
        (bad_credentials(), VerdictKind.CREDENTIALS),
        (throttled(3), VerdictKind.THROTTLED),
        (throttled(), VerdictKind.THROTTLED),
        (no_answer(), VerdictKind.IN_DOUBT),
        (no_connection(), VerdictKind.NOT_SENT),
    ],
)
def test_answers_are_judged_as_they_are_named(answer: Answer, kind: VerdictKind) -> None:
    """Each helper makes the verdict that its name promises."""
    assert judge(answer).kind is kind


def test_throttled_says_how_long() -> None:
    """With a length the API's own header carries it."""
    assert judge(throttled(3)).retry_after == 3.0
    assert judge(throttled()).retry_after is None


def test_serves_a_users_test(tmp_path: Path) -> None:
    """A campaign runs against the fake; running it again posts nothing."""
    fake = FakeTransport([ok(mid=1), refused("'bo@example.org' 'to' email not valid")])
    client = tb.TurboClient(consumer_key="k", consumer_secret="s", transport=lambda _concurrency: fake)
    campaign = tb.Campaign(
        name="hello",
        message=tb.MailMerge(from_="shop@acme.example", to="{{ email }}", subject="Hello", text="Hello {{ id }}"),
        key="id",
        concurrency=1,
        journal=tmp_path / "hello.db",
    )
    people = pd.DataFrame({"id": [1, 2, 3], "email": ["ana@example.org", "bo@example.org", "cy@example.org"]})
    results = campaign.send(people, client, progress=False)
    assert results["send_status"].tolist() == ["sent", "rejected", "sent"]
    assert [item["to"] for item in fake.requests] == people["email"].tolist()
    campaign.send(people, client, progress=False)
    assert len(fake.requests) == 3
