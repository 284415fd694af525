"""One campaign that several commands send over one PostgreSQL, beside the ledger of what arrived."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

from turbobatch.journal import journal_place, read_journal

if TYPE_CHECKING:
    import subprocess

    from conftest import Command

    from turbobatch.sandbox import Sandbox

CONCURRENCY = 4
LEASE = 2.0  # seconds


class Several:
    """The campaign "letters", its journal's database, and the commands that send it, which don't outlive a test."""

    def __init__(self, turbobatch: Command, sandbox: Sandbox, url: str) -> None:
        self.turbobatch = turbobatch
        self.sandbox = sandbox
        self.url = url
        self._held = ExitStack()
        self._started = 0
        turbobatch.use(sandbox)
        turbobatch.environment["TURBOBATCH_LEASE"] = str(LEASE)

    def start(self, *more: str, form: str = ".csv", alone: bool = False) -> subprocess.Popen[str]:
        """One more command that sends it, with more options."""
        self._started += 1
        options = ("--yes", "--concurrency", CONCURRENCY, "--journal", self.url, *more)
        process = self.turbobatch.start("send", "letters", "-o", f"report{self._started}{form}", *options, alone=alone)
        self._held.callback(process.communicate)
        self._held.callback(process.kill)
        return process

    def close(self) -> None:
        """End what is still there."""
        self._held.close()

    @property
    def in_progress(self) -> bool:
        """Whether some lease goes on."""
        with read_journal(journal_place(self.url), "letters") as journal:
            return journal.in_use

    def counts(self) -> dict[str, int]:
        """Emails by status."""
        with read_journal(journal_place(self.url), "letters") as journal:
            return {str(status): count for status, count in journal.counts().items()}

    def ledger(self) -> list[str]:
        """Whom the sandbox has an email to, once for each."""
        return sorted(self.sandbox.inbox()["to"])

    def arrivals(self) -> list[float]:
        """When emails came, ascending; seconds since the epoch."""
        return sorted(time.timestamp() for time in self.sandbox.inbox()["time"])

    def check(self, rows: int, most_in_doubt: int) -> None:
        """Nothing came twice; what isn't in doubt came, and what is may have."""
        ledger = self.ledger()
        assert len(set(ledger)) == len(ledger)
        assert not self.in_progress
        counts = self.counts()
        doubts = counts.get("in_doubt", 0)
        assert doubts <= most_in_doubt
        assert counts.get("sent", 0) == rows - doubts
        assert rows - doubts <= len(ledger) <= rows


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code and what it said."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err
