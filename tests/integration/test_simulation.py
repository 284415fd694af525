"""Thousands of campaigns on a simulated server, with faults and crashes anywhere: never twice, never lost."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.world import COLUMNS, FINAL, SURELY_NOT_ACCEPTED, Fuse, ListTable, World
from turbobatch.policy import Status
from turbobatch.rates import Limit
from turbobatch.sendapi import Response, VerdictKind, judge
from turbobatch.testing import bad_credentials, fields_of, no_answer, no_connection, ok, refused, throttled
from turbobatch.units import Layout

if TYPE_CHECKING:
    from turbobatch.sendapi import Request
    from turbobatch.testing import Answer


class SeededWorld(World):
    """A world in which everything hangs on one seed."""

    def __init__(self, seed: int) -> None:
        self.dice = random.Random(seed)  # noqa: S311 - a simulation
        cells = [self.row(number) for number in range(self.dice.randint(1, 30))]
        layout = Layout(COLUMNS, self.dice.choice([("id",), ()]))
        limits: list[list[Limit]] = [[], [Limit(5, 1.0)], [Limit(4, 1.0), Limit(10, 90.0)]]
        super().__init__(ListTable(cells), layout, self.dice.choice(limits))
        self.trouble = self.dice.choice([0.0, 0.1, 0.4, 0.9])
        self.may_be_in_doubt = 0
        self.resent: Counter[str] = Counter()  # runs that posted what was in doubt, on demand

    def row(self, number: int) -> tuple[Any, ...]:
        key = self.dice.choices([str(number), "0", None], [20, 1, 1])[0]
        address = self.dice.choices([f"p{number}@example.org", "broken@@", "gone@example.org", None], [20, 1, 1, 1])[0]
        return key, address

    def answer(self, request: Request) -> Answer:
        """What the server does, and what comes back of it: two things."""
        fields = fields_of(request)
        key = fields["reference_id"]
        if self.dice.random() < self.trouble:
            return self.mishap(key)
        if fields["subject"].endswith("7"):
            return refused("'x' 'to' email not valid")
        self.accepted[key] += 1
        return ok(mid=sum(self.accepted.values()))

    def mishap(self, key: str) -> Answer:
        unsent: list[Answer] = [
            no_connection(),
            throttled(self.dice.randint(0, 3)),
            throttled(),
            Response(404, {}, b""),
        ]
        doubtful: list[Answer] = [
            no_answer(),
            Response(500, {}, b""),
            Response(200, {}, b'{"message":'),
            Response(503, {}, b""),
        ]
        fatal: list[Answer] = [
            bad_credentials(),
            refused("nocredit"),
            Response(302, {"location": "https://x.example"}, b""),
        ]
        answer = self.dice.choice(self.dice.choices([unsent, doubtful, fatal], [10, 6, 1])[0])
        if judge(answer).kind is VerdictKind.IN_DOUBT:
            self.may_be_in_doubt += 1
            self.accepted[key] += self.dice.random() < 0.5
        return answer

    def run(self, *, steps: int | None, resend: bool = False, limit: int | None = None) -> None:
        """One process's life: to its end, or to a crash after so many steps."""
        concurrency = self.dice.choice([1, 2, 5, 16])
        doubted = self.keys(Status.IN_DOUBT)
        played = self.play(
            answer=self.answer,
            latency=lambda _: self.dice.uniform(0.01, 4.0),
            concurrency=concurrency,
            dice=self.dice,
            fuse=Fuse(steps),
            resend=resend,
            limit=limit,
        )
        if played.crashed:
            self.may_be_in_doubt += concurrency
        posted = set(played.posted)
        assert resend or not posted & doubted, "what was in doubt went out unasked"
        self.resent.update(posted & doubted)
        self.clock.advance(self.dice.uniform(0.0, 2.0))

    def check(self) -> None:
        """What must be true at any moment, whatever happened before."""
        counts = Counter(self.journal.counts())
        assert counts[Status.IN_DOUBT] <= self.may_be_in_doubt
        for key, count in self.accepted.items():
            assert count <= 1 + self.resent[key], f"{key} was accepted {count} times"
        for verdict in self.verdicts():
            status, key = verdict.send_status, verdict.send_key or ""
            if status is Status.SENT:
                assert self.accepted[key], f"{key} counts as sent and never arrived"
            if status in SURELY_NOT_ACCEPTED:
                assert not self.accepted[key], f"{key} counts as {status} and arrived"
        self.check_rate()


@pytest.mark.unmeasured
@pytest.mark.parametrize("block", range(20))
def test_never_twice_never_lost(block: int) -> None:
    """Runs with faults that crash or end early, then one in good weather: every row has its true, final status."""
    for seed in range(block * 50, block * 50 + 50):
        world = SeededWorld(seed)
        try:
            for _ in range(world.dice.randint(1, 4)):
                world.run(
                    steps=world.dice.choice([None, world.dice.randint(0, 120), world.dice.randint(0, 20)]),
                    resend=world.dice.random() < 0.25,
                    limit=world.dice.choice([None, None, 3]),
                )
                world.check()
            world.trouble = 0.0
            world.run(steps=None)
            world.check()
            assert set(world.statuses()) <= FINAL
            world.run(steps=None)
            world.check()
        except AssertionError as error:
            error.add_note(f"in the world with seed {seed}")
            raise
        finally:
            world.journal.close()


@pytest.mark.unmeasured
def test_the_simulation_has_seen_trouble() -> None:
    """The worlds above are none of endless sunshine: every status and many an early end occur in them."""
    seen: Counter[Status] = Counter()
    resent = 0
    for seed in range(100):
        world = SeededWorld(seed)
        world.trouble = 0.5
        world.run(steps=world.dice.randint(0, 200))
        seen.update(world.statuses())
        world.run(steps=None, resend=True)
        seen.update(world.statuses())
        resent += len(world.resent)
        world.journal.close()
    assert set(seen) == set(Status)
    assert resent > 100
