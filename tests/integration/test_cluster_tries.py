"""Parts whose workers are lost are sent on by others, or not: nothing leaves twice that nobody agreed to, none is lost.

The scheduler and each worker are processes of their own, which the tests kill and freeze.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import ExitStack, closing
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import turbobatch as tb
from tests.dask_cluster import DaskCluster
from tests.database import Server, drop_schema, with_schema
from turbobatch.cluster.orders import shared_journal
from turbobatch.cluster.pool import NoWorkersError, is_executing, running_of
from turbobatch.journal import journal_place, read_journal
from turbobatch.journal.trust import mark_of
from turbobatch.policy import Status, StopReason
from turbobatch.run import RunState
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.conftest import Until
    from turbobatch.run import Run

pytestmark = [pytest.mark.xdist_group("cluster_tries"), pytest.mark.unmeasured]

PATIENCE = 60.0  # seconds
ROWS = 80  # fewer than a part has at least: one part
LIMIT = 70
FEW = 40
PARTS = 4  # of a Dask DataFrame
CONCURRENCY = 4
LEASE = "2"  # seconds
ANSWER = 1.0  # seconds that a frozen process is waited for
CREDENTIALS = {"TURBOSMTP_CONSUMER_KEY": "sandbox", "TURBOSMTP_CONSUMER_SECRET": "sandbox"}
SILENT = 3.0  # seconds without a word after which a worker is given up
IS_SENDING = "__import__('turbobatch.cluster.work', fromlist=['work'])._at_a_time.locked()"
IMPATIENT = "from turbobatch.cluster import signals; signals.ANSWER = 1.0; signals._SILENCE = 2.0"


def people(rows: int = ROWS) -> pd.DataFrame:
    return pd.DataFrame({"id": range(rows), "email": [f"p{row}@example.org" for row in range(rows)]})


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler for all tests, as it takes seconds to start."""
    made = DaskCluster(tmp_path_factory.mktemp("dask"), {**CREDENTIALS, "TURBOBATCH_LEASE": LEASE})
    yield made
    made.close()


@pytest.fixture
def dask(shared: DaskCluster) -> Iterator[DaskCluster]:
    """The same with one worker, the one that was started last if it is still there."""
    there = sum(worker.poll() is None for worker in shared.workers)
    shared.ready(there)
    if not there:
        shared.add()
    yield shared.ready(1)
    for worker in shared.workers[:-1]:
        kill(worker)


def kill(worker: subprocess.Popen[bytes]) -> None:
    """End a worker at once, also a frozen one."""
    worker.kill()
    worker.wait()


class World:
    """A campaign's journal, the cluster, and an account that takes a tenth of a second for each email."""

    def __init__(self, database: str, dask: DaskCluster, **options: Any) -> None:
        self.database = database
        self.dask = dask
        self._held = ExitStack()
        self.sandbox = self._held.enter_context(Sandbox(latency=0.1))
        self.client = self._held.enter_context(closing(self.sandbox.client(**options)))

    def campaign(self, **options: Any) -> tb.Campaign:
        """One that isn't sent yet."""
        texts = {"from_": "shop@acme.example", "to": "{{ email }}", "subject": "{{ id }}", "text": "Hello"}
        message = tb.MailMerge(**texts, **options.pop("message", {}))  # type: ignore[arg-type]  # whatever a test gives
        given = {"name": "letters", "key": "id", "journal": self.database, "concurrency": CONCURRENCY, **options}
        return tb.Campaign(message=message, **given)

    def start(self, campaign: tb.Campaign, table: Any, **options: Any) -> Run:
        """A run that doesn't outlive the test."""
        run = campaign.start(table, self.client, on=self.dask.client, **options)
        self._held.callback(run.stop)
        return run

    def replace_worker(self, until: Until) -> None:
        """Kill the one that there is; another comes when the lease of the first one has ended."""
        kill(self.dask.workers[-1])
        until(lambda: not self.in_use())
        self.dask.ready(0).add()
        self.dask.ready(1)

    def freeze_worker(self, until: Until) -> int:
        """Stop the one that there is in the middle of its part; its process number."""
        (pid,) = self.dask.pids().values()
        until(lambda: self.sandbox.requests_seen() >= ROWS // 4)
        os.kill(pid, signal.SIGSTOP)
        return pid

    def wake_worker(self, pid: int, until: Until) -> None:
        """Let it go on until it has ended what it was at."""
        os.kill(pid, signal.SIGCONT)
        until(lambda: not any(self.dask.client.run(eval, IS_SENDING).values()))

    def in_use(self) -> bool:
        """Whether some lease goes on."""
        with read_journal(journal_place(self.database), "letters") as journal:
            return journal.in_use

    def counts(self) -> dict[str, int]:
        """Emails by status."""
        with read_journal(journal_place(self.database), "letters") as journal:
            return {str(status): count for status, count in journal.counts().items()}

    def twice(self) -> set[str]:
        """Who got more than one email."""
        return {address for address, emails in Counter(self.sandbox.inbox()["to"]).items() if emails > 1}

    def close(self) -> None:
        """End what is still there."""
        self._held.close()


@pytest.fixture
def world(database: str, dask: DaskCluster) -> Iterator[World]:
    made = World(database, dask)
    yield made
    made.close()


def ended(run: Run) -> RunState:
    """Its state at its end."""
    assert run.wait(PATIENCE), run
    return run.progress.state


def test_another_try_posts_nothing_again_that_its_own_run_left_in_doubt(world: World, until: Until) -> None:
    """Also where the user asked for rows in doubt to be posted again: they meant those of earlier runs."""
    run = world.start(world.campaign(), people(), resend=True)
    until(lambda: world.sandbox.requests_seen() >= ROWS // 4)
    world.replace_worker(until)
    assert ended(run) is RunState.FINISHED
    assert not world.twice()
    assert 0 < world.counts()["in_doubt"] <= CONCURRENCY
    assert sum(world.counts().values()) == ROWS


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who dispatches waits less long for a word, and for an answer."""
    monkeypatch.setattr(import_module("turbobatch.cluster.dispatch"), "_SILENT", SILENT)
    monkeypatch.setattr(import_module("turbobatch.cluster.pool"), "ANSWER", ANSWER)


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_freezes_past_its_lease(world: World, until: Until) -> None:
    """Another sends the rest of its part; when it wakes it posts nothing more, and commits nothing."""
    run = world.start(world.campaign(), people())
    frozen = world.freeze_worker(until)
    world.dask.add()
    assert ended(run) is RunState.FINISHED
    until(lambda: not world.in_use())
    seen, before = world.sandbox.requests_seen(), world.counts()
    assert 0 < before["in_doubt"] <= CONCURRENCY
    assert sum(before.values()) == ROWS
    assert run.progress.rows == before
    world.wake_worker(frozen, until)
    assert world.counts() == before
    assert world.sandbox.requests_seen() - seen <= CONCURRENCY  # intents were committed before it froze
    assert not world.twice()
    assert before["sent"] <= len(world.sandbox.inbox()) <= ROWS


@pytest.mark.usefixtures("impatient")
def test_a_worker_that_freezes_for_less_than_its_lease(world: World, until: Until) -> None:
    """What it has in flight stays its own: others leave that alone, and it commits the answers when it wakes."""
    world.dask.set("TURBOBATCH_LEASE", 600)
    run = world.start(world.campaign(), people(), resend=True)
    frozen = world.freeze_worker(until)
    world.dask.add()
    assert ended(run) is RunState.FINISHED
    assert world.in_use()
    assert 0 < world.counts()["in_doubt"] <= CONCURRENCY
    world.wake_worker(frozen, until)
    assert world.counts() == {"sent": ROWS}
    assert not world.twice()
    assert len(world.sandbox.inbox()) == ROWS


@pytest.mark.usefixtures("impatient")
def test_a_stop_does_not_wait_for_a_worker_that_froze(
    world: World, until: Until, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    """Nor does the report; it says what was left, and the next run sends it."""
    campaign = world.campaign()
    plan = campaign.plan(people(), on=world.dask.client)
    run = world.start(campaign, plan)
    ((address, _),) = world.dask.pids().items()
    frozen = world.freeze_worker(until)
    run.stop()
    assert ended(run) is RunState.STOPPED
    assert run.stop_reason is StopReason.USER
    assert run.stop_message.startswith("1 part wasn't waited for, as nothing is heard from there any more, or nothing")
    assert caplog.text.count(f"worker {address} isn't heard of any more") == 1
    with pytest.raises(NoWorkersError, match=f"worker {address} doesn't answer: end it"):
        campaign.report_by(world.dask.client, plan, tmp_path / "report", print)
    until(lambda: not world.in_use())
    world.wake_worker(frozen, until)
    assert 0 < world.counts()["in_doubt"] <= CONCURRENCY
    assert ended(world.start(campaign, people())) is RunState.FINISHED
    assert sum(world.counts().values()) == ROWS
    assert not world.twice()
    assert world.counts()["sent"] <= len(world.sandbox.inbox()) <= ROWS


@pytest.fixture
def pause(world: World, until: Until) -> Iterator[Callable[[], None]]:
    """Has the one worker paused for the rest of the test, as Dask does where its memory is full."""
    dask = world.dask.client

    def set_status(name: str, dask_worker: Any) -> None:
        dask_worker.status = type(dask_worker.status)[name]

    def pause() -> None:
        dask.run(set_status, "paused")
        until(lambda: not running_of(dask))

    yield pause
    dask.run(set_status, "running")
    until(lambda: running_of(dask))


def test_a_paused_worker_is_given_nothing(world: World, until: Until, pause: Callable[[], None]) -> None:
    """That it is waited for is told, and the run can be stopped."""
    campaign = world.campaign()
    plan = campaign.plan(people(), on=world.dask.client)
    pause()
    run = world.start(campaign, plan)
    until(lambda: "Dask has paused them, as their memory is full" in run.progress.waiting)
    run.stop()
    assert ended(run) is RunState.STOPPED
    assert world.sandbox.requests_seen() == 0


def test_a_look_at_the_table_does_not_wait_for_paused_workers(
    world: World, pause: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    """For what they haven't begun; nothing was sent."""
    pause()
    for name in ("_ALONE", "_LOOK"):
        monkeypatch.setattr(import_module("turbobatch.cluster.pool"), name, 0.5)
    with pytest.raises(NoWorkersError, match="Dask has paused 1 of 1 workers, as their memory is full"):
        world.campaign().plan(people(), on=world.dask.client)


def test_a_stop_does_not_wait_for_a_part_that_has_not_begun(
    world: World, until: Until, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its worker is at something else, such as another run's part; the part isn't begun after that."""
    monkeypatch.setattr(import_module("turbobatch.cluster.dispatch"), "_BEGINS", 1.0)
    dask, done = world.dask.client, tmp_path / "done"

    def work() -> None:
        while not done.exists():
            time.sleep(0.01)

    campaign = world.campaign()
    plan = campaign.plan(people(), on=dask)
    other = dask.submit(work)
    until(lambda: any(dask.run(is_executing).values()))
    run = world.start(campaign, plan)
    until(lambda: any("send_part" in str(tasks) for tasks in world.dask.busy().values()))
    run.stop()
    assert ended(run) is RunState.STOPPED
    assert run.stop_message == ""
    done.touch()
    other.result()
    until(lambda: not any(world.dask.busy().values()))
    assert world.sandbox.requests_seen() == 0


def test_a_part_of_a_limit_is_not_tried_again(world: World, until: Until, caplog: pytest.LogCaptureFixture) -> None:
    """How many of it have been posted, the worker that is gone knew; the run ends early, and says so."""
    run = world.start(world.campaign(), people(), limit=LIMIT)
    until(lambda: world.sandbox.requests_seen() >= ROWS // 4)
    world.replace_worker(until)
    assert ended(run) is RunState.STOPPED
    assert run.stop_reason is StopReason.CLUSTER
    assert ROWS // 4 <= world.sandbox.requests_seen() < LIMIT
    assert "is gone; the rest of its part waits for another run: only so many emails may be posted" in run.stop_message
    assert run.stop_message in caplog.text
    assert not world.twice()


def test_without_a_key_column_another_run_sends_the_rest(world: World, until: Until, tmp_path: Path) -> None:
    """An attachment that has changed makes other emails of the same rows, which only a plan would tell."""
    terms = tmp_path / "terms.txt"
    terms.write_text("the old ones", "utf-8")
    campaign = world.campaign(key=None, message={"attachments": ["terms.txt"], "folder": tmp_path})
    run = world.start(campaign, people())
    until(lambda: world.sandbox.requests_seen() >= ROWS // 4)
    terms.write_text("the new ones", "utf-8")
    world.replace_worker(until)
    assert ended(run) is RunState.STOPPED
    assert run.stop_reason is StopReason.CLUSTER
    assert "without a key column only the next run" in run.stop_message
    seen = world.sandbox.requests_seen()
    with pytest.raises(tb.CampaignError, match="undo the change"):
        world.start(campaign, people())
    assert world.sandbox.requests_seen() == seen
    terms.write_text("the old ones", "utf-8")
    assert ended(world.start(campaign, people())) is RunState.FINISHED
    assert not world.twice()
    assert sum(world.counts().values()) == ROWS


@pytest.mark.parametrize("how", ["order", "rows"])
def test_a_partition_that_is_computed_otherwise_stops_the_run(
    how: str, world: World, until: Until, tmp_path: Path
) -> None:
    """No row is taken for another's duplicate; the next run, which looks at it anew, sends the rest."""
    import dask.dataframe as dd
    from dask.delayed import delayed

    rows = people()
    rows.loc[ROWS - 5, "id"] = 0  # the key of an earlier partition's row
    parts = [rows[part * ROWS // PARTS : (part + 1) * ROWS // PARTS] for part in range(PARTS)]
    changed = tmp_path / "changed"
    # Workers don't know this module, but what is defined in here travels.
    computed = delayed(lambda part, other: other if changed.exists() else part, pure=False)
    frames = [computed(part, part[::-1] if how == "order" else part[:-1]) for part in parts]
    table = dd.from_delayed(frames, meta=rows[:0], verify_meta=False)
    run = world.start(world.campaign(), table)
    until(world.sandbox.requests_seen)
    changed.touch()
    with pytest.raises(tb.CampaignError, match="was changed while it was in use"):
        run.wait(PATIENCE)
    assert run.progress.state is RunState.FAILED
    assert ended(world.start(world.campaign(), table)) is RunState.FINISHED
    assert not world.twice()
    keys = set(table["id"].compute()) | {int(key) for key in world.sandbox.inbox()["subject"]}
    assert world.counts() == {"sent": len(keys)}


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_worker_is_lost_with_what_it_has_done(
    how: signal.Signals, world: World, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It isn't waited for: another goes through its part, finds all of it sent, and says so."""
    from distributed import Future

    ((address, pid),) = world.dask.pids().items()
    fetch = Future.result

    def lost(future: Future, *given: Any, **named: Any) -> Any:
        if future.key.startswith("send_part") and address in world.dask.client.who_has([future])[future.key]:
            os.kill(pid, how)
        return fetch(future, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Future, "result", lost)
        for name in ("crew", "dispatch"):
            patch.setattr(import_module(f"turbobatch.cluster.{name}"), "ANSWER", ANSWER)
        run = world.start(world.campaign(), people(FEW))
        until(lambda: run.progress.waiting == "workers")
    world.dask.add()
    assert ended(run) is RunState.FINISHED
    assert run.progress.rows == {Status.SENT: FEW}
    assert world.sandbox.requests_seen() == FEW


def test_a_scheduler_that_hangs(
    database: str, until: Until, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The run is stopped without it, and its workers, whom nobody can tell, stop by themselves."""
    dask = DaskCluster(tmp_path_factory.mktemp("hangs"), {**CREDENTIALS, "TURBOBATCH_LEASE": LEASE})
    dask.add()
    with closing(dask), closing(World(database, dask.ready(1))) as world:
        dask.client.run(exec, IMPATIENT)
        run = world.start(world.campaign(concurrency=1), people(2 * ROWS))  # which would take a while
        until(world.sandbox.requests_seen)
        for name in ("signals", "pool", "dispatch"):
            monkeypatch.setattr(import_module(f"turbobatch.cluster.{name}"), "ANSWER", ANSWER)
        dask.scheduler.send_signal(signal.SIGSTOP)
        try:
            run.stop()
            assert ended(run) is RunState.STOPPED
            until(lambda: not world.in_use())
            assert world.counts() == {"sent": world.sandbox.requests_seen()}
            assert world.sandbox.requests_seen() < 2 * ROWS
        finally:
            dask.scheduler.send_signal(signal.SIGCONT)


def test_a_database_that_hangs(dask: DaskCluster, until: Until, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stop doesn't wait for it. When it wakes, the worker commits what it had in flight, and claims nothing more."""
    monkeypatch.setattr(import_module("turbobatch.cluster.dispatch"), "_GETS_ON", 1.0)
    dask.set("TURBOBATCH_LEASE", 600)
    answers: Any = {"timeout": 1.0, "transport": "requests"}  # curl reads none meanwhile: they would be too late
    with closing(Server()) as server, closing(World(server.url, dask, **answers)) as world:
        run = world.start(world.campaign(), people())
        until(lambda: world.sandbox.requests_seen() >= ROWS // 4)
        hanging = server.processes
        for process in hanging:
            process.suspend()
        run.stop()
        assert ended(run) is RunState.STOPPED
        assert run.stop_message.startswith("1 part wasn't waited for")
        for process in hanging:
            process.resume()
        until(lambda: not any(dask.client.run(eval, IS_SENDING).values()))
        assert world.counts() == {"sent": world.sandbox.requests_seen()}
        assert world.sandbox.requests_seen() < ROWS
    dask.set("TURBOBATCH_LEASE", LEASE)


def test_a_worker_that_comes_late_and_can_not_send(
    world: World, until: Until, caplog: pytest.LogCaptureFixture
) -> None:
    """It is told of once, and the run goes on without it."""
    (first,) = world.dask.pids()
    run = world.start(world.campaign(), people(FEW))
    until(world.sandbox.requests_seen)
    run.pause()  # a worker takes its time to come
    world.dask.add(TURBOSMTP_CONSUMER_KEY="", TURBOSMTP_CONSUMER_SECRET="")
    (late,) = set(world.dask.ready(2).client.nthreads()) - {first}
    until(lambda: late in caplog.text)
    run.resume()
    assert ended(run) is RunState.FINISHED
    assert run.progress.rows == {Status.SENT: FEW}
    (told,) = [record.getMessage() for record in caplog.records if late in record.getMessage()]
    assert "no credentials" in told
    assert told.endswith("; the run goes on without it")
    kill(world.dask.workers[-1])


def test_a_worker_that_has_another_journal(world: World, postgres: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Under the very same URL: it is told, and nothing is sent."""
    kill(world.dask.workers[-1])
    world.dask.ready(0)
    (here, own), (there, other) = with_schema(postgres), with_schema(postgres)
    for url in (here, there):
        mark_of(shared_journal(journal_place(url)), "letters")  # makes it
    monkeypatch.setenv("PGOPTIONS", f"-csearch_path={own}")
    world.dask.add(PGOPTIONS=f"-csearch_path={other}")
    (worker,) = world.dask.ready(1).pids()
    with pytest.raises(tb.CampaignError) as caught:
        world.start(world.campaign(journal=postgres), people())
    kill(world.dask.workers[-1])
    for schema in (own, other):
        drop_schema(postgres, schema)
    assert str(caught.value).startswith(f"worker {worker} can't take part: postgresql://")
    assert "is another database here than where the run was started" in str(caught.value)
    assert world.sandbox.requests_seen() == 0


def test_a_worker_that_hangs_is_named(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a table is looked at, each is asked, and not waited for for ever."""
    monkeypatch.setattr(import_module("turbobatch.cluster.pool"), "_HANGS", ANSWER)
    ((address, pid),) = world.dask.pids().items()
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(tb.CampaignError) as caught:
        world.campaign().plan(people(), on=world.dask.client)
    assert str(caught.value).startswith(f"worker {address} can't take part: it hasn't answered for 1 seconds")
    kill(world.dask.workers[-1])
