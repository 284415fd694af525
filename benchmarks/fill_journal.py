"""Fill a journal as if a table of receipts had been sent: `python -m benchmarks.fill_journal FILE ROWS`."""

from __future__ import annotations

import sys
import time
from pathlib import Path

from turbobatch.journal import Intent, Outcome, open_journal
from turbobatch.policy import Status

_AT_ONCE = 10_000


def fill(path: Path, rows: int) -> None:
    """Note the keys of the first `rows` receipts as sent, through the journal's own door."""
    now = time.time()
    with open_journal(path, "benchmark") as journal:
        for start in range(0, rows, _AT_ONCE):
            keys = [f"{number:07}" for number in range(start, min(start + _AT_ONCE, rows))]
            journal.commit([Intent(key=key, digest=f"{key:0>32}", time=now) for key in keys], [])
            journal.commit(
                [],
                [
                    Outcome(
                        key=key, status=Status.SENT, message="OK", time=now, posted=True, http_status=200, seconds=0.1
                    )
                    for key in keys
                ],
            )


if __name__ == "__main__":
    fill(Path(sys.argv[1]), int(sys.argv[2]))
