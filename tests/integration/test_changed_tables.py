"""Tables that somebody saves while they are being sent: nothing wrong leaves, nothing leaves twice, and it is told."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import turbobatch as tb
from turbobatch.cli import main

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

TOML = """
name = "letters"
[recipients]
path = "people.csv"
key = "id"
[message]
from = "Acme <shop@acme.example>"
to = "{{ name }} <{{ email }}>"
subject = "{{ id }}"
text = "letter.txt"
[send]
concurrency = 4
"""
MANY = 2100  # rows: more than a run has read when its first POST begins


class Vendor:
    """Accepts everything; `on_first` is called while the first POST waits for its answer."""

    def __init__(self, on_first: Callable[[], None]) -> None:
        self.accepted: list[tuple[str, str]] = []  # key and address
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 65536  # an answer in two packets would wait for the acknowledgement of the first

            def do_POST(handler) -> None:  # noqa: N805 - http.server's name; `self` is the vendor
                sent = json.loads(handler.rfile.read(int(handler.headers["content-length"])))
                with lock:
                    if not self.accepted:
                        on_first()
                    self.accepted.append((sent["subject"], sent["to"]))
                body = b'{"message":"OK","mid":1}'
                handler.send_response(200)
                handler.send_header("content-length", str(len(body)))
                handler.end_headers()
                handler.wfile.write(body)

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def save(folder: Path, rows: int, first: str) -> None:
    names = [first, *["Bea"] * (rows - 1)]
    keys = [f"{number:05}" for number in range(rows)]
    table = pd.DataFrame({"id": keys, "name": names, "email": [f"p{key}@example.org" for key in keys]})
    table.to_csv(folder / "people.csv", index=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "campaign.toml").write_text(TOML, encoding="utf-8")
    (tmp_path / "letter.txt").write_text("Dear {{ name }}", encoding="utf-8")
    return tmp_path


@pytest.fixture
def vendor(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Vendor]:
    """A vendor during whose first POST the table is saved with a longer name in its first row."""
    vendor = Vendor(lambda: save(folder, len(pd.read_csv(folder / "people.csv")), "Anna-Maria"))
    monkeypatch.setenv("TURBOSMTP_BASE_URL", f"http://127.0.0.1:{vendor.server.server_port}/api/v2")
    monkeypatch.setenv("TURBOSMTP_CONSUMER_KEY", "k")
    monkeypatch.setenv("TURBOSMTP_CONSUMER_SECRET", "s")
    yield vendor
    vendor.close()


@pytest.fixture
def send(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[], tuple[int, str]]]:
    """`turbobatch send` in this process: exit code and what it said on stderr."""

    def run() -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["turbobatch", "send", str(folder), "-o", str(folder / "r.csv"), "--yes"])
        with pytest.raises(SystemExit) as left:
            main()
        return int(left.value.code or 0), capsys.readouterr().err

    before, level, handlers = signal.getsignal(signal.SIGTERM), logging.root.level, logging.root.handlers[:]
    yield run
    signal.signal(signal.SIGTERM, before)
    logging.root.setLevel(level)
    logging.root.handlers[:] = handlers


def test_a_table_saved_in_mid_run_stops_it(folder: Path, vendor: Vendor, send: Callable[[], tuple[int, str]]) -> None:
    """No email of rows from two versions leaves; the same command goes on with the new one, and sends nothing twice."""
    save(folder, MANY, "Ana")
    code, said = send()
    assert code == 3, said
    assert "people.csv was changed while it was in use" in said
    assert 0 < len(vendor.accepted) < MANY
    code, said = send()
    assert code == 0, said
    assert sorted(key for key, _ in vendor.accepted) == [f"{number:05}" for number in range(MANY)]
    assert all(f"<p{key}@example.org>" in to or f"p{key}@example.org" == to for key, to in vendor.accepted)


def test_a_table_saved_after_it_was_read_is_told_with_the_report(
    folder: Path, vendor: Vendor, send: Callable[[], tuple[int, str]]
) -> None:
    """The report is written all the same, by the keys."""
    save(folder, 3, "Ana")
    code, said = send()
    assert code == 0, said
    assert said.count("warning: people.csv was changed since a run read it") == 1
    report = tb.read_report(folder / "r.csv")
    assert report["send_status"].tolist() == ["sent"] * 3
    assert report["name"].tolist() == ["Anna-Maria", "Bea", "Bea"]
    code, said = send()
    assert code == 0, said
    assert "was changed" not in said
    assert len(vendor.accepted) == 3


@pytest.mark.usefixtures("vendor")
def test_results_in_python_tell_it_too(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    """`send` returns the results with a warning; those of another table come without one."""
    save(folder, 3, "Ana")
    campaign = tb.Campaign.load(folder)
    results = campaign.send(progress=False)
    assert results["send_status"].tolist() == ["sent"] * 3
    (told,) = [record.getMessage() for record in caplog.records if "was changed" in record.getMessage()]
    assert told.startswith("people.csv was changed since a run read it: the results join the table as it is now")
    caplog.clear()
    campaign.results(pd.read_csv(folder / "people.csv", dtype=str))
    assert caplog.records == []


def test_a_table_saved_between_the_count_and_the_run_is_refused(folder: Path, vendor: Vendor) -> None:
    """What leaves is what was agreed to: the run takes the table that was counted."""
    save(folder, 3, "Ana")
    campaign = tb.Campaign.load(folder)
    plan = campaign.plan()
    save(folder, 4, "Ana")
    with pytest.raises(tb.CampaignError, match=r"people\.csv was changed while it was in use"):
        campaign.start(plan.table)
    assert vendor.accepted == []
    assert campaign.plan().emails == 4
