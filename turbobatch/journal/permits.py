"""Permits from a clock elsewhere: when each may be spent by the clock here. No clock is read, nothing is asked for.

Times are nanoseconds, whole numbers, so that no rounding adds up.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING

from turbobatch.journal.clock import SECOND

if TYPE_CHECKING:
    from collections.abc import Collection

_SHARE = 40  # of a period, within which a permit is to be spent: it costs as much of the rate
_WIDEST = SECOND // 4
_TRIPS = 20  # the last ones, which tell how far the server is
_ROOM = 3  # times a round trip; one is lost between the two ends' clocks
_COMMIT = 2  # times what a commit takes
_MEMORY = SECOND  # what a server may forget when it falls: commits of 3 * wal_writer_delay, 0.6 s as it is delivered


@dataclass(frozen=True, slots=True)
class Reservation:
    """What the server has set aside, by its clock, at `clock`.

    Attributes:
        first: the first slot; the next ones are each `step` later, `granted` in all.
        spread: how long after its slot a permit may be spent.
        ask_at: when there may be more.
        held_by: the period of the quota that is waited for, if it is one.
        booked: the time for which a quota counts it, by which all of it is spent or forfeited.
    """

    clock: int
    first: int
    step: int
    granted: int
    spread: int
    ask_at: int
    held_by: int | None
    booked: int


@dataclass(frozen=True, slots=True)
class _Permit:
    """May be spent from `opens` to `closes`, both included; `booked` as its reservation."""

    opens: int
    closes: int
    booked: int


class Permits:
    """What is held of the shared rate.

    Args:
        spread: the shortest time in which a permit is to be spent.

    Attributes:
        spread: the time to ask for: longer where round trips are.
        ask_at: not before then is there anything to be had.
        held_by: the period of the quota that is waited for, if it is one.
    """

    def __init__(self, spread: int) -> None:
        self._spread = spread
        self._held: deque[_Permit] = deque()
        self._unspent: Counter[int] = Counter()  # by the time they were booked for
        self._trips: deque[int] = deque(maxlen=_TRIPS)
        self._waits: deque[int] = deque(maxlen=_TRIPS)
        self._recent: deque[tuple[int, int]] = deque()  # when they were received, and how many
        self.ask_at = 0
        self.held_by: int | None = None

    @property
    def trip(self) -> int:
        """How long the way to the server and back takes usually: of the last ones, half were as quick."""
        return _usual(self._trips)

    @property
    def spread(self) -> int:
        """How long after its slot a permit should stay good, so that long trips and commits leave some of it."""
        wait = _COMMIT * _usual(self._waits)
        return max(self._spread, _ROOM * self.trip, wait if wait < _SHARE * self._spread else 0)

    def receive(self, left: int, came: int, given: Reservation) -> None:
        """Take in the answer to a request that left and came back at these times by the clock here.

        The server read its clock somewhere between: a slot has begun for sure when it is counted from `came`, and its
        spread isn't over when it is counted from `left`.
        """
        self._trips.append(came - left)
        for number in range(given.granted):
            ahead = given.first + number * given.step - given.clock
            permit = _Permit(came + ahead, left + ahead + given.spread, given.booked)
            if permit.opens <= permit.closes:
                self._held.append(permit)
            else:  # the trip took longer than it is good for
                self._unspent[permit.booked] += 1
        self.ask_at = came + given.ask_at - given.clock
        self.held_by = given.held_by
        self._recent.append((came, given.granted))
        while self._recent[0][0] < came - _MEMORY:
            self._recent.popleft()

    def good(self, now: int, want: int) -> int:
        """How many of `want` could be spent now."""
        opened = takewhile(lambda permit: permit.opens <= now, self._held)
        return min(sum(permit.closes >= now for permit in opened), want)

    def spend(self, now: int, want: int) -> int:
        """Spend up to `want` of those that are good now; those whose time is over are forfeited."""
        spent = 0
        while self._held and self._held[0].opens <= now and (spent < want or self._held[0].closes < now):
            permit = self._held.popleft()
            if permit.closes < now:
                self._unspent[permit.booked] += 1
            else:
                spent += 1
        return spent

    def was_spent_after(self, wait: int) -> None:
        """Take note of how long it was from where permits were found to be good until they were to be spent."""
        self._waits.append(wait)

    def missing(self, now: int, want: int, soon: int) -> int:
        """How many to ask for: none while half of them are held, or the last one held opens later than `soon`."""
        self.spend(now, 0)
        held = len(self._held)
        if now < self.ask_at or held * 2 > want or (held and self._held[-1].opens > now + soon):
            return 0
        return max(want - held, 0)

    def next_at(self, now: int) -> int:
        """When there may be a permit, spent or asked for; `now` if at once."""
        return max(self._held[0].opens if self._held else self.ask_at, now)

    def give_up(self) -> None:
        """Nothing of it will be spent."""
        while self._held:
            self._unspent[self._held.popleft().booked] += 1

    def unspent(self) -> tuple[int, int]:
        """How many were forfeited of those booked for one time, and that time; (0, 0) if none. They count as told."""
        if not self._unspent:
            return 0, 0
        booked, count = self._unspent.popitem()
        return count, booked

    def forgettable(self) -> int:
        """How many a server that fell may have forgotten, as it fell after its last answer; they count as spent."""
        self._unspent.clear()
        return sum(count for _, count in self._recent)


def shortest_spread(periods: list[int]) -> int:
    """How long a permit of limits over these periods stays good where the server is near."""
    return min(_WIDEST, min(periods, default=_WIDEST * _SHARE) // _SHARE)


def _usual(spans: Collection[int]) -> int:
    """Half of them were as short; 0 if there is none."""
    return sorted(spans)[(len(spans) - 1) // 2] if spans else 0
