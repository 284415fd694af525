"""What people see of a run: a bar, log lines, and Ctrl-C that keeps its word."""

from __future__ import annotations

import _thread
import io
import json
import logging
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

from turbobatch import progress
from turbobatch.engine import Candidate, Engine
from turbobatch.errors import JournalError
from turbobatch.events import Known, Retrying, Settled, Waiting
from turbobatch.journal import SqliteJournal, open_journal
from turbobatch.policy import Status, StopReason
from turbobatch.progress import Bar, Lines, aside, clock_time, log_event, reading, ticking, watch
from turbobatch.rates import Pacer
from turbobatch.run import Progress, Run, RunState
from turbobatch.sendapi import Request
from turbobatch.testing import FakeTransport, refused

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from turbobatch.events import RunEvent
    from turbobatch.transport import Completion

SOON = 20.0  # seconds until a test gives up on another thread


class HeldTransport(FakeTransport):
    """Holds its answers back until `released`; `held` once there are any."""

    def __init__(self) -> None:
        super().__init__()
        self.released = threading.Event()
        self.held = threading.Event()

    def poll(self, timeout: float) -> list[Completion]:
        if self.in_flight and not self.released.is_set():
            self.held.set()
            self.released.wait(timeout)
            return []
        return super().poll(timeout)


class Releasing(logging.Handler):
    """Releases a transport's answers once the log says that the run is stopping."""

    def __init__(self, transport: HeldTransport) -> None:
        super().__init__()
        self._transport = transport

    def emit(self, record: logging.LogRecord) -> None:
        if record.getMessage().startswith("stopping: "):
            self._transport.released.set()


@pytest.fixture
def held() -> Iterator[HeldTransport]:
    transport = HeldTransport()
    handler = Releasing(transport)
    logging.getLogger("turbobatch").addHandler(handler)
    yield transport
    logging.getLogger("turbobatch").removeHandler(handler)


def start(journal: SqliteJournal, transport: FakeTransport | None = None, *, count: int = 3, **options: Any) -> Run:
    headers = {"Content-Type": "application/json"}
    requests = [Request("https://api.example", headers, json.dumps({"n": number}).encode()) for number in range(count)]
    engine = Engine(
        feed=iter([Candidate(number, 1, f"k{number}", "d", request) for number, request in enumerate(requests)]),
        journal=journal,
        transport=transport or FakeTransport([refused("no")]),
        pacer=Pacer([]),
        concurrency=1,
        **options,
    )
    return Run(engine, total=count)


class PressingFile(io.StringIO):
    """A terminal at which somebody presses Ctrl-C once, when the bar shows and a POST is in flight."""

    def __init__(self, held: HeldTransport) -> None:
        super().__init__()
        self._held = held
        self._pressed = False

    def write(self, text: str) -> int:
        if self._held.held.is_set() and not self._pressed:
            self._pressed = True
            _thread.interrupt_main()
        return super().write(text)


class TestLog:
    @pytest.mark.parametrize(
        ("event", "level", "message"),
        [
            (Settled(1, 1, Status.SENT, "k"), logging.DEBUG, "row 1 (k) sent"),
            (Settled(1, 1, Status.REJECTED, "k", "'x' bad"), logging.WARNING, "row 1 rejected: 'x' bad"),
            (Retrying(1, "k", "refused", 2.0), logging.WARNING, "row 1 not accepted: refused; next try in 2 s"),
        ],
    )
    def test_of_an_event(self, caplog: pytest.LogCaptureFixture, event: RunEvent, level: int, message: str) -> None:
        """Trouble is a warning, the rest is for those who want to see everything."""
        with caplog.at_level(logging.DEBUG, logger="turbobatch"):
            log_event(event)
        assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(level, message)]

    def test_of_a_wait_says_until_when(self, caplog: pytest.LogCaptureFixture) -> None:
        """Where that is known; its end needs no line, and neither do rows that were known before."""
        until = time.time() + 3600
        log_event(Waiting("the rate of 1/hour", until))
        log_event(Waiting("Resume", time.time()))
        log_event(Waiting("", until))
        log_event(Known(Counter({Status.SENT: 1})))
        assert [record.getMessage() for record in caplog.records] == [
            f"waiting for the rate of 1/hour until {clock_time(until)}",
            "waiting for Resume",
        ]


def moment(rows: dict[Status, int], *, seconds: float = 0.0, waiting: str = "") -> Progress:
    return Progress(state=RunState.RUNNING, total=10_000, rows=rows, seconds=seconds, waiting=waiting)


class TestClockTime:
    def test_today_is_the_time_alone(self) -> None:
        """As on the wall."""
        now = datetime.now().astimezone()
        assert clock_time(now.timestamp()) in (f"{now:%H:%M:%S}", f"{now:%Y-%m-%d %H:%M}")

    def test_another_day_has_its_date(self) -> None:
        """A wait for Monday morning must not look like this morning."""
        assert re.fullmatch(r"2031-05-0\d \d\d:\d\d", clock_time(datetime(2031, 5, 5, 12, tzinfo=UTC).timestamp()))


class TestBar:
    def test_shows_counts_and_waits(self) -> None:
        """How many of how many, each status that occurs, and what the run waits for."""
        shown = io.StringIO()
        with closing(Bar(10_000, file=shown)) as bar:
            bar.update(moment({Status.SENT: 2, Status.REJECTED: 1}))
            bar.update(moment({Status.SENT: 4}, waiting="the rate of 1/hour"))
        assert "3/10000" in shown.getvalue()
        assert "2 sent, 1 rejected" in shown.getvalue()
        assert "4 sent; waiting for the rate of 1/hour" in shown.getvalue()

    def test_the_pace_is_this_runs(self) -> None:
        """What was known before it isn't counted for the pace and the time left."""
        shown = io.StringIO()
        with closing(Bar(1_000_000, file=shown)) as bar:
            for done in (1, 2, 3):
                bar.update(replace(moment({Status.SENT: 900_000 + done}), known=900_000))
        last = shown.getvalue().split("\r")[-1]
        assert "900003/1000000" in last
        assert re.search(r"\d{6,}\.\d+row/s", last) is None
        assert "<00:00" not in last


class TestReading:
    def test_a_bar_tells_how_far_it_is(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Rows, of how many, their pace and the time left; and it goes when all is read."""
        monkeypatch.setattr(progress, "_PATIENCE", 0.0)
        frames = [pd.DataFrame({"a": range(rows)}) for rows in (400, 600)]
        with reading("checking", bar=True, rows=4000) as tick:
            for _ in ticking(frames, tick):
                with aside():
                    sys.stdout.write("said meanwhile\n")
        shown = capsys.readouterr()
        assert re.search(r"checking:\s+10%.*400/4000 \[\d+:\d+<\d+:\d+, +[\d.]+(k|M)?row/s\]", shown.err)
        assert "1000/4000" in shown.err
        assert shown.err.rstrip("\r").endswith(" ")
        assert shown.out == "said meanwhile\n" * 2

    def test_without_a_bar_nothing_is_shown(self, capsys: pytest.CaptureFixture[str]) -> None:
        with reading(bar=False, rows=3) as tick:
            tick(3)
        assert capsys.readouterr().err == ""


class TestLines:
    def test_tells_now_and_then(self) -> None:
        """A log gets a line every ten seconds and one when the run begins to wait; a short run leaves it alone."""
        told: list[str] = []
        with closing(Lines(told.append)) as lines:
            for second in range(25):
                waiting = "the rate of 1/hour" if second >= 23 else ""
                lines.update(moment({Status.SENT: 100 * second}, seconds=float(second), waiting=waiting))
        assert told == [
            "1,000 of 10,000 rows: 1,000 sent (100.0 rows/s, 90 s left)",
            "2,000 of 10,000 rows: 2,000 sent (100.0 rows/s, 80 s left)",
            "2,300 of 10,000 rows: 2,300 sent; waiting for the rate of 1/hour (100.0 rows/s, 77 s left)",
        ]


class TestWatch:
    def test_shows_a_run_to_its_end(self, journal: SqliteJournal) -> None:
        """The last thing seen is the whole table."""
        shown = io.StringIO()
        watch(start(journal), file=shown)
        assert "3/3" in shown.getvalue()
        assert "2 sent, 1 rejected" in shown.getvalue()

    def test_may_show_nothing(self, journal: SqliteJournal, capsys: pytest.CaptureFixture[str]) -> None:
        """Without a bar it is a wait."""
        watch(start(journal), bar=False)
        assert capsys.readouterr() == ("", "")
        assert journal.counts() == {Status.SENT: 2, Status.REJECTED: 1}

    def test_raises_what_broke_the_run(self, journal: SqliteJournal) -> None:
        """A journal that fails is no silent end."""

        class Failing(SqliteJournal):
            def post_times(self, since: float, now: float) -> list[float]:  # noqa: ARG002 - the signature is every journal's
                raise JournalError("the disk is gone")

        with Failing() as failing, pytest.raises(JournalError, match="the disk is gone"):
            watch(start(failing), file=io.StringIO())
        assert journal.counts() == {}

    def test_stops_at_the_first_interrupt(self, journal: SqliteJournal, held: HeldTransport) -> None:
        """The POST in flight is waited for, and the call returns as usual."""
        run = start(journal, held)
        watch(run, file=PressingFile(held))
        assert run.stop_reason is StopReason.USER
        assert journal.counts() == {Status.SENT: 1}

    def test_waits_at_the_first_interrupt_of_a_run_that_is_stopping_already(
        self, journal: SqliteJournal, held: HeldTransport
    ) -> None:
        """Stopped elsewhere, or by the API: it is still the first Ctrl-C that is pressed here."""
        run = start(journal, held)
        assert held.held.wait(SOON)
        run.stop()
        assert run.progress.state is RunState.STOPPING
        watch(run, file=PressingFile(held))
        assert journal.counts() == {Status.SENT: 1}

    def test_stops_at_an_interrupt_that_comes_before_the_bar(
        self, journal: SqliteJournal, held: HeldTransport, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Importing tqdm takes a while, and POSTs are in flight by then."""
        presses = iter([KeyboardInterrupt])

        def early(total: int, *, file: Any = None) -> Bar:
            for press in presses:
                raise press
            return Bar(total, file=file)

        monkeypatch.setattr(progress, "Bar", early)
        run = start(journal, held)
        assert held.held.wait(SOON)
        watch(run, file=io.StringIO())
        assert run.stop_reason is StopReason.USER
        assert journal.counts() == {Status.SENT: 1}


class TestCtrlC:
    """The same with the real signal, in a process of its own."""

    SCRIPT = """
        import logging, sys, threading
        import tqdm.auto  # else Ctrl-C could strike while it is imported, and the bar would be lost
        from pathlib import Path
        from turbobatch.engine import Candidate, Engine
        from turbobatch.journal import open_journal
        from turbobatch.progress import watch
        from turbobatch.rates import Pacer
        from turbobatch.run import Run
        from turbobatch.sendapi import Request
        from turbobatch.testing import FakeTransport

        path, answers = sys.argv[1:]
        logging.basicConfig(stream=sys.stdout, format="%(message)s")

        class Held(FakeTransport):
            told = False
            def poll(self, timeout):
                if self.in_flight and not (answers == "late" and run.progress.state == "stopping"):
                    if not self.told:
                        self.told = True
                        print("in flight", flush=True)
                    threading.Event().wait(timeout)
                    return []
                return super().poll(timeout)

        request = Request("https://api.example", {"Content-Type": "application/json"}, b"{}")
        ready = threading.Event()
        def feed():
            ready.wait()
            yield from (Candidate(n, 1, f"k{n}", "d", request) for n in range(9))
        engine = Engine(feed=feed(), journal=open_journal(Path(path), "c"), transport=Held(),
                        pacer=Pacer([]), concurrency=2, slots=2)
        run = Run(engine, total=9)
        ready.set()
        try:
            watch(run)
        except KeyboardInterrupt:
            print("left", flush=True)
            raise SystemExit(130)
        print("returned", run.progress.state, flush=True)
    """

    def press(self, path: Path, answers: str, presses: int) -> tuple[int, list[str]]:
        """Run the script and press Ctrl-C as often, each time that it has said something."""
        command = [sys.executable, "-c", textwrap.dedent(self.SCRIPT), str(path), answers]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            assert process.stdout is not None
            lines = []
            for _ in range(presses):
                lines.append(process.stdout.readline().strip())
                process.send_signal(signal.SIGINT)
            lines += process.stdout.read().splitlines()
            process.wait(SOON)
        return process.returncode, lines

    def test_once_waits_for_what_is_in_flight(self, tmp_path: Path) -> None:
        """Both POSTs get their verdict; nothing new begins."""
        code, lines = self.press(tmp_path / "c.db", "late", 1)
        assert lines == [
            "in flight",
            "stopping: waiting for the POSTs in flight; Ctrl-C again to leave at once",
            "returned stopped",
        ]
        assert code == 0
        with open_journal(tmp_path / "c.db", "c") as journal:
            assert journal.counts() == {Status.SENT: 2}

    def test_twice_leaves_at_once_and_safely(self, tmp_path: Path) -> None:
        """What was in flight is in doubt, and the journal says so."""
        code, lines = self.press(tmp_path / "c.db", "never", 2)
        assert lines[-1] == "left"
        assert code == 130
        with open_journal(tmp_path / "c.db", "c") as journal:
            assert journal.counts() == {Status.IN_DOUBT: 2}
