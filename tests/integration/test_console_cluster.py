"""The console with a cluster behind it: real workers in processes of their own, a journal in PostgreSQL."""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import dask
import psutil
import pytest
from distributed.security import Security

from tests.integration.consoles import Opened, campaign, people, text_of
from turbobatch.cluster.pool import open_pool, workers_of
from turbobatch.console.send_state import Phase
from turbobatch.policy import Status
from turbobatch.run import RunState

if TYPE_CHECKING:
    from collections.abc import Iterator

    from distributed import Client as DaskClient

    from tests.conftest import Until
    from turbobatch.sandbox import Sandbox

pytestmark = [pytest.mark.xdist_group("console_cluster"), pytest.mark.unmeasured, pytest.mark.usefixtures("folder")]

ROWS = 500  # two parts: both workers have one
FEW = 30
CREDENTIALS = {"TURBOSMTP_CONSUMER_KEY": "sandbox", "TURBOSMTP_CONSUMER_SECRET": "sandbox"}
SLOWLY = "20/second"  # a run takes much longer than it takes to press a button


@pytest.fixture(scope="module")
def workers() -> Iterator[DaskClient]:
    """Two workers, for all tests."""
    with open_pool("local:2", CREDENTIALS) as pool:
        yield pool


def everybody(sandbox: Sandbox) -> list[str]:
    """Whom an email has reached, once for each."""
    return sorted(sandbox.inbox()["to"])


def processes() -> set[int]:
    """Those that this one has started."""
    return {child.pid for child in psutil.Process().children(recursive=True)}


def doors(process: psutil.Process) -> set[str]:
    """The addresses of this machine that a process listens at."""
    return {door.laddr.ip for door in process.net_connections("inet") if door.status == psutil.CONN_LISTEN}


def test_count_and_send(sandbox: Sandbox, database: str, workers: DaskClient) -> None:
    """The pane says by whom; each email leaves once, and the workers stay."""
    opened = Opened(campaign(journal=database, rate=None), people(FEW), sandbox.client(), on=workers)
    opened.count()
    assert f"2 workers of {workers.scheduler.address}" in text_of(opened.view.send.facts)
    assert f'<a href="{workers.dashboard_link}"' in text_of(opened.view.send.facts)
    opened.start()
    done = opened.ends()
    assert done.results.counts == {"sent": FEW}
    assert done.send.progress is not None
    assert done.send.progress.rows == {Status.SENT: FEW}
    assert len(everybody(sandbox)) == len(set(everybody(sandbox))) == FEW
    assert workers_of(workers).count == 2


def test_a_cluster_of_its_own_lets_nobody_else_in(workers: DaskClient) -> None:
    """Other users of this machine reach its ports: who comes without its keys, or with others, gets no answer."""
    there = workers.scheduler_info(n_workers=-1)["workers"]
    asked = [workers.scheduler.address, *there, *(each["nanny"] for each in there.values())]
    assert len(asked) == 5
    own = ssl.create_default_context()
    other = Security.temporary().get_connection_args("client")["ssl_context"]
    for context in (own, other):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        for address in asked:
            where = urlsplit(address)
            assert (where.scheme, where.hostname) == ("tls", "127.0.0.1")
            with (
                socket.create_connection((where.hostname, where.port)) as plain,
                context.wrap_socket(plain) as door,
                pytest.raises(ssl.SSLError, match="alert"),
            ):
                door.recv(1)


def test_pause_resume_and_stop(sandbox: Sandbox, database: str, workers: DaskClient, until: Until) -> None:
    """All workers pause, go on and stop; another console finds the run and says by whom; the next sends the rest."""
    paced = campaign(journal=database, rate=SLOWLY)
    opened = Opened(paced, people(ROWS), sandbox.client(), on=workers)
    opened.start()
    opened.sees(lambda now: now.send.progress is not None and now.send.progress.done > 0)
    opened.view.send.pause.click()
    opened.sees(lambda now: now.send.progress is not None and now.send.progress.waiting == "Resume")
    seen = sandbox.requests_seen()
    assert "waiting for Resume" in text_of(opened.view.send.run_text)
    again = Opened(paced, people(ROWS), sandbox.client())
    again.sees(lambda now: now.send.running)
    assert sandbox.requests_seen() == seen
    assert "by 2 workers of " in text_of(again.view.send.by)
    again.view.send.resume.click()
    until(lambda: sandbox.requests_seen() > seen)
    again.view.send.stop.click()
    stopped = again.ends()
    assert stopped.send.progress is not None
    assert stopped.send.progress.state is RunState.STOPPED
    assert text_of(again.view.send.by) == ""
    assert stopped.results.counts == {"sent": sandbox.requests_seen(), "pending": ROWS - sandbox.requests_seen()}
    rest = Opened(paced, people(ROWS), sandbox.client(), on=workers)
    rest.view.send.rate.value = ""
    rest.start()
    rest.ends()
    assert len(everybody(sandbox)) == len(set(everybody(sandbox))) == ROWS


@pytest.mark.usefixtures("workers")  # with them came Python's own tracker of shared memory, which stays
def test_a_cluster_of_its_own(sandbox: Sandbox, database: str, until: Until) -> None:
    """Opened by the first count, kept for the run, though its console is closed, and gone with it to the last one."""
    before = processes()
    opened = Opened(campaign(journal=database, rate=SLOWLY), people(FEW), sandbox.client(), on="local:1")
    assert processes() == before
    opened.view.send.plan.click()
    opened.sees(lambda now: now.send.reaching)
    assert "waiting for the cluster" in text_of(opened.view.send.plan_text)
    opened.sees(lambda now: now.send.planning is not Phase.BUSY)
    own = processes() - before
    assert own
    for process in (psutil.Process(), *map(psutil.Process, own)):
        assert doors(process) <= {"127.0.0.1"}  # nobody else's machine can look
    opened.start()
    assert processes() - before == own
    opened.console.close()
    until(lambda: processes() <= before)
    assert len(everybody(sandbox)) == FEW


@pytest.mark.parametrize(
    ("journal", "on", "said"),
    [
        ("orders.journal.db", "local:1", "a journal that is a file: name a PostgreSQL database"),
        (None, "127.0.0.1:8786", "is no cluster: give a Dask Client"),
    ],
)
def test_what_cannot_be_used(sandbox: Sandbox, database: str, journal: str | None, on: str, said: str) -> None:
    """Count says why, and nothing is sent."""
    opened = Opened(campaign(journal=journal or database), people(3), sandbox.client(), on=on)
    opened.count()
    assert said in text_of(opened.view.send.notice)
    assert not opened.now.send.reaching
    assert opened.view.send.start.disabled
    assert sandbox.requests_seen() == 0


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("{scheme}://{host}:{port}/status", True),
        ("/user/ana/proxy/{port}/status", True),
        ("https://hub.example/{port}/status?token=s3cret", False),
        ("https://ana:s3cret@hub.example/status", False),
        ("https://hub.example/status#token=s3cret", False),
        ("javascript:alert(1)", False),
        ("{NO_SUCH_NAME}/status", False),
    ],
)
def test_a_link_that_may_hold_a_secret_is_not_shown(workers: DaskClient, template: str, *, shown: bool) -> None:
    """Services put tokens into it, and a notebook is passed on."""
    with dask.config.set({"distributed.dashboard.link": template}):
        assert bool(workers_of(workers).dashboard) is shown
