"""`turbobatch send --on` where something is missing: one line that says what, and nothing is sent."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

import turbobatch as tb
from tests.dask_cluster import DaskCluster
from tests.database import Server
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Letters = Callable[..., Path]
    from conftest import Command

    from tests.conftest import Until

SECRET = "pa55Wx9Jd"


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DaskCluster]:
    """A scheduler without workers."""
    made = DaskCluster(tmp_path_factory.mktemp("dask"), {})
    yield made
    made.close()


def refused(turbobatch: Command, journal: str, on: str, *options: object) -> str:
    """The line that a command ends with."""
    done = turbobatch("send", "letters", "-o", "report.csv", "--yes", "--journal", journal, "--on", on, *options)
    assert done.returncode == 2, done.stderr
    *_, line = done.stderr.splitlines()
    assert "Traceback" not in done.stderr
    assert line.startswith("error: ")
    assert SECRET not in done.stdout + done.stderr
    assert not (turbobatch.folder / "report.csv").exists()
    return line


def test_no_cluster(letters: Letters, turbobatch: Command, sandbox: Sandbox, database: str) -> None:
    """A name that is none, a scheduler that isn't there, a journal that is a file, and no Dask."""
    letters()
    line = refused(turbobatch, database, "nonsense")
    assert "'nonsense' is no cluster: give a Dask Client, a scheduler's address (tcp://HOST:8786), or local:4" in line
    line = refused(turbobatch, "letters.db", "local:1")
    assert "several workers can't share a journal that is a file: name a PostgreSQL database with --journal" in line
    line = refused(turbobatch, database, "tcp://127.0.0.1:1")
    assert "the cluster tcp://127.0.0.1:1 can't be used" in line
    (turbobatch.folder / "without" / "distributed").mkdir(parents=True)
    (turbobatch.folder / "without" / "distributed" / "__init__.py").write_text(
        "raise ImportError('none here')", "utf-8"
    )
    turbobatch.environment["PYTHONPATH"] = str(turbobatch.folder / "without")
    line = refused(turbobatch, database, "local:1")
    assert 'a cluster needs Dask: pip install "turbobatch-mail[cluster]"' in line
    assert sandbox.requests_seen() == 0


@pytest.mark.usefixtures("sandbox")
def test_no_workers(letters: Letters, turbobatch: Command, database: str, dask: DaskCluster, until: Until) -> None:
    """None at all, or one that has another version of this package."""
    letters()
    assert "the cluster has no workers: start one" in refused(turbobatch, database, dask.address)
    package = dask.folder / "older" / "turbobatch"
    shutil.copytree(tb.__path__[0], package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "_version.py").write_text('__version__ = "0.0.1"\n', "utf-8")
    worker = dask.add(PYTHONPATH=str(package.parent))
    dask.ready(1)
    line = refused(turbobatch, database, dask.address)
    assert f"has turbobatch 0.0.1, and this is {tb.__version__}: install the same" in line
    worker.terminate()
    worker.wait()
    until(lambda: not dask.client.nthreads())


@pytest.fixture
def guarded() -> Iterator[str]:
    """The URL of a database that asks for a password."""
    server = Server()
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE ROLE ana SUPERUSER LOGIN PASSWORD '{SECRET}'".encode())
        (rules,) = connection.execute("SHOW hba_file").fetchone() or ("",)
        Path(rules).write_text(f"local all ana scram-sha-256\n{Path(rules).read_text('utf-8')}", "utf-8")
        connection.execute("SELECT pg_reload_conf()")
    yield server.url.replace("postgres@", f"ana:{SECRET}@")
    server.close()


def test_a_worker_lacks_something(
    letters: Letters, turbobatch: Command, dask: DaskCluster, guarded: str, until: Until
) -> None:
    """The journal's password, credentials, the table: that is told. Then it sends, and Dask knows no secret."""
    folder = letters(40)
    dask.add()
    (worker,) = dask.ready(1).client.nthreads()
    with Sandbox(latency=0.2, consumer_key=f"k{SECRET}", consumer_secret=f"s{SECRET}") as sandbox:
        turbobatch.use(sandbox, password=f"s{SECRET}")
        turbobatch.environment["TURBOSMTP_CONSUMER_KEY"] = f"k{SECRET}"
        line = refused(turbobatch, guarded, dask.address)
        assert f"worker {worker} can't take part: journal postgresql://ana@" in line
        assert "password" in line
        dask.set("PGPASSWORD", SECRET)
        line = refused(turbobatch, guarded, dask.address)
        assert f"worker {worker} can't take part: no credentials: set TURBOSMTP_CONSUMER_KEY and TURBOSMTP" in line
        dask.set("TURBOSMTP_CONSUMER_KEY", f"k{SECRET}")
        dask.set("TURBOSMTP_CONSUMER_SECRET", f"s{SECRET}")
        shutil.copy(folder / "people.csv", turbobatch.folder)
        line = refused(turbobatch, guarded, dask.address, "--recipients", "/proc/self/cwd/people.csv")
        assert f"worker {worker}: /proc/self/cwd/people.csv can't be read: No such file or directory; table and" in line
        assert sandbox.requests_seen() == 0
        command = turbobatch.start(
            "send", "letters", "-o", "report.csv", "--yes", "--journal", guarded, "--on", dask.address
        )
        until(sandbox.requests_seen)
        dask.client.dump_cluster_state(str(dask.folder / "state"), format="yaml")
        (task,) = (key for keys in dask.busy().values() for key in keys)
        pages = "".join(map(dask.page, ("info/main/workers.html", "info/main/logs.html", f"info/task/{task}.html")))
        _, said = command.communicate(timeout=60)
        assert command.returncode == 0, said
    state = (dask.folder / "state.yaml").read_text("utf-8")
    assert "send_part" in state
    assert task in pages
    for text in (state, pages, dask.log()):
        assert SECRET not in text
