"""When the next email may go: rates ("20/second, 5000/day") and sending hours ("Mon-Fri 09:00-18:00 Europe/Rome").

Nothing here reads a clock or sleeps. Times are passed in: for rates as seconds (float), for hours as aware datetimes.
"""

from __future__ import annotations

import difflib
import math
import re
from array import array
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from fractions import Fraction
from typing import TYPE_CHECKING, Protocol, Self
from zoneinfo import ZoneInfo, available_timezones

from turbobatch.errors import CampaignError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PACED_PERIOD = 60.0
"""Limits over at most this many seconds are paced evenly; longer ones are quotas, spent as fast as the others allow."""

CATCH_UP = 0.05
"""How many seconds of missed permits a late caller gets back.

A loop that commits to disk between two looks at the clock is late by milliseconds, rarely by tens of them: with 50 ms
that costs no throughput. It lets at most 1 + 50 ms' worth of permits go together: 6 at 100/second, below 20/second 1.
"""

JITTER = 0.02
"""How many seconds a POST may reach the server later than its permit, which is taken right before it begins.

Threads take some of it, connections that take now longer, now shorter the rest. A POST that is held up for longer on
its way arrives beside those after it.
"""

_MAX_PER_SECOND = 100_000
_MAX_PERIOD = 366 * 86400
_UNITS = {"day": 86400, "hour": 3600, "minute": 60, "second": 1}
_UNIT_NAMES = {
    **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1),
    **dict.fromkeys(("m", "min", "mins", "minute", "minutes"), 60),
    **dict.fromkeys(("h", "hour", "hours"), 3600),
    **dict.fromkeys(("d", "day", "days"), 86400),
}
_RATE = re.compile(
    r"(?P<count>[0-9]{1,3}(?:[,_][0-9]{3}){1,4}|[0-9]{1,12}(?:\.[0-9]{1,6})?)"
    r"\s*(?:/|\bper\s)\s*"
    r"(?P<span>[0-9]{1,9}(?:\.[0-9]{1,6})?)?\s*(?P<unit>[a-z]+)",
    re.IGNORECASE,
)

_DAY = timedelta(days=1)
_DAY_MINUTES = 24 * 60
_DAY_NAMES = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
_WINDOW = re.compile(
    r"(?P<days>[a-z,\s-]*?)\s*"
    r"(?P<opens>[0-9]{1,2}:[0-9]{2})\s*-\s*(?P<closes>[0-9]{1,2}:[0-9]{2})"
    r"(?:\s+(?P<zone>\S+))?",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Limit:
    """At most `count` POSTs in any window of `period` seconds.

    Raises:
        CampaignError: `count` is below 1, or `period` is not a positive number.
    """

    count: int
    period: float

    def __post_init__(self) -> None:
        if self.count < 1 or not 0 < self.period < math.inf:
            raise CampaignError(f"a limit of {self.count} in {self.period} seconds can't be kept: both must be above 0")

    def __str__(self) -> str:
        unit, seconds = next(((u, s) for u, s in _UNITS.items() if self.period % s == 0), ("second", 1))
        span = self.period / seconds
        if span == 1:
            return f"{self.count}/{unit}"
        return f"{self.count}/{int(span) if span.is_integer() else span} {unit}s"


def parse_rate(text: str | None) -> tuple[Limit, ...]:
    """Read "20/second, 5000/day", "100/5 minutes", "20 per second" or "0.5/second" (1 in 2 seconds).

    Of two limits with the same period the stricter one is kept. None means no limit: ().

    Raises:
        CampaignError: the text is no rate, or one that can't be meant.
    """
    if text is None:
        return ()
    strictest: dict[float, Limit] = {}
    # A limit ends in a unit: a comma right after a digit belongs to a number such as 1,000,000.
    for item in re.split(r"(?<![0-9]),", text):
        limit = _parse_limit(item.strip(), text)
        known = strictest.get(limit.period, limit)
        strictest[limit.period] = min(limit, known, key=lambda one: one.count)
    return tuple(strictest.values())


def _parse_limit(item: str, text: str) -> Limit:
    match = _RATE.fullmatch(item)
    unit = _UNIT_NAMES.get(match["unit"].lower()) if match else None
    if match is None or unit is None:
        raise _bad_rate(text, f"{item!r} is not a number per second, minute, hour or day")
    count = Fraction(re.sub("[,_]", "", match["count"]))
    asked = Fraction(match["span"] or 1) * unit
    if not count or not asked:
        raise _bad_rate(text, f"{item!r} would never send")
    if count / asked > _MAX_PER_SECOND:
        raise _bad_rate(text, f"{item!r} is above {_MAX_PER_SECOND}/second; leave the rate out for no limit")
    period = asked * count.denominator
    if period > _MAX_PERIOD:
        raise _bad_rate(text, f"{item!r} looks back more than a year")
    if period > PACED_PERIOD >= asked and count.numerator > 1:
        # As a quota of, say, 1001 in 1000 seconds it would go out in one burst, which nobody asked for.
        raise _bad_rate(text, f"{item!r} can't be spread evenly; take a whole number")
    return Limit(count.numerator, float(period))


def _bad_rate(text: str, reason: str) -> CampaignError:
    return CampaignError(f'rate {text!r}: {reason} (example: "20/second, 5000/day")')


class Pacing(Protocol):
    """What grants permits: a Pacer, for one process, or what several processes share. Closed by who has made it."""

    @property
    def longest(self) -> float:
        """How many seconds back `seed` needs to look."""
        ...

    def seed(self, times: Iterable[float]) -> None:
        """Count earlier POSTs, before the first `take`."""
        ...

    def room(self, now: float, want: int) -> int:
        """Tell how many of `want` permits there are; `take` will grant as many if it isn't called much later.

        Raises:
            JournalError: the rate lies in the journal's database, which can't be reached.
        """
        ...

    def take(self, now: float, want: int) -> int:
        """Grant up to `want` permits, to be used at once: nothing that may take long comes between.

        Raises:
            JournalError: as `room`.
        """
        ...

    def next_at(self, now: float) -> float:
        """Tell the earliest time at which `take` may grant a permit; `now` itself for at once."""
        ...

    def waiting_for(self, now: float) -> Limit | None:
        """Tell which limit holds the next permit back; None when it may be granted at once."""
        ...

    def close(self) -> None:
        """Let go of what is held."""
        ...


class Pacer:
    """Grants permits to POST so that no limit is ever exceeded, in no sliding window.

    Limits of up to a minute are also paced evenly (GCRA), with `CATCH_UP` for callers that wake late; longer ones are
    quotas, spent as fast as the others allow. Times are seconds of one clock that doesn't go back, best the wall clock
    read once plus the monotonic clock since; a time before the latest seen counts as the latest.

    Args:
        limits: all of them hold at once; without any, everything is granted.
        jitter: seconds by which a POST may reach the server later than its permit; each window is held that much
            longer (but no more than one POST's share of it), so that the ceiling holds where the server counts.

    Attributes:
        longest: the longest period in seconds, 0 without limits: how far back `seed` needs to look.
    """

    def __init__(self, limits: Iterable[Limit], *, jitter: float = 0.0) -> None:
        self._gates = [_Gate(limit, jitter) for limit in limits]
        self._latest = -math.inf
        self._first: float | None = None
        self.longest: float = max((gate.limit.period for gate in self._gates), default=0.0)

    def seed(self, times: Iterable[float]) -> None:
        """Count earlier POSTs, so that quotas survive a restart. Call it before the first `take`.

        Args:
            times: ascending, on the clock of `take`. A time out of order counts as the latest before it (too careful,
                never too bold). Cap times that lie ahead of the clock: nothing is granted until it reaches them.
        """
        for at in times:
            self._latest = max(self._latest, at)
            for gate in self._gates:
                gate.book(self._latest, self._latest)

    def room(self, now: float, want: int) -> int:
        """Tell how many of `want` permits `take` would grant at `now`: never fewer later on, as nothing is booked."""
        now, missed_since = self._look(now)
        return min((gate.room(now, missed_since, want) for gate in self._gates), default=max(want, 0))

    def take(self, now: float, want: int) -> int:
        """Grant up to `want` permits at `now` and book the granted ones."""
        now, missed_since = self._look(now)
        for granted in range(want):
            if self._ready() > now:
                return granted
            for gate in self._gates:
                gate.book(now, missed_since)
        return max(want, 0)

    def next_at(self, now: float) -> float:
        """Tell the earliest time at which `take` will grant a permit: `now` itself when it would at once."""
        ready = self._ready()
        return ready if ready > max(now, self._latest) else now

    def waiting_for(self, now: float) -> Limit | None:
        """Tell which limit holds the next permit back; None when it would be granted at once."""
        last = max(self._gates, key=lambda gate: gate.ready, default=None)
        return last.limit if last and last.ready > max(now, self._latest) else None

    def close(self) -> None:
        """Do nothing: it holds nothing."""

    def _look(self, now: float) -> tuple[float, float]:
        """The time that counts as now, and since when missed permits may be caught up with."""
        now = self._latest = max(self._latest, now)
        if self._first is None:
            self._first = now
        # Nothing was missed before the first call: a start has no credit to catch up with.
        return now, max(now - CATCH_UP, self._first)

    def _ready(self) -> float:
        return max((gate.ready for gate in self._gates), default=-math.inf)


class _Gate:
    """One limit's state: its last `count` permits in a ring, and `ready`, the time from which the next is allowed."""

    __slots__ = ("_due", "_head", "_interval", "_ring", "_span", "limit", "ready")

    def __init__(self, limit: Limit, jitter: float) -> None:
        self.limit = limit
        self.ready = -math.inf
        self._ring = array("d")  # grows to `count` and wraps there: 8 MB for 1,000,000/day
        self._head = 0  # of a full ring, the oldest
        self._interval = limit.period / limit.count if limit.period <= PACED_PERIOD else 0.0
        self._span = limit.period + min(jitter, limit.period / limit.count)
        self._due = -math.inf

    def book(self, at: float, missed_since: float) -> None:
        """Enter a permit. Pacing goes on from when it was due, yet from no earlier than `missed_since`."""
        self._due = max(self._due, missed_since) + self._interval
        self.ready = self._due
        ring = self._ring
        if len(ring) < self.limit.count:
            ring.append(at)
        else:
            ring[self._head] = at
            self._head = (self._head + 1) % self.limit.count
        if len(ring) == self.limit.count:
            self.ready = max(self.ready, _add_up(ring[self._head], self._span))

    def room(self, at: float, missed_since: float, want: int) -> int:
        """How many times in a row it would be ready, booked at `at` each time; nothing is."""
        ready, due, ring = self.ready, self._due, self._ring
        for number in range(want):
            if ready > at:
                return number
            ready = due = max(due, missed_since) + self._interval
            oldest = len(ring) + number + 1 - self.limit.count
            if oldest >= 0:
                first = ring[(self._head + oldest) % len(ring)] if oldest < len(ring) else at
                ready = max(ready, _add_up(first, self._span))
        return max(want, 0)


def _add_up(start: float, period: float) -> float:
    """Add two floats and round up, not to the nearest: the ceiling holds to the last bit.

    The rounding error is exact by Knuth's two-sum (The Art of Computer Programming, volume 2, 4.2.2, theorem B).
    """
    total = start + period
    part = total - start
    error = (start - (total - part)) + (period - part)
    return math.nextafter(total, math.inf) if error > 0 else total


@dataclass(frozen=True, slots=True)
class Window:
    """The hours in which emails may go: "Mon-Fri 09:00-18:00 Europe/Rome".

    Hours are wall-clock time of the zone, the end not included. An end at or before the start lies on the next day and
    belongs to the day it began. A time that the clocks skip in spring counts as the same distance past the change, one
    that comes twice in autumn as the first (the rule of java.time.ZonedDateTime.ofLocal).

    Attributes:
        days: ascending, 0 for Monday.
        opens: minutes after midnight.
        closes: minutes after the same midnight, above 1440 when it lies on the next day.
    """

    days: tuple[int, ...]
    opens: int
    closes: int
    zone: ZoneInfo

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read "[days] HH:MM-HH:MM zone", such as "Fri-Mon,Wed 22:00-06:00 Europe/Rome" or "00:00-24:00 UTC".

        Without days it is every day. The zone must be named: guessed hours would send emails at night.

        Raises:
            CampaignError: the text is no window, or its time zone is unknown.
        """
        match = _WINDOW.fullmatch(text.strip().replace("\N{EN DASH}", "-"))
        if not match:
            raise _bad_window(text, "expected days, hours and a time zone")
        if not match["zone"]:
            raise _bad_window(text, "the time zone is missing, such as Europe/Rome or UTC")
        opens, closes = _parse_minutes(match["opens"], text), _parse_minutes(match["closes"], text)
        if opens in {closes, _DAY_MINUTES}:
            raise _bad_window(text, "the hours are empty; the whole day is 00:00-24:00")
        if closes < opens:
            closes += _DAY_MINUTES
        return cls(_parse_days(match["days"], text), opens, closes, _parse_zone(match["zone"], text))

    def is_open(self, at: datetime) -> bool:
        """Tell whether emails may go at that time (an aware datetime)."""
        at = _utc(at)
        return self._opening(at)[0] <= at

    def next_open(self, at: datetime) -> datetime:
        """Tell the first time from `at` on when emails may go: `at` itself when open, else the opening, in UTC."""
        opening = self._opening(_utc(at))[0]
        return at if opening <= _utc(at) else opening

    def _opening(self, at: datetime) -> tuple[datetime, datetime]:
        """Find the first opening that isn't over at `at`, as start and end in UTC."""
        # From yesterday, for hours over midnight, to the second week, as a clock change can swallow an opening whole.
        first = at.astimezone(self.zone).date() - _DAY
        days = (first + n * _DAY for n in range(17))
        openings = ((self._instant(d, self.opens), self._instant(d, self.closes)) for d in days if self._has(d))
        return next((start, end) for start, end in openings if start < end and at < end)

    def _has(self, day: date) -> bool:
        return day.weekday() in self.days

    def _instant(self, day: date, minutes: int) -> datetime:
        days, minutes = divmod(minutes, _DAY_MINUTES)
        local = datetime.combine(day + days * _DAY, time(*divmod(minutes, 60)), self.zone)
        # Python compares and subtracts times of one zone by their wall clock, wrongly across a change; UTC has none.
        return local.astimezone(UTC)

    def __str__(self) -> str:
        closes = self.closes if self.closes <= _DAY_MINUTES else self.closes - _DAY_MINUTES
        hours = f"{_format_minutes(self.opens)}-{_format_minutes(closes)} {self.zone.key}"
        return hours if len(self.days) == len(_DAY_NAMES) else f"{_format_days(self.days)} {hours}"


def _parse_minutes(text: str, window: str) -> int:
    hours, minutes = map(int, text.split(":"))
    total = hours * 60 + minutes
    if minutes >= 60 or total > _DAY_MINUTES:  # noqa: PLR2004 - minutes of an hour
        raise _bad_window(window, f"there is no time {text}")
    return total


def _parse_days(text: str, window: str) -> tuple[int, ...]:
    if not text:
        return tuple(range(7))
    days: set[int] = set()
    for item in text.split(","):
        first, dash, last = item.partition("-")
        start = _parse_day(first, window)
        length = (_parse_day(last, window) - start) % 7 if dash else 0
        days.update((start + n) % 7 for n in range(length + 1))
    return tuple(sorted(days))


def _parse_day(text: str, window: str) -> int:
    name = text.strip().lower()
    if len(name) >= 2:  # noqa: PLR2004 - two letters tell the days apart
        for day, full in enumerate(_DAY_NAMES):
            if full.startswith(name):
                return day
    raise _bad_window(window, f"there is no day {text.strip()!r}")


def _parse_zone(name: str, window: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):  # unknown; malformed, as "../x"; a folder, as "Europe"
        known = {zone.lower(): zone for zone in available_timezones()}
        close = difflib.get_close_matches(name.lower(), known, n=1)
        cure = f"; did you mean {known[close[0]]}?" if close else ""
        raise _bad_window(window, f"there is no time zone {name!r}{cure}") from None


def _bad_window(text: str, reason: str) -> CampaignError:
    return CampaignError(f'window {text!r}: {reason} (example: "Mon-Fri 09:00-18:00 Europe/Rome")')


def _format_minutes(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _format_days(days: tuple[int, ...]) -> str:
    return ",".join(_format_run([_DAY_NAMES[day][:3].capitalize() for day in run]) for run in _runs(days))


def _format_run(names: list[str]) -> str:
    return f"{names[0]}-{names[-1]}" if len(names) > 2 else ",".join(names)  # noqa: PLR2004 - two are a list


def _runs(days: tuple[int, ...]) -> Iterator[list[int]]:
    """Split ascending days into runs of neighbours."""
    run: list[int] = []
    for day in days:
        if run and day != run[-1] + 1:
            yield run
            run = []
        run.append(day)
    yield run


def _utc(at: datetime) -> datetime:
    if at.tzinfo is None:
        raise ValueError("a window needs an aware datetime; this one has no time zone")
    return at.astimezone(UTC)
