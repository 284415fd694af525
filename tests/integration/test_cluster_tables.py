"""A campaign that a cluster's workers send ends like one that a single process sends, whatever the table is."""

from __future__ import annotations

import logging
import pickle
import time
from collections import Counter
from contextlib import ExitStack, closing
from importlib import import_module
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import turbobatch as tb
from turbobatch.cluster.orders import Account
from turbobatch.engine import Engine
from turbobatch.journal import Intent
from turbobatch.policy import Policy, Status, StopReason
from turbobatch.sending import write
from turbobatch.wording import IN_PROGRESS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from distributed import Client

    from turbobatch.reported import Reported
    from turbobatch.sandbox import Sandbox

ROWS = 120
PARTS = 4


@pytest.fixture(scope="module")
def dask(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Two workers, each a process, with an account's credentials."""
    from distributed import Client, LocalCluster

    environment = {"TURBOSMTP_CONSUMER_KEY": "sandbox", "TURBOSMTP_CONSUMER_SECRET": "sandbox"}
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            dashboard_address=":0",
            env=environment,
            local_directory=tmp_path_factory.mktemp("dask"),
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(autouse=True)
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut small tables too."""
    monkeypatch.setattr(import_module("turbobatch.cluster.survey"), "_ROWS", ROWS // PARTS)


def people() -> pd.DataFrame:
    """Rows of all kinds: in row 70 an address that is none, in 5 and 90 an earlier key, in 8 no key."""
    ids = [f"{row:04}" for row in range(ROWS)]
    emails = [f"p{row}@example.org" for row in range(ROWS)]
    ids[90], ids[5], ids[8] = ids[10], ids[4], ""
    emails[90], emails[70] = "later@example.org", "nobody"
    return pd.DataFrame({"id": ids, "email": emails})


def csv_folder(folder: Path) -> Path:
    for part in range(PARTS):
        people()[part * ROWS // PARTS : (part + 1) * ROWS // PARTS].to_csv(folder / f"part.{part}.csv", index=False)
    return folder


def parquet_folder(folder: Path) -> Path:
    for part in range(PARTS):
        people()[part * ROWS // PARTS : (part + 1) * ROWS // PARTS].to_parquet(folder / f"part.{part}.parquet")
    return folder


def one_csv(folder: Path) -> Path:
    people().to_csv(folder / "people.csv", index=False)
    return folder / "people.csv"


def dask_frame(folder: Path) -> Any:
    import dask.dataframe as dd

    return dd.read_parquet(parquet_folder(folder))


def dataset(folder: Path) -> Any:
    """A Parquet dataset whose folders are named by a column's values, which Dask reads as a category."""
    import dask.dataframe as dd

    quarters = [f"q{row * PARTS // ROWS}" for row in range(ROWS)]
    people().assign(quarter=quarters).to_parquet(folder, partition_cols=["quarter"], index=False)
    return dd.read_parquet(folder)


def campaign(database: str, **options: Any) -> tb.Campaign:
    message = tb.MailMerge(from_="shop@acme.example", to="{{ email }}", subject="{{ id }}", text="Hello")
    return tb.Campaign(**{"name": "letters", "message": message, "key": "id", "journal": database, **options})


@pytest.mark.filterwarnings("ignore:The inplace keyword")  # of pandas, about what Dask does
@pytest.mark.parametrize("make", [csv_folder, parquet_folder, one_csv, lambda _: people(), dask_frame, dataset])
def test_any_table(make: Callable[[Path], Any], tmp_path: Path, database: str, sandbox: Sandbox, dask: Client) -> None:
    """Each key is sent once, for its earliest row; the results are in the table's order and tell the rest."""
    (tmp_path / "people").mkdir()
    table = make(tmp_path / "people")
    made = campaign(database)
    client = sandbox.client()
    plan = made.plan(table, on=dask)
    assert len(plan.parts) >= PARTS  # type: ignore[attr-defined]  # a cluster makes a ClusterPlan
    assert (plan.rows, plan.emails) == (ROWS, ROWS - 3)  # the address is looked at when it is sent
    results: Any = made.send(table, client, on=dask, progress=False)
    if hasattr(results, "compute"):
        results = results.compute()
    assert results["id"].tolist() == people()["id"].tolist()
    assert Counter(results["send_status"]) == {"sent": ROWS - 4, "duplicate": 2, "invalid": 2}
    assert results["send_status"].tolist()[90] == "duplicate"
    assert results["send_message"].tolist()[90].endswith("same key as row 10")
    ledger = sandbox.inbox()["to"].tolist()
    assert len(set(ledger)) == len(ledger) == ROWS - 4
    assert "later@example.org" not in ledger
    made.send(table, client, on=dask, progress=False)
    assert sandbox.requests_seen() == ROWS - 4
    client.close()


def test_a_report_by_workers_while_something_is_sent(
    database: str,
    dask: Client,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Rows are told with their numbers in the table, and of keys in doubt those alone that no row of it has.

    What was in doubt when the report began may be settled before its row is read, and then be in doubt again.
    """
    table = people()
    table.loc[[1, 41, 111], "email"] = ["500+gone@example.org", "500+p@example.org", "500+q@example.org"]
    made = campaign(database)
    held = ExitStack()
    client = held.enter_context(closing(held.enter_context(tb.Sandbox()).client()))
    made.send(table, client, on=dask, progress=False)
    assert sorted(made.in_doubt()) == ["0001", "0041", "0111"]
    table.loc[1, ["id", "email"]] = "anew", "anew@example.org"
    table.index = pd.Index([f"r{row}" for row in range(ROWS)])  # it tells no numbers: they are counted
    plan = made.plan(table, on=dask)
    written = tb.Campaign.report_by

    def settled_meanwhile(self: tb.Campaign, *given: Any) -> Reported:
        self.settle(Status.SENT, ["0041"])
        self.settle(Status.PENDING, ["0111"])
        try:
            return written(self, *given)
        finally:
            self.send(table, client, progress=False, limit=2)
            another: Any = held.enter_context(self._journal_to_write())
            another.commit([Intent(key="late", digest="d", time=time.time())], [])

    monkeypatch.setattr(tb.Campaign, "report_by", settled_meanwhile)
    monkeypatch.setattr(made, "_recipients", table)
    with held:
        counts, elsewhere = write(made, f"{tmp_path}/report/", for_excel=False, by=(dask, plan))
    assert counts == {"sent": ROWS - 6, "duplicate": 2, "invalid": 2, "pending": 2}
    assert elsewhere == ["0001"]
    assert sorted(made.in_doubt()) == ["0001", "0111", "late"]
    assert IN_PROGRESS in (said := capsys.readouterr().out)
    assert "row 8 " in said
    assert "row 70 " in said
    found = tb.read_report(tmp_path / "report")["send_status"]
    assert (found == "duplicate").to_numpy().nonzero()[0].tolist() == [5, 90]


def test_a_limit_holds_for_all_parts_together(
    database: str, sandbox: Sandbox, dask: Client, caplog: pytest.LogCaptureFixture
) -> None:
    """The first emails of the table are sent; without it the rest follows. Rows in trouble are told while it runs."""
    made = campaign(database, recipients=people())
    client = sandbox.client()
    sent = made.send(client=client, on=dask, progress=False, limit=50)["send_status"]
    assert (sent == "sent").to_numpy().nonzero()[0].tolist() == [row for row in range(52) if row not in (5, 8)]
    assert sandbox.requests_seen() == 50
    assert "row 5 duplicate: row 5: same key as row 4" in caplog.text
    assert "row 70 invalid: " not in caplog.text
    made.send(client=client, on=dask, progress=False)
    assert "row 70 invalid: row 70: column 'email': 'nobody'" in caplog.text
    ledger = sandbox.inbox()["to"].tolist()
    assert len(set(ledger)) == len(ledger) == ROWS - 4
    client.close()


def test_who_is_on_a_list_gets_nothing(database: str, sandbox: Sandbox, dask: Client, tmp_path: Path) -> None:
    """Every worker reads it."""
    (tmp_path / "gone.csv").write_text("email\np1@example.org\np100@example.org\n", "utf-8")
    made = campaign(database, recipients=people(), suppress=tmp_path / "gone.csv")
    client = sandbox.client()
    results = made.send(client=client, on=dask, progress=False)
    assert results.index[results["send_status"] == "suppressed"].tolist() == [1, 100]
    assert not {"p1@example.org", "p100@example.org"} & set(sandbox.inbox()["to"])
    client.close()


def test_a_list_that_has_changed_since_the_start(database: str, sandbox: Sandbox, dask: Client, tmp_path: Path) -> None:
    """Workers that read it at different times would disagree about who gets something: nobody does."""
    gone = tmp_path / "gone.csv"
    gone.write_text("email\np1@example.org\n", "utf-8")
    made = campaign(database, recipients=people(), suppress=gone)
    with closing(sandbox.client()) as client:
        dispatch = made._dispatch(made.plan(on=dask), client, dask, resend=False, limit=None)
        gone.write_text("email\np1@example.org\np2@example.org\n", "utf-8")
        with closing(dispatch), pytest.raises(tb.CampaignError, match=r"gone\.csv was changed while it was in use"):
            dispatch.run()
    assert sandbox.requests_seen() == 0


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[int], AbstractContextManager[Client]]:
    """Makes clusters as a notebook may have them: so many workers, all of them threads of this process."""
    from distributed import Client

    monkeypatch.setenv("TURBOSMTP_CONSUMER_KEY", "sandbox")
    monkeypatch.setenv("TURBOSMTP_CONSUMER_SECRET", "sandbox")
    own = {"processes": False, "dashboard_address": ":0", "local_directory": tmp_path, "set_as_default": False}
    return lambda workers: Client(n_workers=workers, threads_per_worker=2, **own)


def test_workers_in_this_very_process(
    database: str, here: Callable[[int], AbstractContextManager[Client]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One at a time sends: of a process that is killed, no more is in doubt than one of them has in flight."""
    at_work: set[int] = set()
    most = 0

    class Noted(Engine):
        def run(self) -> StopReason | None:
            nonlocal most
            at_work.add(id(self))
            most = max(most, len(at_work))
            try:
                return super().run()
            finally:
                at_work.remove(id(self))

    monkeypatch.setattr(import_module("turbobatch.cluster.work"), "Engine", Noted)
    with here(2) as dask, tb.Sandbox(latency=0.02) as sandbox, closing(sandbox.client()) as client:
        results = campaign(database, concurrency=4).send(people(), client, on=dask, progress=False)
        assert sandbox.requests_seen() == ROWS - 4
    assert Counter(results["send_status"]) == {"sent": ROWS - 4, "duplicate": 2, "invalid": 2}
    assert most == 1


def test_an_outage_that_a_part_begins_in(
    database: str, sandbox: Sandbox, here: Callable[[int], AbstractContextManager[Client]]
) -> None:
    """The run is as patient as after its own answers, once another part has had one."""
    table = people()[: 2 * ROWS // PARTS].assign(id=range(2 * ROWS // PARTS))
    table.loc[ROWS // PARTS, "email"] = "500+p@example.org"
    policy = Policy(threshold=1, first_wait=0.02, patience=60.0, first_patience=0.0)
    with here(1) as dask, closing(sandbox.client()) as client:
        made = campaign(database, policy=policy)
        assert len(made.plan(table, on=dask).parts) == 2  # type: ignore[attr-defined]  # a cluster makes a ClusterPlan
        run = made.start(table, client, on=dask)
        assert run.wait(30.0)
    assert run.stop_reason is None
    assert run.progress.rows == {"sent": len(table) - 1, "in_doubt": 1}


def test_groups(database: str, sandbox: Sandbox, dask: Client, tmp_path: Path) -> None:
    """Those that lie in one file each are sent; one that lies in two is refused with a line that says where."""
    for part in range(2):
        rows = pd.DataFrame({"id": [part, part, part + 2], "email": "ana@example.org", "item": range(3)})
        rows.to_csv(tmp_path / f"part.{part}.csv", index=False)
    client = sandbox.client()
    made = campaign(database, group_by="id", recipients=tmp_path)
    (tmp_path / "part.2.csv").write_text("id,email,item\n9,bea@example.org,1\n1,ana@example.org,1\n", "utf-8")
    with pytest.raises(tb.CampaignError, match="has rows in") as caught:
        made.send(client=client, on=dask, progress=False)
    assert "the group of row 1 of part.2.csv has rows in part.1.csv too (row 0 there)" in str(caught.value)
    assert "\n" not in str(caught.value)
    assert sandbox.requests_seen() == 0
    (tmp_path / "part.2.csv").unlink()
    results = made.send(client=client, on=dask, progress=False)
    assert results["send_status"].tolist() == ["sent"] * 6
    assert sandbox.requests_seen() == 4
    client.close()


def test_a_part_that_is_run_twice_at_once(database: str, dask: Client) -> None:
    """Each of its emails leaves once. A row whose key an earlier part has leaves for none, though it comes first."""
    from turbobatch.cluster.signals import Caller
    from turbobatch.cluster.work import send_part

    with tb.Sandbox(latency=0.05) as sandbox, closing(sandbox.client()) as client:
        made = campaign(database, recipients=people(), concurrency=4)
        dispatch = made._dispatch(made.plan(on=dask), client, dask, resend=False, limit=None)
        caller = Caller(dask, dispatch.sending.orders.run)
        caller.say("go")
        workers = list(dask.nthreads())
        futures = [
            dask.submit(
                send_part,
                dispatch.sending,
                dispatch.parts[-1],
                key=f"{dispatch.sending.orders.run}-{worker}",
                workers=[worker],
            )
            for worker in workers
        ]
        ended = dask.gather(futures)
        caller.close()
        ledger = sandbox.inbox()["to"].tolist()
        assert len(set(ledger)) == len(ledger) == dispatch.parts[-1].emails == ROWS // PARTS - 1
        assert "later@example.org" not in ledger
        assert all(item.stop_reason is None and not item.fault for item in ended)
        with made._journal() as journal:
            assert journal.counts() == {"sent": len(ledger)}


def test_a_limit_holds_for_all_tries_of_a_part(database: str, sandbox: Sandbox, dask: Client) -> None:
    """The second one posts only what the first one left of it."""
    from turbobatch.cluster.signals import Caller
    from turbobatch.cluster.work import send_part

    made = campaign(database, recipients=people())
    with closing(sandbox.client()) as client:
        dispatch = made._dispatch(made.plan(on=dask), client, dask, resend=False, limit=15)
    caller = Caller(dask, dispatch.sending.orders.run)
    caller.say("go")
    for name in ("first", "second"):
        key = f"{dispatch.sending.orders.run}-{name}"
        assert not dask.submit(send_part, dispatch.sending, dispatch.parts[0], key=key).result().fault
        assert sandbox.requests_seen() == 15
    caller.close()


def test_workers_of_another_account_send_nothing(
    database: str, sandbox: Sandbox, dask: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that the client is of sends, or none: one line names the worker."""
    made = campaign(database, recipients=people())
    url = sandbox.base_url("v2")
    client = tb.TurboClient(consumer_key="another", consumer_secret="sandbox", base_url=url)
    with closing(client), pytest.raises(tb.CampaignError) as caught:
        made.send(client=client, on=dask, progress=False)
    named, said = str(caught.value).split(" can't take part: ")
    assert named.removeprefix("worker ") in dask.nthreads()
    assert said == (
        "its TURBOSMTP_CONSUMER_KEY and TURBOSMTP_CONSUMER_SECRET are another account's than the one that the run "
        "was started with: start it with the same"
    )
    assert sandbox.requests_seen() == 0
    monkeypatch.setenv("TURBOSMTP_BASE_URL", "http://127.0.0.1:9")  # who starts the run says where emails go
    for name in ("AUTHUSER", "AUTHPASS"):
        monkeypatch.setenv(f"TURBOSMTP_{name}", "sandbox")
    with closing(sandbox.client("v1")) as own, closing(Account.of(own).open()) as opened:
        assert opened.base_url == own.base_url
        assert Account.of(own).digest != Account.of(own).digest
        monkeypatch.setenv("TURBOSMTP_AUTHUSER", "another")
        with pytest.raises(tb.CampaignError, match="TURBOSMTP_AUTHUSER and TURBOSMTP_AUTHPASS are another account's"):
            Account.of(own).open()


def test_secrets_do_not_travel(
    database: str,
    sandbox: Sandbox,
    here: Callable[[int], AbstractContextManager[Client]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither credentials nor the journal's password are in what workers are given, or in its repr."""
    secret = "pa55Wx9Jd"
    monkeypatch.setenv("TURBOSMTP_CONSUMER_KEY", f"k{secret}")
    monkeypatch.setenv("TURBOSMTP_CONSUMER_SECRET", f"s{secret}")
    made = campaign(database.replace("postgres@", f"postgres:{secret}@"), recipients=people())
    url = sandbox.base_url("v2")
    with here(1) as dask, closing(tb.TurboClient.from_env(base_url=url)) as client:
        dispatch = made._dispatch(made.plan(on=dask), client, dask, resend=False, limit=None)
    given = pickle.dumps((dispatch.sending, dispatch.parts)) + repr(dispatch).encode()
    assert secret.encode() not in given
    assert url.encode() in given
