"""What a report says in short: rows by status, failed addresses, and doubts; counted on its way into the file."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from turbobatch.failures import LEFT_OUT
from turbobatch.policy import Status
from turbobatch.wording import Failures

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    import pandas as pd


@dataclass(slots=True)
class Counts:
    """A table's rows by status, counted chunk by chunk, and the emails in doubt that none of its rows tells of."""

    rows: Counter[str] = field(default_factory=Counter)
    _in_doubt: set[str] = field(default_factory=set)

    def add(self, chunk: pd.DataFrame) -> Counter[str]:
        """Count some rows of the results; tells these counts."""
        found = Counter(chunk["send_status"].tolist())
        self.rows.update(found)
        if found[Status.IN_DOUBT]:
            self._in_doubt.update(chunk.loc[chunk["send_status"] == Status.IN_DOUBT, "send_key"])
        return found

    def merge(self, other: Counts) -> None:
        """Add what another part of the table has."""
        self.rows.update(other.rows)
        self._in_doubt |= other._in_doubt

    def elsewhere(self, in_doubt: Iterable[str]) -> list[str]:
        """Of the keys in doubt at the same moment, those whose rows have left the table."""
        return [key for key in in_doubt if key not in self._in_doubt]


@dataclass(slots=True)
class Reported:
    """What is told of a report, or of a part of one that begins with row `start`.

    `with_sent`: sent rows may have failed too, as their deliveries are known.
    """

    start: int = 0
    with_sent: bool = False
    counts: Counts = field(default_factory=Counts)
    failures: Failures = field(default_factory=Failures)

    def counted(self, chunks: Iterable[pd.DataFrame]) -> Iterator[pd.DataFrame]:
        """Pass results on, and count them."""
        from turbobatch.audit import audit

        for chunk in chunks:
            start = self.start + self.counts.rows.total()
            if not self.counts.add(chunk).keys() <= LEFT_OUT or self.with_sent:
                self.failures.add(audit(chunk, start=start))
            yield chunk

    def merge(self, other: Reported) -> None:
        """Add the next part of the same report."""
        self.counts.merge(other.counts)
        self.failures.merge(other.failures)
