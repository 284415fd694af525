"""What follows from a verdict, and when failures in a row are an outage."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbobatch.policy import SETTLED_WELL, Breaker, Policy, Status, StopReason
from turbobatch.sendapi import Verdict, VerdictKind

NUMBERS = itertools.count(1)
NOT_SENT = Verdict(VerdictKind.NOT_SENT, "no connection")


class SteadyDice(random.Random):
    """Dice that always fall in the middle."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2


def breaker(policy: Policy | None = None) -> Breaker:
    return Breaker(policy or Policy(), SteadyDice())


def fail(
    it: Breaker, now: float, *, number: int | None = None, in_doubt: bool = False, probe: bool = False
) -> StopReason | None:
    number = next(NUMBERS) if number is None else number
    return it.record(number=number, healthy=False, in_doubt=in_doubt, was_probe=probe, now=now)


def succeed(it: Breaker, now: float = 0.0, *, number: int | None = None) -> None:
    number = next(NUMBERS) if number is None else number
    assert it.record(number=number, healthy=True, in_doubt=False, was_probe=False, now=now) is None


class TestDecision:
    @pytest.mark.parametrize(
        ("kind", "status", "stop", "healthy"),
        [
            (VerdictKind.SENT, Status.SENT, None, True),
            (VerdictKind.REJECTED, Status.REJECTED, None, True),
            (VerdictKind.IN_DOUBT, Status.IN_DOUBT, None, False),
            (VerdictKind.CREDENTIALS, Status.PENDING, StopReason.CREDENTIALS, None),
            (VerdictKind.NO_CREDIT, Status.PENDING, StopReason.NO_CREDIT, None),
            (VerdictKind.MISDIRECTED, Status.PENDING, StopReason.MISDIRECTED, None),
        ],
    )
    def test_of_a_verdict_that_needs_no_thought(
        self, kind: VerdictKind, status: Status, stop: StopReason | None, healthy: bool | None
    ) -> None:
        """Whatever went before, nothing is tried again, and what condemns the run leaves the row pending."""
        for failures in (0, 99):
            decision = Policy().decide(Verdict(kind, "said"), failures)
            assert (decision.status, decision.stop, decision.healthy) == (status, stop, healthy)
            assert decision.retry_in is decision.pause is None
            assert not decision.blamed

    @pytest.mark.parametrize("kind", VerdictKind)
    def test_of_a_doubt_only_success_is_the_end(self, kind: VerdictKind) -> None:
        """Whatever else a second POST comes to, the first may have been accepted; the rest is decided as ever."""
        for failures in (0, 99):
            plain = Policy().decide(Verdict(kind, "said"), failures)
            doubted = Policy().decide(Verdict(kind, "said"), failures, doubted=True)
            assert doubted.status is (Status.SENT if kind is VerdictKind.SENT else Status.IN_DOUBT)
            assert replace(doubted, status=plain.status) == plain

    def test_every_verdict_has_one(self) -> None:
        """No kind of verdict is forgotten."""
        for kind in VerdictKind:
            assert Policy().decide(Verdict(kind, ""), 0).status in Status

    def test_retries_what_was_surely_not_accepted_with_growing_waits(self) -> None:
        """The row waits 1, 2 s and has failed with the third try."""
        decisions = [Policy().decide(NOT_SENT, failures) for failures in range(3)]
        assert [item.retry_in for item in decisions] == [1.0, 2.0, None]
        assert [item.status for item in decisions] == [Status.PENDING, Status.PENDING, Status.FAILED]
        assert [item.blamed for item in decisions] == [True, True, False]

    def test_blames_no_row_for_an_outage(self) -> None:
        """While the service is known to be ill, tries don't count."""
        decision = Policy().decide(NOT_SENT, 99, outage=True)
        assert decision.status is Status.PENDING
        assert decision.retry_in is not None
        assert not decision.blamed

    def test_pauses_the_run_as_long_as_the_api_asks(self) -> None:
        """Retry-After is the pause, unless it is no time at all; and the row isn't to blame."""
        for asked, pause in ((0.0, 1.0), (7.0, 7.0)):
            decision = Policy().decide(Verdict(VerdictKind.THROTTLED, "", retry_after=asked), 99)
            assert decision.pause == decision.retry_in == pause
            assert decision.status is Status.PENDING
            assert decision.healthy is None
            assert not decision.blamed

    def test_pauses_longer_and_longer_where_the_api_names_no_time(self) -> None:
        """The pauses grow with the pauses that went before, not with the row's own failures."""
        throttled = Verdict(VerdictKind.THROTTLED, "")
        pauses = [Policy().decide(throttled, 2, throttles=number).pause for number in range(8)]
        assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]

    @given(st.integers(0, 10**6))
    def test_waits_have_bounds(self, failures: int) -> None:
        """No number of failures overflows, or waits longer than the longest."""
        assert 1.0 <= Policy().wait(failures) <= 60.0

    def test_statuses_that_ask_nothing_more(self) -> None:
        """They are what exit code 0 is made of."""
        assert {Status.SENT, Status.DUPLICATE, Status.SUPPRESSED} == SETTLED_WELL


class TestBreaker:
    def test_opens_after_five_failures_in_a_row(self) -> None:
        """Four are rows that failed, five are an outage; the first probe comes after a wait."""
        it = breaker()
        succeed(it)
        for number in range(5):
            assert not it.is_open
            assert fail(it, float(number)) is None
        assert it.is_open
        assert it.probe_at == 5.0

    def test_a_success_between_starts_the_count_again(self) -> None:
        """Rows that fail here and there are no outage."""
        it = breaker()
        for _ in range(20):
            for _ in range(4):
                fail(it, 0.0)
            succeed(it)
        assert not it.is_open

    def test_closes_on_success(self) -> None:
        """One answer proves that the service is back, and the next outage begins from nothing."""
        it = breaker()
        for _ in range(5):
            fail(it, 0.0)
        fail(it, 1.0, probe=True)
        succeed(it, 3.0)
        assert not it.is_open
        for _ in range(5):
            fail(it, 10.0)
        assert it.probe_at == 11.0

    def test_probes_after_growing_pauses_until_patience_ends(self) -> None:
        """Once the API has answered in this run, an outage may last five minutes."""
        it = breaker()
        succeed(it)
        for _ in range(5):
            fail(it, 0.0)
        probes = [it.probe_at]
        while fail(it, it.probe_at, probe=True) is None:
            probes.append(it.probe_at)
        assert probes == [1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 123.0, 183.0, 243.0]

    def test_gives_up_soon_where_the_api_never_answered(self) -> None:
        """Most likely the host is wrong: seconds of patience, not minutes."""
        it = breaker()
        for _ in range(5):
            assert fail(it, 0.0) is None
        assert fail(it, it.probe_at, probe=True) is None
        assert fail(it, it.probe_at, probe=True) is StopReason.OUTAGE

    def test_stragglers_change_nothing(self) -> None:
        """POSTs that were in flight when the outage began neither hasten the probes nor put them off."""
        it = breaker()
        succeed(it)
        for _ in range(5):
            fail(it, 0.0)
        for _ in range(20):
            assert fail(it, 0.5, in_doubt=True) is None
        assert it.probe_at == 1.0

    def test_a_success_from_before_the_outage_proves_nothing(self) -> None:
        """Slow answers to POSTs that began earlier than all that failed neither hide an outage nor end it."""
        it = breaker()
        for number in range(10, 15):
            fail(it, 0.0, number=number)
            succeed(it, number=number - 5)
        assert it.is_open
        assert it.ever_healthy
        succeed(it, number=9)
        assert it.is_open
        succeed(it, number=12)
        assert not it.is_open

    def test_failures_may_come_out_of_order(self) -> None:
        """The earliest POST that failed is the one to compare with."""
        it = breaker()
        for number in (14, 13, 12, 11, 10):
            fail(it, 0.0, number=number)
        succeed(it, number=11)
        assert not it.is_open

    def test_a_probe_in_doubt_gives_up_at_once(self) -> None:
        """Each further probe could cost another row its verdict."""
        it = breaker()
        succeed(it)
        for _ in range(5):
            fail(it, 0.0)
        assert fail(it, 1.0, in_doubt=True, probe=True) is StopReason.OUTAGE

    def test_waits_longer_where_the_outage_costs_doubt(self) -> None:
        """Answers that never come are worth a longer pause than connections that are refused."""
        it = breaker()
        succeed(it)
        for _ in range(5):
            fail(it, 0.0, in_doubt=True)
        assert it.probe_at == 16.0

    def test_an_outage_in_doubt_before_any_answer_gives_up_without_a_probe(self) -> None:
        """The wait alone would use up the patience."""
        it = breaker()
        reasons = [fail(it, 0.0, in_doubt=True) for _ in range(5)]
        assert reasons == [None] * 4 + [StopReason.OUTAGE]

    def test_spreads_its_probes(self) -> None:
        """Real dice move a pause by up to a fifth, so that many clients don't knock together."""
        for seed in range(50):
            it = Breaker(Policy(), random.Random(seed))  # noqa: S311 - dice, no secret
            succeed(it)
            for _ in range(5):
                fail(it, 0.0)
            assert 0.8 <= it.probe_at <= 1.2
