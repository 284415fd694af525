"""The journal fails in mid-run: its disk is full, or its file goes away. What was answered is known, or named."""

from __future__ import annotations

import json
import shutil
import subprocess
import threading
from typing import TYPE_CHECKING

import pandas as pd
import pytest

import turbobatch as tb
from turbobatch.engine import Candidate, Engine
from turbobatch.errors import JournalError
from turbobatch.journal import open_journal
from turbobatch.policy import Status
from turbobatch.rates import Pacer
from turbobatch.sandbox import Sandbox
from turbobatch.sendapi import Request
from turbobatch.testing import FakeClock, FakeTransport, fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from turbobatch.transport import Completion, Job


# A full disk


class SmallDisk:
    """A file system of its own that is full for real when it is told to be."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        with self._ballast.open("wb", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                pass

    def free(self) -> None:
        self._ballast.unlink(missing_ok=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[SmallDisk]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("may not mount")
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", str(folder)], check=True)


class Filling(FakeTransport):
    """Fills the disk at the 20th POST; makes room once `is_time` says so."""

    is_time: Callable[[], bool]
    disk: SmallDisk
    filled = False

    def submit(self, jobs: Sequence[Job]) -> None:
        super().submit(jobs)
        if not self.filled and len(self.requests) >= 20:
            self.filled = True
            self.disk.fill()

    def poll(self, timeout: float) -> list[Completion]:
        if self.is_time():
            self.disk.free()
        return super().poll(timeout)


def candidates(count: int) -> list[Candidate]:
    def request(key: str) -> Request:
        body = json.dumps({"reference_id": key}).encode()
        return Request("https://api.example/mail/send", {"Content-Type": "application/json"}, body)

    return [Candidate(n, 1, f"k{n}", f"digest {n}", request(f"k{n}")) for n in range(count)]


def latency(request: Request) -> float:
    """Every third POST takes long: some are in flight when others have come back."""
    return 5.0 if int(fields_of(request)["reference_id"][1:]) % 3 == 0 else 0.2


@pytest.mark.parametrize(("concurrency", "is_freed"), [(1, False), (4, False), (4, True), (16, False), (16, True)])
def test_answers_outlive_a_full_disk(concurrency: int, is_freed: bool, disk: SmallDisk) -> None:
    """Where room is made before the run's end they are all written; else the rest is named and in doubt."""
    clock = FakeClock()
    with open_journal(disk.folder / "letters.journal.db", "letters") as journal:
        transport = Filling(clock=clock, latency=latency)
        transport.disk = disk
        engine = Engine(
            feed=iter(candidates(200)),
            journal=journal,
            transport=transport,
            pacer=Pacer(()),
            concurrency=concurrency,
            clock=clock,
        )
        transport.is_time = lambda: is_freed and engine._broken is not None
        with pytest.raises(JournalError, match="make room on the disk and run the same command again") as caught:
            engine.run()
        counts = journal.counts()
        assert 20 <= sum(counts.values()) == len(transport.requests) < 200
        if is_freed:
            assert counts == {Status.SENT: len(transport.requests)}
        else:
            in_doubt = [entry.key for entry in journal.entries(Status.IN_DOUBT)]
            assert 0 < len(in_doubt) <= concurrency
            told = f"the answers to {len(in_doubt)} emails couldn't be written, their rows stay in doubt: "
            assert told in str(caught.value)
            assert all(repr(key) in str(caught.value) for key in in_doubt)
        disk.free()


# A file that goes away


def people(count: int) -> pd.DataFrame:
    return pd.DataFrame({"id": range(count), "email": [f"p{number}@example.org" for number in range(count)]})


def campaign_in(folder: Path) -> tb.Campaign:
    message = tb.MailMerge(from_="shop@acme.example", to="{{ email }}", subject="{{ id }}", text="Hello")
    return tb.Campaign(name="letters", message=message, key="id", journal=folder / "letters.journal.db", concurrency=4)


def replaced(path: Path, away: Path) -> None:
    shutil.copyfile(path, away)
    away.replace(path)


LOSSES: dict[str, Callable[[Path, Path], object]] = {
    "deleted": lambda path, _: path.unlink(),
    "moved": lambda path, away: path.rename(away),
    "replaced by a copy": replaced,
}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_journal_that_goes_away_ends_the_run(loss: str, tmp_path: Path) -> None:
    """Nothing more is sent, in this run or another; what was sent is still told, and a file put back is taken."""
    table, path, away = people(300), tmp_path / "letters.journal.db", tmp_path / "away"
    with Sandbox(latency=0.02) as sandbox:
        client, campaign = sandbox.client(), campaign_in(tmp_path)
        run = campaign.start(table, client)
        while not run.progress.done:
            threading.Event().wait(0.005)
        LOSSES[loss](path, away)
        with pytest.raises(tb.JournalError, match="was deleted, moved or replaced while it was in use: nothing more"):
            run.wait(60)
        seen = sandbox.requests_seen()
        assert 0 < seen < 300
        assert campaign.results(table)["send_status"].value_counts().to_dict() == {"sent": seen, "pending": 300 - seen}
        for again in (campaign, campaign_in(tmp_path)):
            with pytest.raises(tb.JournalError, match="deleted, moved or replaced"):
                again.send(table, client, progress=False)
        assert sandbox.requests_seen() == seen
        if loss == "moved":
            away.rename(path)
            assert set(campaign.send(table, client, progress=False)["send_status"]) == {"sent"}
            assert sandbox.requests_seen() == 300
        client.close()


def test_a_journal_that_goes_away_at_the_very_end_is_told(tmp_path: Path) -> None:
    """The last answers come when it is gone already: had the run ended well, the next one would send anew."""
    table, path = people(4), tmp_path / "letters.journal.db"
    with Sandbox(latency=0.5) as sandbox:
        client, campaign = sandbox.client(), campaign_in(tmp_path)
        run = campaign.start(table, client)
        while sandbox.requests_seen() < 4:
            threading.Event().wait(0.005)
        path.unlink()
        with pytest.raises(tb.JournalError, match="deleted, moved or replaced"):
            run.wait(60)
        assert set(campaign.results(table)["send_status"]) == {"sent"}
        client.close()
