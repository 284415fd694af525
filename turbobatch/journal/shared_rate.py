"""One rate for all processes that send a campaign at once, kept in the PostgreSQL database of their journal.

*Slots.* The database holds the time of the next free slot, by its own clock. A process reserves some of the next ones,
each at least a step T after the one before; a permit may be spent from its slot x to x + S, else it is forfeited.
For a limit of `count` in P seconds, T is (P + S) / count, so that no window of P, wherever it begins, holds more than
`count` of those spent. Proof: of any count + 1 permits the first is spent at x + S at the latest, the last at its slot
at the earliest, and these slots are count * T = P + S apart. Where S changes, a slot's own S sets the step to the next
one, which lies S - S' farther off where S shrinks to S'. With D the sum of these, the slots are P + mean(S) + D apart,
and no S is below the first one less D.

*POSTs.* A permit is spent as the POST begins, after the commit of its intent: one whose time is over by then, as that
commit stalled, is forfeited, and the row waits for another. So a POST leaves between x and x + S however long commits
take: between the look at the clock and the POST there is nothing that waits. What it takes on its way is the jitter:
each P is longer by it.

*Clocks.* An answer carries the server's time, which it read while it was asked: that places each slot between two times
of the clock here, as far apart as the trip took. Where trips are long, S is three of them for all, or two commits where
these are, until 5 s after it was last asked for: that costs some of the rate, and less than permits that are over
before they are spent. A server's clock that is put back costs a pause. One put forward breaks the ceiling once: what is
held then, the pace of half a second at most, goes beside the next slots.

*Batches.* As much is reserved at once as goes in 50 ms and a trip, if it is wanted, and nothing that lies more than
250 ms ahead: a slow rate isn't held by who needn't have it. While nothing can be granted, nobody asks.

*Quotas*, limits over more than a minute, count what was reserved in buckets of a 96th of their period, under the time
by which it will have been posted. A window counts each bucket that it touches whole: it is too careful by as much at
most. What was forfeited is given back, where it was counted.

*Durability.* A reservation's commit doesn't wait for the disk: it would hold up all the others. A server that falls may
forget the last 0.6 s of them. Who finds its session broken books the quotas' permits of its last second again, and
moves the next slot a second, and a step, ahead: beyond all that was forgotten.

The journal's POSTs are what a new rate begins with, by the times of their intents, and the clocks of those who made
them.
"""

from __future__ import annotations

import math
import time
from contextlib import ExitStack, suppress
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from turbobatch.errors import CampaignError, JournalError
from turbobatch.journal.clock import SECOND, boot_time
from turbobatch.journal.database import connect, is_lost, one_line_errors, sql
from turbobatch.journal.permits import Permits, Reservation, shortest_spread
from turbobatch.rates import PACED_PERIOD, Pacer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from psycopg import Connection

    from turbobatch.journal.postgres import PostgresJournal
    from turbobatch.rates import Limit

_AHEAD = SECOND // 4  # slots farther ahead are left to who comes later
_BATCH = SECOND // 20  # of the pace, reserved at once
_SOON = _BATCH // 2  # what is held lasts no longer: time to ask for more
_PATIENCE = 10.0  # seconds until a server that went away has to be back; as for a commit
_PAUSE = 0.1  # seconds between two tries to reach it
_ANOTHER_RATE = "TB003"


def share_rate(journal: PostgresJournal, limits: Sequence[Limit], *, jitter: float) -> Pacer | SharedRate:
    """Agree on the rate with the others who send this campaign; without limits there is nothing to be shared.

    Raises:
        CampaignError: another process sends at another rate, or at none.
        JournalError: the database can't be reached or used.
    """
    rate = Rate(limits, jitter)
    if (other := journal.join(rate.values)) is not None:
        raise CampaignError(
            f"another process sends this campaign at {other or 'no rate'}, this one would at {rate.text or 'no rate'}: "
            f"give both the same rate, or wait until the other has ended (if it was killed, {journal.lease:g} s longer)"
        )
    return SharedRate(journal, rate) if limits else Pacer(())


class Rate:
    """Limits as the database takes them: whole numbers, periods in nanoseconds, rounded up."""

    def __init__(self, limits: Sequence[Limit], jitter: float) -> None:
        self.limits = {math.ceil(Fraction(limit.period) * SECOND): limit for limit in limits}
        self.text = ", ".join(str(self.limits[period]) for period in sorted(self.limits))
        paced = [period for period, limit in self.limits.items() if limit.period <= PACED_PERIOD]
        self.spread = shortest_spread(paced)
        self.tightest = max((self.limits[period] for period in paced), key=_interval, default=None)
        self.has_quota = len(paced) < len(self.limits)
        self.values: dict[str, Any] = {
            "rate": self.text,
            "counts": [limit.count for limit in self.limits.values()],
            "periods": list(self.limits),
            "paced": int(PACED_PERIOD) * SECOND,
            "jitter": math.ceil(jitter * SECOND),
            "spread": self.spread,
        }


class SharedRate:
    """Permits of a rate that other processes share; what a Pacer is for one process.

    Args:
        journal: whose campaign it is.
        rate: its limits.
        batch: how much of the pace is reserved at once, in nanoseconds; the trip's time is added.
        clock: nanoseconds that never go back, and also pass while the machine sleeps.
    """

    longest = 0.0  # the database knows what was used

    def __init__(
        self,
        journal: PostgresJournal,
        rate: Rate,
        *,
        batch: int = _BATCH,
        clock: Callable[[], int] = boot_time,
    ) -> None:
        self._path = journal.path
        self._rate = rate
        self._patience = min(_PATIENCE, journal.lease / 2) * SECOND
        self._clock = clock
        self._batch = batch
        self._permits = Permits(rate.spread)
        self._values = {**rate.values, "campaign": journal.campaign, "ahead": _AHEAD}
        self._looked: int | None = None  # when permits were found to be good, until they are taken
        self._resting = False  # the session has broken since the last answer
        self._connection = self._connect()

    def seed(self, times: Iterable[float]) -> None:
        """Leave it: a rate begins with the journal's POSTs."""

    def room(self, now: float, want: int) -> int:
        """Tell how many of `want` permits are good, by the clock as it is by then: asking for them takes its time.

        Raises:
            JournalError: the server can't be reached, or the rate is another one by now.
        """
        del now
        self._hold(want)
        self._looked = self._clock()
        return self._permits.good(self._looked, want)

    def take(self, now: float, want: int) -> int:
        """Grant up to `want` permits: those that were found, or others where their time is over since.

        Raises:
            JournalError: as `room`.
        """
        del now
        if self._looked is not None and want:
            self._permits.was_spent_after(self._clock() - self._looked)
        self._looked = None
        self._hold(want)
        return self._permits.spend(self._clock(), want)

    def next_at(self, now: float) -> float:
        """Tell the earliest time at which `take` may grant a permit, or will ask for one."""
        at = self._clock()
        return now + (self._permits.next_at(at) - at) / SECOND

    def waiting_for(self, now: float) -> Limit | None:
        """Tell which limit holds the next permit back; None when there may be one at once."""
        if self.next_at(now) <= now:
            return None
        quota = self._permits.held_by
        return self._rate.tightest if quota is None else self._rate.limits[quota]

    def close(self) -> None:
        """Give back what wasn't spent, where it counts for long."""
        self._permits.give_up()
        with suppress(Exception):  # it counts as spent then
            while self._rate.has_quota and (unspent := self._permits.unspent())[0] and not is_lost(self._connection):
                self._ask(0, unspent)
        self._connection.close()

    def _hold(self, want: int) -> None:
        if missing := self._permits.missing(self._clock(), want, _SOON):
            self._reserve(missing)

    def _reserve(self, wanted: int) -> None:
        """Ask for permits; again where the session breaks, until patience ends."""
        from psycopg import Error

        down_since = None
        with one_line_errors(self._path):
            while True:
                try:
                    self._ask(wanted, (0, 0) if self._resting else self._permits.unspent())
                except (Error, JournalError) as error:
                    if getattr(error, "sqlstate", None) == _ANOTHER_RATE:
                        break
                    if not is_lost(self._connection):
                        raise
                    self._resting = True
                    down_since = down_since or self._clock()
                    if self._clock() - down_since > self._patience:
                        raise
                    time.sleep(_PAUSE)
                else:
                    return
        raise JournalError(
            f"the rate of the campaign in journal {self._path} was changed by another process, while this one was "
            "paused or cut off from it: run the same command again"
        )

    def _ask(self, wanted: int, unspent: tuple[int, int]) -> None:
        connection = self._session()
        values = self._values | {
            "spread": self._permits.spread,
            "batch": min(self._batch + self._permits.trip, _AHEAD),
            "wanted": wanted,
            "resting": self._resting,
            "lost": self._permits.forgettable() if self._resting else 0,
            "returned": unspent[0],
            "returned_from": unspent[1],
        }
        left = self._clock()
        row = connection.execute(sql("reserve"), values).fetchone()
        came = self._clock()
        if row is not None:
            self._permits.receive(left, came, Reservation(*row))
        self._resting = False

    def _session(self) -> Connection:
        """The session, or a new one where it has broken."""
        if is_lost(self._connection):
            self._connection.close()
            self._connection = self._connect()
        return self._connection

    def _connect(self) -> Connection:
        """A session whose commits don't wait for the disk."""
        connection = connect(self._path)
        with one_line_errors(self._path), ExitStack() as held:
            held.callback(connection.close)
            connection.execute("SET synchronous_commit = off")
            held.pop_all()
        return connection


def _interval(limit: Limit) -> float:
    return limit.period / limit.count
