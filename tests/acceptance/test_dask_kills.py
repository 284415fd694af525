"""`turbobatch send --on` with workers, scheduler, database or command killed or stopped. Never twice."""

from __future__ import annotations

import os
import signal
import subprocess
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

import turbobatch as tb
from tests.dask_cluster import DaskCluster
from tests.database import Server
from tests.several import CONCURRENCY, LEASE, Several, ended
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Letters = Callable[..., Path]
    from conftest import Command

    from tests.conftest import Until

ROWS = 120
STOPPED_EARLY = 3  # the exit code
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


class Campaign(Several):
    """A campaign whose table is a folder of parts, and which a cluster sends."""

    def __init__(self, turbobatch: Command, sandbox: Sandbox, url: str, parts: int = 6) -> None:
        super().__init__(turbobatch, sandbox, url)
        folder = turbobatch.folder / "letters"
        (folder / "people").mkdir(parents=True)
        (folder / "campaign.toml").write_text(CAMPAIGN, "utf-8")
        (folder / "letter.txt").write_text("Dear {{ name }}\n", "utf-8")
        for part in range(parts):
            rows = range(part * ROWS // parts, (part + 1) * ROWS // parts)
            people = "".join(f"{row:03},Person {row},p{row}@example.org\n" for row in rows)
            (folder / "people" / f"part.{part}.csv").write_text(f"id,name,email\n{people}", "utf-8")

    def send_on(self, on: str, *, form: str = ".csv", alone: bool = False) -> subprocess.Popen[str]:
        """One more command that has a cluster send it."""
        return self.start("--on", on, form=form, alone=alone)

    def check_all(self, most_in_doubt: int) -> None:
        """See `check`."""
        self.check(ROWS, most_in_doubt)


@pytest.fixture
def campaign(turbobatch: Command, ledger: Sandbox, database: str) -> Iterator[Campaign]:
    made = Campaign(turbobatch, ledger, database)
    yield made
    made.close()


@pytest.fixture
def slow(turbobatch: Command, database: str) -> Iterator[Campaign]:
    """The same in two parts, each of which takes seconds: who stops has to stop within one."""
    with Sandbox(latency=0.25) as sandbox:
        made = Campaign(turbobatch, sandbox, database, parts=2)
        yield made
        made.close()


def cluster_of(folder: Path, **environment: str) -> DaskCluster:
    return DaskCluster(folder, {**CREDENTIALS, "TURBOBATCH_LEASE": str(LEASE), **environment})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """What most tests here have together, as it takes seconds to start."""
    made = cluster_of(tmp_path_factory.mktemp("dask"))
    yield made
    made.close()


@pytest.fixture
def dask(shared: DaskCluster) -> DaskCluster:
    """Two workers, the second one under a nanny, at least at the beginning."""
    pids = shared.pids()
    if not pids:
        shared.add()
        shared.add(nanny=True)
    elif len(pids) == 1:
        shared.add()
    return shared.ready(2)


@pytest.mark.unmeasured
def test_all_workers_are_killed(campaign: Campaign, dask: DaskCluster, until: Until) -> None:
    """The one that comes in their place sends the rest of their parts; what they had in flight is in doubt."""
    command = campaign.send_on(dask.address)
    until(lambda: campaign.sandbox.requests_seen() > ROWS // 4)
    for pid in dask.pids().values():
        os.kill(pid, signal.SIGKILL)
    code, said = ended(command)
    assert code in (0, 1), said
    dask.ready(1)
    until(lambda: not campaign.in_progress)
    campaign.check_all(2 * CONCURRENCY)


@pytest.mark.unmeasured
def test_one_of_two_workers_is_killed(campaign: Campaign, dask: DaskCluster, until: Until) -> None:
    """The other sends the rest of its part too, but for what it had in flight."""
    command = campaign.send_on(dask.address)
    until(lambda: campaign.sandbox.requests_seen() > ROWS // 4)
    os.kill(next(iter(dask.pids().values())), signal.SIGKILL)
    code, said = ended(command)
    assert code in (0, 1), said
    until(lambda: not campaign.in_progress)
    campaign.check_all(CONCURRENCY)


@pytest.mark.unmeasured
def test_a_worker_retires(campaign: Campaign, dask: DaskCluster, until: Until) -> None:
    """It waits for its POSTs and leaves the rest of its part to the other; nothing is in doubt."""
    command = campaign.send_on(dask.address)
    until(lambda: campaign.sandbox.requests_seen() > ROWS // 4)
    dask.client.retire_workers(list(dask.pids())[:1])
    code, said = ended(command)
    assert code == 0, said
    campaign.check_all(0)


def test_the_scheduler_is_killed(
    slow: Campaign, dask: DaskCluster, until: Until, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """The command ends, its workers too; on another cluster the same command goes on."""
    doomed = cluster_of(tmp_path_factory.mktemp("doomed"))
    try:
        worker = doomed.add()
        command = slow.send_on(doomed.ready(1).address)
        until(lambda: slow.sandbox.requests_seen() > ROWS // 10)
        doomed.scheduler.kill()
        code, said = ended(command)
        assert code == STOPPED_EARLY, said
        assert (
            "error: the workers are gone (Dask's scheduler can't be reached): the rest is pending; run the same" in said
        )
        assert "Traceback" not in said
        worker.wait(60)
        until(lambda: not slow.in_progress)
        before = slow.sandbox.requests_seen()
        assert before < ROWS // 2  # the one worker had a part of that many
        code, said = ended(slow.send_on(dask.address))
        assert code in (0, 1), said
        slow.check_all(CONCURRENCY)
    finally:
        doomed.close()


@pytest.mark.unmeasured
def test_the_command_is_killed(slow: Campaign, dask: DaskCluster, until: Until) -> None:
    """The workers stop by themselves, with nothing in doubt, and the same command goes on."""
    command = slow.send_on(dask.address)
    until(lambda: slow.sandbox.requests_seen() > ROWS // 10)
    command.kill()
    until(lambda: not slow.in_progress)
    assert ROWS // 10 < slow.sandbox.requests_seen() < ROWS
    assert slow.counts() == {"sent": slow.sandbox.requests_seen()}
    code, said = ended(slow.send_on(dask.address))
    assert code == 0, said
    slow.check_all(0)


@pytest.mark.unmeasured
def test_ctrl_c(turbobatch: Command, slow: Campaign, dask: DaskCluster, until: Until) -> None:
    """All workers stop claiming, wait for what they have in flight and leave no doubts; the report says so."""
    command = slow.send_on(dask.address)
    until(lambda: slow.sandbox.requests_seen() > ROWS // 10)
    command.send_signal(signal.SIGINT)
    code, said = ended(command)
    assert code == STOPPED_EARLY, said
    assert "error: stopped by the user: the rest is pending" in said
    assert ROWS // 10 < slow.sandbox.requests_seen() < ROWS
    assert not slow.in_progress
    sent = slow.sandbox.requests_seen()
    assert slow.counts() == {"sent": sent}
    report = tb.read_report(turbobatch.folder / "report1.csv")
    assert Counter(report["send_status"]) == {"sent": sent, "pending": ROWS - sent}
    assert report["id"].tolist() == [f"{row:03}" for row in range(ROWS)]
    code, said = ended(slow.send_on(dask.address))
    assert code == 0, said
    slow.check_all(0)


def test_ctrl_c_where_all_workers_are_gone(
    turbobatch: Command, slow: Campaign, until: Until, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Nobody is waited for: the command writes the report that workers were to write, and ends."""
    with closing(cluster_of(tmp_path_factory.mktemp("deserted"))) as dask:
        worker = dask.add()
        command = slow.send_on(dask.ready(1).address, form="/")
        until(lambda: slow.sandbox.requests_seen() > ROWS // 10)
        worker.kill()
        dask.ready(0)
        command.send_signal(signal.SIGINT)
        code, said = ended(command)
    assert code == STOPPED_EARLY, said
    assert "the workers are gone, or don't answer: the report is written here" in said
    assert "error: stopped by the user: the rest is pending" in said
    report = tb.read_report(turbobatch.folder / "report1")
    counts = slow.counts()
    assert 0 < counts["in_doubt"] <= CONCURRENCY
    assert Counter(report["send_status"]) == {**counts, "pending": ROWS - sum(counts.values())}


def has_processes(group: int) -> bool:
    """Whether a process group has any."""
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_ctrl_c_in_a_terminal(slow: Campaign, until: Until) -> None:
    """Which strikes the workers of `local:2` too: they are told what it means, and end with the command."""
    command = slow.send_on("local:2", alone=True)
    until(lambda: slow.sandbox.requests_seen() > ROWS // 10)
    os.killpg(command.pid, signal.SIGINT)
    code, said = ended(command)
    assert code == STOPPED_EARLY, said
    assert said.splitlines()[-1].startswith("error: stopped by the user: the rest is pending; ")
    assert "Traceback" not in said
    assert ROWS // 10 < slow.sandbox.requests_seen() < ROWS
    assert slow.counts() == {"sent": slow.sandbox.requests_seen()}
    until(lambda: not has_processes(command.pid))


@pytest.mark.unmeasured
def test_a_second_ctrl_c(turbobatch: Command, database: str, dask: DaskCluster, until: Until) -> None:
    """The command leaves at once, the workers as soon as their POSTs have ended."""
    with Sandbox(latency=3) as sandbox, closing(Campaign(turbobatch, sandbox, database)) as campaign:
        command = campaign.send_on(dask.address)
        until(sandbox.requests_seen)
        command.send_signal(signal.SIGINT)
        with pytest.raises(subprocess.TimeoutExpired):
            command.wait(1)  # it waits for the answers
        command.send_signal(signal.SIGINT)
        code, said = ended(command)
        assert code == STOPPED_EARLY, said
        assert "error: left at once; the journal knows what was sent, and the same command goes on" in said
        until(lambda: not campaign.in_progress)
        assert campaign.counts() == {"sent": len(sandbox.inbox())}


@pytest.fixture
def server() -> Iterator[Server]:
    """A PostgreSQL that this test may kill."""
    running = Server()
    yield running
    running.close()


@pytest.mark.unmeasured
@pytest.mark.parametrize("comes_back", [True, False])
def test_the_database_is_killed(
    turbobatch: Command, ledger: Sandbox, dask: DaskCluster, until: Until, server: Server, *, comes_back: bool
) -> None:
    """Back at once, the run goes on; else it ends with exit code 3, and the same command goes on later."""
    campaign = Campaign(turbobatch, ledger, server.url)
    dask.set("TURBOBATCH_LEASE", 60 if comes_back else LEASE)
    try:
        command = campaign.send_on(dask.address)
        until(lambda: ledger.requests_seen() > ROWS // 4)
        server.kill()
        if comes_back:
            server.start()
            code, said = ended(command)
            assert code == 0, said
            campaign.check_all(0)
            return
        code, said = ended(command)
        assert code == STOPPED_EARLY, said
        assert said.count("error: ") == 1
        assert "the same command goes on" in said
        assert ROWS // 4 < ledger.requests_seen() < ROWS
        server.start()
        until(lambda: not campaign.in_progress)
        code, said = ended(campaign.send_on(dask.address))
        assert code in (0, 1), said
        campaign.check_all(2 * CONCURRENCY)
    finally:
        campaign.close()
        dask.set("TURBOBATCH_LEASE", LEASE)
