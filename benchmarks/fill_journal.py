"""Fill a journal as if a table of receipts had been sent: `python -m benchmarks.fill_journal FILE|URL ROWS`."""

from __future__ import annotations

import argparse
import time
from contextlib import closing
from typing import TYPE_CHECKING

from turbobatch.journal import Intent, Outcome, journal_place, open_journal, open_pacer
from turbobatch.policy import Status
from turbobatch.rates import parse_rate

if TYPE_CHECKING:
    from pathlib import Path

    from turbobatch.journal import JournalUrl
    from turbobatch.rates import Pacing

_AT_ONCE = 10_000


def fill(place: Path | JournalUrl, rows: int, *, first: int = 0, at_once: int = _AT_ONCE, rate: str = "") -> None:
    """Note the keys of some receipts as sent, through the journal's own door.

    A commit has the intents of `at_once` of them and the outcomes of those before, as an engine's has. With a `rate`
    the permits for these intents are taken first.
    """
    now = time.time()
    with open_journal(place, "benchmark") as journal, closing(open_pacer(journal, parse_rate(rate or None))) as pacer:
        outcomes: list[Outcome] = []
        for start in range(first, first + rows, at_once):
            keys = [f"{number:07}" for number in range(start, min(start + at_once, first + rows))]
            intents = [Intent(key=key, digest=f"{key:0>32}", time=now, recipients=f"{key:0>32}") for key in keys]
            _take(pacer, len(intents))
            journal.commit(intents, outcomes)
            outcomes = [
                Outcome(key=key, status=Status.SENT, message="OK", time=now, posted=True, http_status=200, seconds=0.1)
                for key in keys
            ]
        journal.commit([], outcomes)


def _take(pacer: Pacing, count: int) -> None:
    while (count := count - pacer.take(now := time.monotonic(), count)) > 0:
        time.sleep(max(pacer.next_at(now) - time.monotonic(), 0.0))


def main() -> None:
    """Parse and fill."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("place", help="a file, or the URL of a PostgreSQL database")
    parser.add_argument("rows", type=int)
    parser.add_argument("--first", type=int, default=0, help="the first receipt's number")
    parser.add_argument("--at-once", type=int, default=_AT_ONCE, help="emails of a commit")
    parser.add_argument("--rate", default="", help="take permits of this rate")
    given = parser.parse_args()
    fill(journal_place(given.place), given.rows, first=given.first, at_once=given.at_once, rate=given.rate)


if __name__ == "__main__":
    main()
