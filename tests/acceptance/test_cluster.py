"""Several `turbobatch send` of one campaign at once, over one PostgreSQL: killed, stopped and cut off. Never twice."""

from __future__ import annotations

import signal
from itertools import pairwise
from typing import TYPE_CHECKING

import psycopg
import pytest

from tests.database import Server
from tests.several import CONCURRENCY, Several, ended
from turbobatch.journal import journal_place, open_journal
from turbobatch.policy import Status
from turbobatch.settlement import settle_by_hand

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from turbobatch.sandbox import Sandbox

    Letters = Callable[..., Path]
    from conftest import Command

    from tests.conftest import Until

ROWS = 60


class Cluster(Several):
    """A campaign that its commands send without a cluster's help."""

    def settle(self) -> None:
        """What the sandbox never got is sent again, what it got is not."""
        arrived = {item["reference_id"] for item in self.sandbox.messages()}
        with open_journal(journal_place(self.url), "letters") as journal:
            for entry in list(journal.entries(Status.IN_DOUBT)):
                verdict = Status.SENT if entry.key in arrived else Status.PENDING
                assert settle_by_hand(journal, verdict, [entry.key]) == 1


@pytest.fixture
def cluster(turbobatch: Command, ledger: Sandbox, database: str) -> Iterator[Cluster]:
    made = Cluster(turbobatch, ledger, database)
    yield made
    made.close()


def test_two_at_once_send_each_email_once(cluster: Cluster, letters: Letters) -> None:
    """Both take part, and both end well."""
    letters(ROWS)
    processes = [cluster.start(), cluster.start()]
    for code, said in map(ended, processes):
        assert code in (0, 1), said  # 1: the other still waits for an answer
    assert len(cluster.ledger()) == len(set(cluster.ledger())) == ROWS
    assert cluster.counts() == {"sent": ROWS}
    with psycopg.connect(cluster.url) as connection:
        (shares,) = zip(
            *connection.execute("SELECT count(*) FROM turbobatch_send GROUP BY worker").fetchall(), strict=True
        )
    assert len(shares) == 2


def test_a_rate_holds_over_all_that_send(cluster: Cluster, letters: Letters) -> None:
    """Where POSTs arrive, but for what a busy machine holds them up on their way."""
    letters(ROWS)
    processes = [cluster.start("--rate", "20/second") for _ in range(2)]
    for code, said in map(ended, processes):
        assert code in (0, 1), said
    assert len(cluster.ledger()) == len(set(cluster.ledger())) == ROWS
    with psycopg.connect(cluster.url) as connection:
        workers = connection.execute("SELECT DISTINCT worker FROM turbobatch_send").fetchall()
    assert len(workers) == 2
    arrived = cluster.arrivals()
    assert all(beyond - first >= 0.75 for first, beyond in zip(arrived, arrived[20:], strict=False))


def test_a_rate_holds_where_commits_stall(cluster: Cluster, letters: Letters, until: Until) -> None:
    """Two claims wait for the database, each with a permit of its own: they don't leave together once it goes on."""
    letters(4)
    cluster.turbobatch.environment["TURBOBATCH_LEASE"] = "60"
    processes = [cluster.start("--rate", "1/second") for _ in range(2)]
    until(lambda: cluster.sandbox.requests_seen() == 1)
    with psycopg.connect(cluster.url) as holding, psycopg.connect(cluster.url, autocommit=True) as looking:
        holding.execute("LOCK TABLE turbobatch_post IN EXCLUSIVE MODE")
        waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'turbobatch_post'::regclass AND NOT granted"
        until(lambda: looking.execute(waiting).fetchone() == (2,))
    for code, said in map(ended, processes):
        assert code in (0, 1), said
    assert len(cluster.ledger()) == len(set(cluster.ledger())) == 4
    assert cluster.counts() == {"sent": 4}
    assert all(after - before >= 0.5 for before, after in pairwise(cluster.arrivals()))


def test_another_rate_at_the_same_time_is_refused(
    cluster: Cluster, letters: Letters, until: Until, signals: None
) -> None:
    """With exit code 2, and nothing of it is sent; once the run in progress has ended, it is taken."""
    del signals
    letters(3)
    first = cluster.start("--rate", "1/hour")
    until(lambda: cluster.counts() == {"sent": 1})
    for options, named in ((("--rate", "30/second"), "30/second"), ((), "no rate")):
        code, said = ended(cluster.start(*options))
        assert code == 2
        assert f"another process sends this campaign at 1/hour, this one would at {named}" in said
        assert "Traceback" not in said
    first.send_signal(signal.SIGINT)
    assert ended(first)[0] == 3
    assert len(cluster.ledger()) == 1
    assert ended(cluster.start("--rate", "30/second"))[0] == 0
    assert len(cluster.ledger()) == len(set(cluster.ledger())) == 3


def test_one_of_two_is_killed(cluster: Cluster, letters: Letters, until: Until) -> None:
    """What it had in flight is in doubt, and once its lease has ended it can be settled; the other sends the rest."""
    letters(ROWS)
    doomed, other = cluster.start(), cluster.start()
    until(lambda: cluster.sandbox.requests_seen() > ROWS // 4)
    doomed.kill()
    code, said = ended(other)
    assert code in (0, 1), said
    until(lambda: not cluster.in_progress)
    cluster.check(ROWS, CONCURRENCY)
    cluster.settle()
    assert ended(cluster.start())[0] == 0
    assert len(cluster.ledger()) == len(set(cluster.ledger())) == ROWS


def test_one_that_was_stopped_past_its_lease_commits_nothing(cluster: Cluster, letters: Letters, until: Until) -> None:
    """It wakes when others have gone on, posts nothing more, and says so; its answers are in doubt."""
    letters(ROWS)
    sleeper = cluster.start()
    until(lambda: cluster.sandbox.requests_seen() > ROWS // 8)
    sleeper.send_signal(signal.SIGSTOP)
    assert ended(cluster.start())[0] in (0, 1)
    until(lambda: not cluster.in_progress)
    seen, before = cluster.sandbox.requests_seen(), cluster.counts()
    assert 0 < before["in_doubt"] <= CONCURRENCY
    sleeper.send_signal(signal.SIGCONT)
    code, said = ended(sleeper)
    assert code == 3
    assert "was lost: this process was paused, or cut off from it, for too long" in said
    assert cluster.counts() == before
    assert cluster.sandbox.requests_seen() - seen <= CONCURRENCY  # whose intents were committed before it was stopped
    cluster.check(ROWS, CONCURRENCY)
    cluster.settle()
    assert ended(cluster.start())[0] == 0
    assert len(cluster.ledger()) == len(set(cluster.ledger())) == ROWS


@pytest.fixture
def server() -> Iterator[Server]:
    """A PostgreSQL that this test may kill."""
    running = Server()
    yield running
    running.close()


def test_a_server_that_may_forget_is_warned_of(
    turbobatch: Command, ledger: Sandbox, letters: Letters, until: Until, server: Server
) -> None:
    """Before anything is sent, and with the setting's name."""
    letters(1)
    cluster = Cluster(turbobatch, ledger, server.url)
    assert "off" not in ended(cluster.start())[1]
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")
        until(lambda: connection.execute("SHOW fsync").fetchone() == ("off",))
    assert "warning: journal postgresql://postgres@/postgres" in (said := ended(cluster.start())[1])
    assert "fsync off: after a crash of its server emails may go out twice; turn it on" in said
    cluster.close()


@pytest.mark.parametrize("comes_back", [True, False])
def test_the_database_is_killed(
    turbobatch: Command, ledger: Sandbox, letters: Letters, until: Until, server: Server, *, comes_back: bool
) -> None:
    """Back at once, the run goes on; else it ends with exit code 3, and the same command goes on later."""
    letters(ROWS)
    # The password is never asked for there, and must not show for all that.
    cluster = Cluster(turbobatch, ledger, server.url.replace("postgres@", "postgres:pa55Wx9Jd@"))
    if comes_back:
        turbobatch.environment["TURBOBATCH_LEASE"] = "60"
    try:
        process = cluster.start()
        until(lambda: ledger.requests_seen() > ROWS // 4)
        server.kill()
        if comes_back:
            server.start()
            code, said = ended(process)
            assert code == 0, said
        else:
            code, said = ended(process)
            assert code == 3, said
            assert "the same command goes on" in said
            assert ROWS // 4 < ledger.requests_seen() < ROWS
            server.start()
            until(lambda: not cluster.in_progress)
            again = cluster.start()
            more = ended(again)
            assert more[0] in (0, 1), more
            said += more[1]
        cluster.check(ROWS, 0 if comes_back else CONCURRENCY)
        assert "pa55Wx9Jd" not in said
        assert "postgresql://postgres@" in turbobatch.here("status", "letters", "--journal", cluster.url).stdout
    finally:
        cluster.close()


def test_a_database_that_is_not_there_sends_nothing(turbobatch: Command, ledger: Sandbox, letters: Letters) -> None:
    """One line with what to look at, and without the password; `status` says the same."""
    letters(3)
    turbobatch.use(ledger)
    url = "postgresql://ana:pa55Wx9Jd@127.0.0.1:1/mail"
    for command in (("send", "letters", "-o", "report.csv", "--yes"), ("status", "letters")):
        ended_so = turbobatch(*command, "--journal", url)
        assert ended_so.returncode == 2
        said = ended_so.stdout + ended_so.stderr
        assert "journal postgresql://ana@127.0.0.1:1/mail can't be reached" in said
        assert "pa55Wx9Jd" not in said
    assert ledger.requests_seen() == 0
