"""Campaigns in a real Jupyter kernel: interrupted, stopped, shut down and killed in mid-campaign, and gone on with."""

from __future__ import annotations

import base64
import json
import os
import urllib.parse
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Self

import psutil
import pytest
from jupyter_client.manager import KernelManager

import turbobatch
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jupyter_client.blocking.client import BlockingKernelClient

    from tests.conftest import Until

ROWS = 40
CONCURRENCY = 4
LATENCY = 0.3  # seconds for each answer: a campaign takes three
PATIENCE = 60.0  # seconds after which a test gives up

KEY, SECRET = "K3yFm4Ht/+=", "S3cr3tBn8Lg/%&+"

SETUP = f"""
import pandas as pd
import turbobatch as tb

people = pd.DataFrame({{"id": [f"{{number:03}}" for number in range({ROWS})], "email": "ana@example.org"}})
message = tb.MailMerge(from_="Acme <shop@acme.example>", to="{{{{ email }}}}", subject="{{{{ id }}}}", text="Hello")
campaign = tb.Campaign(name="letters", message=message, key="id", concurrency={CONCURRENCY})
client = tb.TurboClient.from_env()
client
"""
SEND = "results = campaign.send(people, client)\nresults"
START = "run = campaign.start(people, client)\nrun"
STATUSES = 'print(campaign.results(people)["send_status"].value_counts().to_json())'
EVERY_KEY = [f"{number:03}" for number in range(ROWS)]
FORMS = [
    form.encode()
    for secret in (KEY, SECRET)
    for form in (
        secret.rstrip("/+%&="),
        urllib.parse.quote(secret),
        *(base64.b64encode(b"x" * before + secret.encode()).decode()[4:-4] for before in range(3)),
    )
]
"""How a secret could be written down."""


class Reply(NamedTuple):
    """What a cell came to."""

    status: str
    error: str  # its name
    printed: str  # on stdout
    warned: str  # on stderr
    shown: str  # the text form of the cell's value


class Notebook:
    """A kernel in a process of its own, and the cells that are run in it; every message is kept."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.messages: list[dict[str, Any]] = []
        self.log = folder / "kernel.log"
        self._folder = folder
        self._environment = environment
        self._manager: KernelManager
        self._client: BlockingKernelClient

    def open(self) -> Self:
        """Start a kernel and run the first cell."""
        connection = self._folder / "kernel.json"
        connection.unlink(missing_ok=True)
        self._manager = KernelManager(connection_file=str(connection), shutdown_wait_time=2.0)
        with self.log.open("ab") as log:
            self._manager.start_kernel(cwd=str(self._folder), env=self._environment, stdout=log, stderr=log)
        self._client = self._manager.blocking_client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=PATIENCE)
        assert self.run(SETUP).status == "ok"
        return self

    def begin(self, code: str) -> str:
        """Start a cell."""
        cell: str = self._client.execute(code)
        return cell

    def end(self, cell: str) -> Reply:
        """Wait until the cell that `begin` started is done."""
        printed: list[str] = []
        warned: list[str] = []
        shown = ""
        while True:
            message = self._heard(self._client.get_iopub_msg(timeout=PATIENCE))
            content, kind = message["content"], message["msg_type"]
            if message["parent_header"].get("msg_id") != cell:
                continue
            if kind == "stream":
                (printed if content["name"] == "stdout" else warned).append(content["text"])
            elif kind == "execute_result":
                shown = content["data"]["text/plain"]
            elif kind == "status" and content["execution_state"] == "idle":
                break
        reply = self._client.get_shell_msg(timeout=PATIENCE)
        while reply["parent_header"].get("msg_id") != cell:
            reply = self._client.get_shell_msg(timeout=PATIENCE)
        content = self._heard(reply)["content"]
        return Reply(content["status"], content.get("ename", ""), "".join(printed), "".join(warned), shown)

    def run(self, code: str) -> Reply:
        """Run a cell to its end."""
        return self.end(self.begin(code))

    def statuses(self) -> dict[str, int]:
        """The rows by status, as a cell finds them."""
        found: dict[str, int] = json.loads(self.run(STATUSES).printed)
        return found

    def heard(self, text: str) -> bool:
        """Whether the cell that is running has printed this by now."""
        message = self._heard(self._client.get_iopub_msg(timeout=PATIENCE))
        return text in message["content"].get("text", "")

    def processes(self) -> list[psutil.Process]:
        """Those that the kernel has started, and those of theirs."""
        pid = self._manager.provisioner.pid  # type: ignore[union-attr]  # there is one while there is a kernel
        found: list[psutil.Process] = psutil.Process(pid).children(recursive=True)
        return found

    def interrupt(self) -> None:
        """Press Interrupt."""
        self._manager.interrupt_kernel()

    def close(self, *, kill: bool = False) -> None:
        """Shut the kernel down, as the button does, or kill it."""
        self._client.stop_channels()
        if self._manager.has_kernel:
            self._manager.shutdown_kernel(now=kill)

    def _heard(self, message: dict[str, Any]) -> dict[str, Any]:
        self.messages.append(message)
        return message


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    with Sandbox(latency=LATENCY, consumer_key=KEY, consumer_secret=SECRET) as running:
        yield running


@pytest.fixture
def notebook(tmp_path: Path, sandbox: Sandbox) -> Iterator[Notebook]:
    """A kernel with the credentials in its environment; in the end no message of it may hold one of them."""
    kept = {name: value for name, value in os.environ.items() if name.startswith(("COVERAGE_", "COV_CORE_"))}
    environment = {
        "PATH": os.defpath,
        "HOME": str(tmp_path),
        "IPYTHONDIR": str(tmp_path / "ipython"),
        "PYTHONPATH": str(Path(turbobatch.__file__).parents[1]),
        "PYTHONWARNINGS": "always",
        "TURBOSMTP_BASE_URL": sandbox.base_url("v2"),
        "TURBOSMTP_CONSUMER_KEY": KEY,
        "TURBOSMTP_CONSUMER_SECRET": SECRET,
        **kept,
    }
    notebook = Notebook(tmp_path, environment)
    try:
        yield notebook.open()
    finally:
        notebook.close()
    said = json.dumps(notebook.messages, default=str).encode()
    for path in tmp_path.rglob("*"):
        said += path.read_bytes() if path.is_file() else b""
    assert not [form for form in FORMS if form in said]
    log = notebook.log.read_text(encoding="utf-8")
    assert not [word for word in ("ResourceWarning", "turbobatch") if word in log], log


def keys(sandbox: Sandbox) -> list[str]:
    """The ledger: the key of each email that was accepted."""
    return sorted(sandbox.inbox()["subject"])


def hurry(sandbox: Sandbox) -> None:
    """Let it answer at once from now on."""
    assert sandbox._thread is not None
    sandbox._thread._server._routes._latency = 0.0


def test_interrupt_kernel(notebook: Notebook, sandbox: Sandbox, until: Until) -> None:
    """The cell ends once the POSTs in flight have; nothing is in doubt; run again, the same cell completes."""
    notebook.run("%xmode Verbose")  # tracebacks show local variables
    cell = notebook.begin(SEND)
    until(lambda: len(keys(sandbox)) >= 6)
    notebook.interrupt()
    reply = notebook.end(cell)
    assert (reply.status, reply.error) == ("error", "KeyboardInterrupt")
    assert reply.warned == "stopping: waiting for the POSTs in flight; Ctrl-C again to leave at once\n"
    sent = len(keys(sandbox))
    assert 6 <= sent == sandbox.requests_seen() < ROWS
    assert notebook.statuses() == {"sent": sent, "pending": ROWS - sent}
    hurry(sandbox)
    reply = notebook.run(SEND)
    assert (reply.status, reply.printed, reply.warned) == ("ok", "", "")
    assert reply.shown.startswith("     id            email send_status")
    assert notebook.statuses() == {"sent": ROWS}
    assert keys(sandbox) == EVERY_KEY


def test_a_cell_that_is_run_twice_sends_nothing_twice(notebook: Notebook, sandbox: Sandbox, until: Until) -> None:
    """Neither while it runs in the background, nor as a blocking cell beside it, nor after it has ended."""
    assert notebook.run(START).shown.startswith("<Run running: ")
    until(lambda: len(keys(sandbox)) >= 2)
    reply = notebook.run("again = campaign.start(people, client)\nprint(again is run)")
    assert reply.printed == "True\n"
    hurry(sandbox)
    assert notebook.run(SEND).status == "ok"
    assert keys(sandbox) == EVERY_KEY
    for cell in (SEND, START, "run.wait()", SEND):
        assert notebook.run(cell).status == "ok"
    assert notebook.run("run").shown == f"<Run finished: {ROWS} of {ROWS} rows>"
    assert notebook.statuses() == {"sent": ROWS}
    assert sandbox.requests_seen() == ROWS


def test_stop_from_another_cell(notebook: Notebook, sandbox: Sandbox, until: Until) -> None:
    """A background run leaves the notebook free: pause, resume and stop it; what isn't sent is pending."""
    notebook.run(START)
    until(lambda: len(keys(sandbox)) >= 2)
    notebook.run("run.pause()")
    assert notebook.run("run.progress.state.value").shown == "'paused'"
    until(lambda: notebook.run("print(len(run._engine.in_flight))").printed == "0\n")
    paused = len(keys(sandbox))
    assert notebook.run("run").shown == f"<Run paused: {paused} of {ROWS} rows>"
    notebook.run("run.resume()")
    until(lambda: len(keys(sandbox)) > paused)
    assert notebook.run(f"run.stop()\nrun.wait({PATIENCE})").shown == "True"
    sent = len(keys(sandbox))
    assert notebook.run("run").shown == f"<Run stopped: {sent} of {ROWS} rows>"
    assert notebook.statuses() == {"sent": sent, "pending": ROWS - sent}
    hurry(sandbox)
    assert notebook.run(SEND).status == "ok"
    assert keys(sandbox) == EVERY_KEY


@pytest.mark.parametrize("cell", [SEND, START], ids=["a blocking cell", "a background run"])
@pytest.mark.parametrize("kill", [False, True], ids=["shut down", "killed"])
def test_a_kernel_that_goes_away(kill: bool, cell: str, notebook: Notebook, sandbox: Sandbox, until: Until) -> None:
    """In a new kernel the same cells complete the campaign: nothing arrives twice, few rows are in doubt."""
    notebook.begin(cell)
    until(lambda: len(keys(sandbox)) >= 6)
    notebook.close(kill=kill)
    assert len(keys(sandbox)) < ROWS - CONCURRENCY
    hurry(sandbox)
    notebook.open()
    assert notebook.run(cell).status == "ok"
    if cell == START:
        assert notebook.run("run.wait()").shown == "True"
    shown = notebook.run('print(campaign.results(people).set_index("send_key")["send_status"].to_json())')
    statuses: dict[str, str] = json.loads(shown.printed)
    in_doubt = {key for key, status in statuses.items() if status == "in_doubt"}
    assert set(statuses.values()) <= {"sent", "in_doubt"}
    assert len(in_doubt) <= CONCURRENCY
    assert sorted(statuses) == EVERY_KEY
    assert len(set(keys(sandbox))) == len(keys(sandbox))
    assert set(EVERY_KEY) - in_doubt <= set(keys(sandbox))


def test_interrupted_twice(notebook: Notebook, sandbox: Sandbox, until: Until) -> None:
    """The second Interrupt gives the notebook back at once; the same cell goes on with the campaign."""
    cell = notebook.begin(SEND)
    until(lambda: len(keys(sandbox)) >= 2)
    notebook.interrupt()
    until(lambda: notebook.heard("stopping: "))
    notebook.interrupt()
    assert notebook.end(cell).error == "KeyboardInterrupt"
    reply = notebook.run(SEND)
    assert (reply.status, reply.error) == ("ok", "")
    assert keys(sandbox) == EVERY_KEY


# By a cluster

MANY = 500  # two parts: both workers have one
LEASE = 2.0  # seconds
SEND_ON = 'results = campaign.send(people, client, on="local:2")'
START_ON = 'run = campaign.start(people, client, on="local:2")'


def spread(notebook: Notebook, database: str) -> None:
    """Make it a larger campaign, whose journal workers can share."""
    journal = json.dumps(database)
    table = (
        f'people = pd.DataFrame({{"id": [f"{{number:03}}" for number in range({MANY})], "email": "ana@example.org"}})'
    )
    options = f'name="letters", message=message, key="id", concurrency={CONCURRENCY}, journal={journal}'
    notebook.run(f'import os\nos.environ["TURBOBATCH_LEASE"] = "{LEASE}"\n{table}\ncampaign = tb.Campaign({options})')


def test_interrupt_a_kernel_whose_workers_send(
    notebook: Notebook, sandbox: Sandbox, database: str, until: Until
) -> None:
    """All of them end what they have in flight, and leave; nothing is in doubt, and the same cell goes on."""
    spread(notebook, database)
    cell = notebook.begin(SEND_ON)
    until(lambda: len(keys(sandbox)) >= 6)
    notebook.interrupt()
    reply = notebook.end(cell)
    assert (reply.status, reply.error) == ("error", "KeyboardInterrupt")
    assert "stopping: waiting for the POSTs in flight" in reply.warned
    sent = len(keys(sandbox))
    assert 6 <= sent == sandbox.requests_seen() < MANY
    assert notebook.statuses() == {"sent": sent, "pending": MANY - sent}
    # Python's own tracker of shared memory stays as long as the kernel.
    until(lambda: not [item for item in notebook.processes() if "resource_tracker" not in " ".join(item.cmdline())])
    hurry(sandbox)
    assert notebook.run(SEND_ON).status == "ok"
    assert notebook.statuses() == {"sent": MANY}
    assert len(keys(sandbox)) == len(set(keys(sandbox))) == MANY


@pytest.mark.parametrize("kill", [False, True], ids=["shut down", "killed"])
def test_a_kernel_that_goes_away_while_workers_send(
    kill: bool, notebook: Notebook, sandbox: Sandbox, database: str, until: Until
) -> None:
    """Its workers go with it, to the last process; a new kernel completes the campaign, and nothing arrives twice."""
    spread(notebook, database)
    notebook.run(START_ON)
    until(lambda: len(keys(sandbox)) >= 6)
    workers = notebook.processes()
    assert len(workers) >= 2
    notebook.close(kill=kill)
    until(lambda: not any(worker.is_running() for worker in workers))
    hurry(sandbox)
    notebook.open()
    spread(notebook, database)
    assert notebook.run(f"{START_ON}\nrun.wait()").status == "ok"
    statuses = notebook.statuses()
    assert set(statuses) <= {"sent", "in_doubt"}
    assert statuses.get("in_doubt", 0) <= 2 * CONCURRENCY
    assert statuses["sent"] <= len(keys(sandbox)) == len(set(keys(sandbox))) <= MANY
