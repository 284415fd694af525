"""`turbobatch send --on` with workers, scheduler, database or command killed, stopped or cut off. Never twice."""

from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.dask_cluster import DaskCluster
from tests.database import Server
from turbobatch.journal import journal_place, open_journal, read_journal
from turbobatch.policy import Status
from turbobatch.sandbox import Sandbox
from turbobatch.settlement import settle_by_hand

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Letters = Callable[..., Path]
    from conftest import Command

    from tests.conftest import Until

PARTS, PART = 6, 20
ROWS = PARTS * PART
CONCURRENCY = 4
LEASE = 2.0  # seconds
CREDENTIALS = {"TURBOSMTP_CONSUMER_KEY": "sandbox", "TURBOSMTP_CONSUMER_SECRET": "sandbox"}
CAMPAIGN = """
name = "letters"
[recipients]
path = "people"
key = "id"
[message]
from = "Acme <shop@acme.example>"
to = "{{ name }} <{{ email }}>"
subject = "Letter {{ id }}"
text = "letter.txt"
"""


class Campaign:
    """A campaign whose table is a folder of parts, its journal's database, and the commands that send it."""

    def __init__(self, turbobatch: Command, sandbox: Sandbox, url: str) -> None:
        self.turbobatch = turbobatch
        self.sandbox = sandbox
        self.url = url
        self._held = ExitStack()
        self._started = 0
        turbobatch.use(sandbox)
        turbobatch.environment["TURBOBATCH_LEASE"] = str(LEASE)
        folder = turbobatch.folder / "letters"
        (folder / "people").mkdir(parents=True)
        (folder / "campaign.toml").write_text(CAMPAIGN, "utf-8")
        (folder / "letter.txt").write_text("Dear {{ name }}\n", "utf-8")
        for part in range(PARTS):
            rows = range(part * PART, (part + 1) * PART)
            people = "".join(f"{row:03},Person {row},p{row}@example.org\n" for row in rows)
            (folder / "people" / f"part.{part}.csv").write_text(f"id,name,email\n{people}", "utf-8")

    def start(self, on: str) -> subprocess.Popen[str]:
        """One more command that sends it, which doesn't outlive the test."""
        self._started += 1
        options = ("--yes", "--concurrency", CONCURRENCY, "--journal", self.url, "--on", on)
        process = self.turbobatch.start("send", "letters", "-o", f"report{self._started}.csv", *options)
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

    def check(self, most_in_doubt: int) -> None:
        """Nothing came twice; what isn't in doubt came, and what is may have."""
        ledger = sorted(self.sandbox.inbox()["to"])
        assert len(set(ledger)) == len(ledger)
        assert not self.in_progress
        counts = self.counts()
        doubts = counts.get("in_doubt", 0)
        assert doubts <= most_in_doubt
        assert counts.get("sent", 0) == ROWS - doubts
        assert ROWS - doubts <= len(ledger) <= ROWS

    def settle(self) -> None:
        """What the sandbox never got is sent again, what it got is not."""
        arrived = {item["reference_id"] for item in self.sandbox.messages()}
        with open_journal(journal_place(self.url), "letters") as journal:
            for entry in list(journal.entries(Status.IN_DOUBT)):
                verdict = Status.SENT if entry.key in arrived else Status.PENDING
                assert settle_by_hand(journal, verdict, [entry.key]) == 1


def ended(process: subprocess.Popen[str]) -> tuple[int, str]:
    """The exit code and what it said."""
    out, err = process.communicate(timeout=60)
    return process.returncode, out + err


@pytest.fixture
def ledger() -> Iterator[Sandbox]:
    """A sandbox that takes its time."""
    with Sandbox(latency=0.1) as sandbox:
        yield sandbox


@pytest.fixture
def campaign(turbobatch: Command, ledger: Sandbox, database: str) -> Iterator[Campaign]:
    made = Campaign(turbobatch, ledger, database)
    yield made
    made.close()


@pytest.fixture
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A cluster of one scheduler, without workers yet."""
    environment = {**CREDENTIALS, "TURBOBATCH_LEASE": str(LEASE)}
    made = DaskCluster(tmp_path_factory.mktemp("dask"), environment)
    yield made
    made.close()


@pytest.mark.parametrize("nanny", [True, False])
def test_a_worker_is_killed(campaign: Campaign, dask: DaskCluster, until: Until, *, nanny: bool) -> None:
    """Its part is sent by another, or by the one that takes its place; what it had in flight is in doubt."""
    for _ in range(1 if nanny else 2):
        dask.add(nanny=nanny)
    dask.ready(1 if nanny else 2)
    command = campaign.start(dask.address)
    until(lambda: campaign.sandbox.requests_seen() > ROWS // 4)
    import os
    os.kill(next(iter(dask.pids().values())), signal.SIGKILL)
    code, said = ended(command)
    print(said)
    assert code in (0, 1), said
    until(lambda: not campaign.in_progress)
    campaign.check(CONCURRENCY)
