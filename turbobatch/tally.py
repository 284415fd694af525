"""Results counted chunk by chunk: what must be remembered for it stays small, however many rows there are.

The same rows give the same figures, whatever chunks they come in.
"""

from __future__ import annotations

import re
from collections import Counter
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Iterator, Sequence

    import numpy as np
    import numpy.typing as npt
    import pandas as pd

_PART = 10_000  # rows that are counted at once
_BINS = 20_000  # moments that are counted apart
_POINTS = 120  # intervals of a pace
_WIDTHS = (
    100, 500, 1000, 5000, 10_000, 30_000, 60_000, 300_000, 600_000, 1_800_000, 3_600_000, 7_200_000, 21_600_000,
    43_200_000, 86_400_000, 604_800_000,
)  # fmt: skip
"""How many milliseconds an interval may have, each a multiple of the one before; after a week come twice as many."""
_SECOND = 1000
_LAST_MOMENT = 253_370_764_800_000  # milliseconds; what comes in the year 9999 or later is no moment of a run

_ADDRESS = re.compile(r"[^\s@]@[^\s@]")
_DOMAIN = re.compile(r"@([^\s@,;:<>()\"'\\]+)")
_ADDRESS_NAMES = frozenset({"email", "e-mail", "address", "recipient", "email address", "to"})


class PacePoint(NamedTuple):
    """What was posted in one interval."""

    begin: datetime
    seconds: float
    emails: int


class DomainCount(NamedTuple):
    """The emails whose first recipient is in one domain, or a failed one, and what became of them there."""

    domain: str  # blank where the cell holds no address
    emails: int
    failed: int  # for an address in this domain
    sent: int = 0  # of the others
    in_doubt: int = 0

    @property
    def rest(self) -> int:
        """Those that are still to send, were left out, or failed for an address elsewhere."""
        return self.emails - self.failed - self.sent - self.in_doubt


class CategoryCount(NamedTuple):
    """How many addresses failed in one way."""

    category: str
    addresses: int


class CauseCount(NamedTuple):
    """The same, more closely: what was said, without the values that are each row's own."""

    category: str
    cause: str
    addresses: int


class Bounded:
    """Counts of so many things at most; what comes when the table is full is counted together."""

    def __init__(self, most: int) -> None:
        self.counts: Counter[Any] = Counter()
        self.others = 0
        self._most = most

    def add(self, things: Iterable[Hashable]) -> None:
        """Count things, in their order: the first ones get a line of their own."""
        for thing, count in Counter(things).items():
            if thing in self.counts or len(self.counts) < self._most:
                self.counts[thing] += count
            else:
                self.others += count


class Keys:
    """Which keys were met, at eight bytes a key: runs of sorted hashes, each at least twice as long as the next."""

    def __init__(self) -> None:
        self._runs: list[npt.NDArray[np.int64]] = []

    def first(self, keys: Sequence[str | None]) -> npt.NDArray[np.bool_]:
        """Which of these are met here for the first time. Those without a key (None) always are."""
        import numpy as np

        known = np.fromiter((key is not None for key in keys), bool, len(keys))
        hashes = np.fromiter((hash(key) for key in keys if key is not None), np.int64)
        values, places = np.unique(hashes, return_index=True)
        fresh = np.ones(len(values), dtype=bool)
        for run in self._runs:
            at = np.minimum(np.searchsorted(run, values), len(run) - 1)
            fresh &= run[at] != values
        if fresh.any():
            self._add(values[fresh])
        found = ~known
        found[np.flatnonzero(known)[places[fresh]]] = True
        return found

    def _add(self, run: npt.NDArray[np.int64]) -> None:
        import numpy as np

        while self._runs and len(self._runs[-1]) < 2 * len(run):
            run = np.sort(np.concatenate([self._runs.pop(), run]), kind="stable")
        self._runs.append(run)


class Pace:
    """When emails were posted: counts in intervals, which grow with the time that they span."""

    def __init__(self) -> None:
        self.posted = 0
        self.first: datetime | None = None
        self.last: datetime | None = None
        self._width = _WIDTHS[0]
        self._bins: Counter[int] = Counter()

    def add(self, moments: pd.Series[Any]) -> None:
        """Count moments, in any order; the missing ones don't count."""
        import numpy as np

        micros = moments.dropna().dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[us]")
        times = micros.astype(np.int64)
        times = times[(times >= 0) & (times < _LAST_MOMENT * _SECOND)]
        if not len(times):
            return
        first, last = (_moment(int(end), micros=True) for end in (times.min(), times.max()))
        self.first = min(filter(None, (self.first, first)))
        self.last = max(filter(None, (self.last, last)))
        self.posted += len(times)
        bins, counts = np.unique(times // (_SECOND * self._width), return_counts=True)
        self._bins.update(dict(zip(bins.tolist(), counts.tolist(), strict=True)))
        while len(self._bins) > _BINS:
            self._bins, self._width = _rebinned(self._bins, self._width, wider := _wider(self._width)), wider

    @property
    def mean(self) -> float:
        """Emails per second from the first to the last, pauses included; of less than a second as of a whole one."""
        if self.first is None or self.last is None:
            return 0.0
        return self.posted / max((self.last - self.first).total_seconds(), 1.0)

    @property
    def peak(self) -> float:
        """The most emails per second in any second; where intervals had to become longer, in any one of them."""
        span = max(_SECOND // self._width, 1)  # bins
        most = inside = begin = 0
        bins = sorted(self._bins.items())
        for place, count in bins:
            inside += count
            while bins[begin][0] <= place - span:
                inside -= bins[begin][1]
                begin += 1
            most = max(most, inside)
        return max(most / (span * self._width / _SECOND), self.mean)  # bins begin where they like, the mean doesn't

    def points(self) -> tuple[PacePoint, ...]:
        """The emails of equal intervals from the first to the last, also of the empty ones."""
        if not self._bins:
            return ()
        bins, width = self._bins, self._width
        while max(bins) - min(bins) >= _POINTS:
            bins, width = _rebinned(bins, width, wider := _wider(width)), wider
        places = range(min(bins), max(bins) + 1)
        return tuple(PacePoint(_moment(place * width), width / _SECOND, bins[place]) for place in places)


def with_sample(chunks: Iterable[pd.DataFrame], rows: int) -> tuple[pd.DataFrame, Iterator[pd.DataFrame]]:
    """The first rows of all chunks, as objects, and all the chunks, in parts of a size that costs little memory."""
    import pandas as pd

    rest = _parts(chunks)
    begun: list[pd.DataFrame] = []
    while sum(map(len, begun)) < rows and (chunk := next(rest, None)) is not None:
        begun.append(chunk)
    heads = [chunk.head(rows).astype(object) for chunk in begun if len(chunk)] or begun[:1]
    sample = pd.DataFrame() if not heads else heads[0] if len(heads) == 1 else pd.concat(heads)
    return sample.head(rows), chain(begun, rest)


def address_column(sample: pd.DataFrame, names: Iterable[str]) -> str | None:
    """The column, of these, that tells whom an email goes to; None if none holds addresses.

    One with a telling name goes before one that holds more of them, and of equals the first.
    """

    def rank(name: str) -> tuple[bool, int]:
        found = sum(1 for cell in sample[name].tolist() if isinstance(cell, str) and _ADDRESS.search(cell))
        return (found > 0 and str(name).strip().casefold() in _ADDRESS_NAMES, found)

    best = max(names, key=rank, default=None)
    return best if best is not None and rank(best)[1] else None


def domain_of(cell: Any) -> str:
    """The domain of the first address in a cell, in lower case; blank if there is none."""
    match = _DOMAIN.search(cell) if isinstance(cell, str) else None
    return match[1].rstrip(".").lower()[:255] if match else ""


def _parts(chunks: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
    for chunk in chunks:
        if len(chunk) <= _PART:
            yield chunk
        else:
            yield from (chunk.iloc[start : start + _PART] for start in range(0, len(chunk), _PART))


def _rebinned(bins: Counter[int], width: int, wider: int) -> Counter[int]:
    found: Counter[int] = Counter()
    for place, count in bins.items():
        found[place * width // wider] += count
    return found


def _wider(width: int) -> int:
    return next((wider for wider in _WIDTHS if wider > width), 2 * width)


def _moment(time: int, *, micros: bool = False) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + (timedelta(microseconds=time) if micros else timedelta(milliseconds=time))
