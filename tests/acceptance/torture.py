"""Kills the real command line again and again, and compares what the vendor got with what the report says.

    python tests/acceptance/torture.py --kills 500        (or: make torture KILLS=500)
    python tests/acceptance/torture.py --case 1234567     one campaign again, by its seed

A trial is one small campaign against a sandbox in a process of its own. `turbobatch send` is killed with SIGKILL, at a
random moment or at a failpoint, and run again by the same command, until it ends by itself. After every kill journal,
ledger (the sandbox's inbox), report and files are looked at, and once more at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections import Counter
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, fields
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from failpoint import IN_THREADS, POINTS
from torture_cases import FATES, MOMENTS, Case, Kill, make_table, write_campaign

from tests import forks
from turbobatch.campaign import Campaign
from turbobatch.report import read_report
from turbobatch.reported import Counts

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

FAILPOINT = str(Path(__file__).with_name("failpoint.py"))
ENDINGS = tuple(POINTS)[tuple(POINTS).index("before-close") :]  # failpoints that a run without any POST passes too
CLIENT_TIMEOUT = 3.0  # seconds, where a POST hangs
LONGEST = 90.0  # seconds that a run may take before it counts as hung
WORKERS = 2

_VENDOR = """
import json, sys
from turbobatch.sandbox import serve
serve(on_ready=lambda sandbox: print(sandbox.url, flush=True), **json.loads(sys.argv[1]))
"""


@dataclass(slots=True)
class Figures:
    """What trials add up to."""

    campaigns: int = 0
    posts: int = 0
    kills: Counter[str] = field(default_factory=Counter)
    missed: Counter[str] = field(default_factory=Counter)  # the run ended by itself before it came to the kill
    duplicates: int = 0
    lost: int = 0
    in_doubt: Counter[int] = field(default_factory=Counter)  # by concurrency: the most that one kill left
    strays: int = 0  # temporary files left beside reports
    seconds: float = 0.0
    problems: list[str] = field(default_factory=list)

    def add(self, other: Figures) -> None:
        """Take in another trial's."""
        self.in_doubt |= other.in_doubt  # the larger of each
        for item in fields(self):
            if item.name != "in_doubt":
                setattr(self, item.name, getattr(self, item.name) + getattr(other, item.name))

    def __str__(self) -> str:
        most = ", ".join(f"{count} (concurrency {bound})" for bound, count in sorted(self.in_doubt.items()))
        lines = [
            f"{'kills':<24}{self.kills.total():>7}",
            *(f"  {point:<22}{self.kills[point]:>7}" for point in (*MOMENTS, *POINTS) if self.kills[point]),
            f"{'kills not reached':<24}{self.missed.total():>7}",
            f"{'campaigns':<24}{self.campaigns:>7}",
            f"{'POSTs':<24}{self.posts:>7}",
            f"{'duplicates':<24}{self.duplicates:>7}",
            f"{'lost':<24}{self.lost:>7}",
            f"{'most in doubt per kill':<24}{max(self.in_doubt.values(), default=0):>7}  {most}",
            f"{'temporary files left':<24}{self.strays:>7}",
            f"{'seconds':<24}{self.seconds:>7.0f}",
            f"{'problems':<24}{len(self.problems):>7}",
        ]
        return "\n".join([*lines, *self.problems])


class Vendor:
    """A sandbox in a process of its own, with its messages in a file; `with` starts and ends it."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.log = folder / "vendor.txt"
        self._options = {"port": 0, "path": str(folder / "inbox.db"), **options}
        self._process: subprocess.Popen[bytes] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.kill()

    def start(self, **changes: Any) -> None:
        """Listen; after a kill on the same port, with the same messages, and with these options changed."""
        self._options |= changes
        arguments = ["-c", _VENDOR, json.dumps(self._options)]
        self._process = launch(arguments, self.log, subprocess.PIPE)
        assert self._process.stdout is not None
        self.url = self._process.stdout.readline().decode().strip()
        self._options["port"] = int(self.url.rpartition(":")[2])

    def kill(self) -> None:
        """Take it away without a warning."""
        assert self._process is not None
        assert self._process.stdout is not None
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def base_url(self, api: str) -> str:
        """As `Sandbox.base_url`."""
        return self.url + ("/api" if api == "v1" else "/api/v2")

    def requests(self) -> int:
        """How many POSTs have come since the last start, accepted or not."""
        return int(self._get("/count")["requests"])

    def messages(self) -> list[dict[str, Any]]:
        """The ledger: everything that was ever accepted."""
        return list(self._get("/messages")["results"])

    def _get(self, path: str) -> Any:
        with urllib.request.urlopen(self.url + path, timeout=LONGEST) as answer:  # noqa: S310 - our own URL
            return json.load(answer)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a journal says, read from a copy of its files: the next run must do the recovery itself."""

    statuses: dict[str, str] = field(default_factory=dict)
    unanswered: frozenset[str] = frozenset()  # keys in doubt whose POST came to no end
    attempts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def of(cls, folder: Path) -> Self:
        """Read the journal in this folder, if there is one."""
        with tempfile.TemporaryDirectory() as copy:
            for path in folder.glob("*.journal.db*"):
                shutil.copy(path, copy)
            with contextlib.closing(sqlite3.connect(Path(copy) / "torture.journal.db")) as database:
                assert database.execute("PRAGMA integrity_check").fetchone() == ("ok",)
                if not database.execute("SELECT count(*) FROM sqlite_schema WHERE name = 'send'").fetchone()[0]:
                    return cls()
                rows = database.execute("SELECT key, status, seconds, attempts FROM send").fetchall()
        unanswered = frozenset(key for key, status, seconds, _ in rows if status == "in_doubt" and seconds is None)
        return cls({row[0]: row[1] for row in rows}, unanswered, {row[0]: row[3] for row in rows})

    def keys(self, status: str) -> set[str]:
        """The keys with this status."""
        return {key for key, found in self.statuses.items() if found == status}


class Trial:
    """One campaign in a folder of its own, its vendor, and everything that is true of them."""

    def __init__(self, case: Case, folder: Path) -> None:
        self.case = case
        self.home = folder
        self.folder = folder / "campaign"
        self.report = self.folder / f"report{case.ending}"
        self.log = folder / "log.txt"
        self.figures = Figures(campaigns=1)
        self.unanswered: set[str] = set()  # what kills have left in doubt
        self.resent: Counter[str] = Counter()  # runs that posted what was in doubt, on demand
        self._dice = random.Random(case.seed + 1)  # noqa: S311 - repeatable
        self._whole_report = b"the report before"
        write_campaign(case, self.table, self.folder)
        self.report.write_bytes(self._whole_report)
        latency = 1000 * case.span * case.concurrency / case.rows
        self.vendor = Vendor(folder, latency_ms=latency, v1_error_status=self._dice.choice((200, 400)))

    @cached_property
    def table(self) -> list[dict[str, str]]:
        """The campaign's rows; `fate` tells what the vendor does to each."""
        return make_table(self.case)

    def run(self) -> Figures:
        """Kill it as planned, let it end, check everything; problems are in the figures."""
        began, outages = time.monotonic(), 0
        with self.vendor:
            for kill in self.case.kills:
                # Once a run has ended by itself, no other has anything to post.
                if not self.figures.missed or kill.point in ENDINGS:
                    self.strike(kill, resend=self.case.resend and bool(self.unanswered))
                if self.case.outage and self.unanswered and not outages:
                    outages += 1
                    self.miss_vendor()
            self.finish()
            self.check_end()
            self.check_another_run()
        self.figures.seconds = time.monotonic() - began
        return self.figures

    def strike(self, kill: Kill, *, resend: bool = False) -> None:
        """Run and kill; where the run ends before that, count a miss."""
        before = Snapshot.of(self.folder)
        process = self.start(kill, resend=resend)
        if kill.point in MOMENTS:
            if kill.point == "arrival":
                self.await_arrival(process)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(kill.delay)
            process.kill()
        code = self.wait(process)
        self._expect(code in (-signal.SIGKILL, 0, 1, 3), f"ended with {code}")
        (self.figures.kills if code == -signal.SIGKILL else self.figures.missed)[kill.point] += 1
        if resend:
            self.resent.update(self._posted_again(before))
        self.check_kill(ended=code != -signal.SIGKILL)

    def miss_vendor(self) -> None:
        """Post rows in doubt again while the vendor is down: nothing is learnt of the POSTs before."""
        before = Snapshot.of(self.folder)
        self.vendor.kill()
        code = self.wait(self.start(resend=True, patience=0.2))
        self._expect(code in (0, 1, 3), f"without a vendor it ended with {code}")
        self.vendor.start()
        after = Snapshot.of(self.folder)
        self._expect(after.keys("in_doubt") == before.keys("in_doubt"), "a doubt came or went without a vendor")
        self.check_kill(ended=True)

    def _posted_again(self, before: Snapshot) -> set[str]:
        after = Snapshot.of(self.folder)
        return {key for key in before.keys("in_doubt") if after.attempts[key] > before.attempts[key]}

    def finish(self) -> None:
        """Run by the same command until it ends by itself."""
        for _ in range(6):
            code = self.wait(self.start())
            if code != 3:
                break
        self._expect(code in (0, 1), f"the last run ended with {code}")

    def start(
        self, kill: Kill | None = None, *, resend: bool = False, patience: float | None = None
    ) -> subprocess.Popen[bytes]:
        """Start `turbobatch send`, with the kill's failpoint if it has one."""
        options = ["--timeout", str(CLIENT_TIMEOUT)] if self.case.hang else []
        patience = self.case.patience if patience is None else patience
        if patience is not None:
            options += ["--patience", str(patience)]
        program = ["-m", "turbobatch"]
        if kill is not None and kill.point in POINTS:
            program = [FAILPOINT, *options, "--stall", str(kill.delay), kill.point, str(kill.hit), "--"]
        elif options:
            program = [FAILPOINT, *options, "never", "1", "--"]
        transport = "requests" if kill is not None and kill.point in IN_THREADS else self.case.transport
        arguments = ["send", str(self.folder), "-o", str(self.report), "--yes", "--transport", transport]
        if resend:
            arguments += ["--in-doubt", "resend"]
        return self._popen([*program, *arguments])

    def wait(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for a run's end and tell its code; one that hangs is ended, which is a problem."""
        try:
            return process.wait(LONGEST)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            process.wait()
            self._expect(False, "hung")
            return -signal.SIGABRT

    def await_arrival(self, process: subprocess.Popen[bytes], posts: int = 1) -> None:
        """Return once so many POSTs of this run have come to the vendor, or the run is over."""
        before = self.vendor.requests()
        while process.poll() is None and self.vendor.requests() < before + posts:
            time.sleep(0.005)

    def await_text(self, process: subprocess.Popen[bytes], text: bytes) -> None:
        """Return once this run has said this on stderr, or is over."""
        while process.poll() is None and text not in self.log.read_bytes():
            time.sleep(0.005)

    # What must be true

    def check_kill(self, *, ended: bool = False) -> None:
        """Check what is on the disk and at the vendor right after a kill, or between two runs."""
        journal = Snapshot.of(self.folder)
        fresh = journal.unanswered - self.unanswered
        self.unanswered |= fresh
        self.figures.in_doubt |= Counter({self.case.concurrency: len(fresh)})
        bound = 0 if ended else self.case.concurrency
        self._expect(len(fresh) <= bound, f"{len(fresh)} more in doubt, {bound} at most may be")
        held = journal.keys("in_doubt")
        settled = journal.keys("sent") & self.resent.keys()
        forgotten = self.unanswered - held - settled
        self._expect(not forgotten, f"no longer in doubt: {sorted(forgotten)}")
        if (ledger := self._ledger_by_key()) is not None:
            self._expect(ledger.keys() >= journal.keys("sent"), "a row is sent that the vendor hasn't")
            self._expect(ledger.keys() <= journal.keys("sent") | held, "the vendor has a key that is neither")
            self._expect(not self._unasked(ledger), "the vendor has a key twice")
        self._check_files()
        if self._dice.random() < 0.4:
            self._check_status(held)

    def check_end(self) -> None:
        """Check the report of a finished campaign against table, ledger and journal."""
        report, messages = self._read_report(), self.vendor.messages()
        own = [{name: str(row[name]) for name in self.table[0]} for row in report]
        missing = [row for row in self.table if row not in own]
        ledger = Counter(message["custom_headers"]["X-Key"] for message in messages)
        statuses = {row["id"]: row["send_status"] for row in report if row["send_status"] != "duplicate"}
        unseen = {key for key, status in statuses.items() if status == "sent"} - ledger.keys()
        denied = {key for key in ledger if statuses.get(key) not in ("sent", "in_doubt")}
        keys = {row["id"]: row["send_key"] for row in report}
        twice = self._unasked({keys[name]: count for name, count in ledger.items()})
        self.figures.posts = sum(Snapshot.of(self.folder).attempts.values())
        self.figures.strays = len(list(self.folder.glob(".report*.tmp")))
        self.figures.duplicates = len(twice)
        self.figures.lost = len(missing) + len(unseen)
        self._expect(not twice, f"came too often: {twice}")
        self._expect(not missing, f"rows missing in the report: {missing}")
        self._expect(own == self.table, "the report's rows aren't in the table's order")
        self._expect(not unseen, f"sent, but never came: {unseen}")
        self._expect(not denied, f"came, but the report denies it: {denied}")
        for row, verdict in zip(self.table, report, strict=False):
            self._expect(self._may_be(row, verdict), f"row {row['row']} ({row['fate']}) is {verdict['send_status']}")
        if self.case.api == "v2":
            labelled = all(keys[message["custom_headers"]["X-Key"]] == message["reference_id"] for message in messages)
            self._expect(labelled, "a reference_id isn't its row's key")
        self._expect(not self.vendor.log.read_bytes(), f"the vendor itself failed, says {self.vendor.log.name}")

    def check_another_run(self) -> None:
        """Run a finished campaign again: nothing may be posted, and no verdict may change."""
        requests, statuses = self.vendor.requests(), [row["send_status"] for row in self._read_report()]
        code = self.wait(self.start())
        well = all(status in ("sent", "duplicate", "suppressed") for status in statuses)
        self._expect(code == (0 if well else 1), f"another run ended with {code}")
        self._expect(self.vendor.requests() == requests, "another run posted something")
        self._expect([row["send_status"] for row in self._read_report()] == statuses, "another run changed a verdict")

    def _may_be(self, row: dict[str, str], verdict: dict[Any, Any]) -> bool:
        status = verdict["send_status"]
        if status == FATES[row["fate"]]:
            return True
        # With a short timeout a machine that stalls makes doubts of its own.
        late = self.case.hang and "timeout" in verdict["send_message"]
        return status == "in_doubt" and (verdict["send_key"] in self.unanswered or late)

    def _unasked(self, ledger: Mapping[str, int]) -> list[str]:
        """The keys that came more often than anybody asked for."""
        return [key for key, count in ledger.items() if count > 1 + self.resent[key]]

    def _check_files(self) -> None:
        for path in self.folder.glob("*.journal.db*"):
            mode = stat.S_IMODE(path.stat().st_mode)
            self._expect(mode == 0o600, f"{path.name} has mode {mode:o}")
        if self.report.read_bytes() != self._whole_report:
            self._expect(len(self._read_report()) == len(self.table), "a report isn't whole")
            self._whole_report = self.report.read_bytes()

    def _check_status(self, held: set[str]) -> None:
        counts = Counts()
        with Campaign.load(self.folder).look() as results:  # as `turbobatch status` does
            for chunk in results.frames():
                counts.add(chunk)
            in_doubt = results.in_doubt()
        self._expect(sorted(in_doubt) == sorted(held), "status doesn't list the rows in doubt")
        self._expect(counts.rows.total() == len(self.table), "status doesn't count every row")

    def _ledger_by_key(self) -> Counter[str] | None:
        """The ledger by the journal's keys; None where v1 carries no digest."""
        messages = self.vendor.messages()
        if self.case.api == "v2":
            return Counter(message["reference_id"] for message in messages)
        if "digest" in self.case.keyed:
            return None
        return Counter(message["custom_headers"]["X-Key"] for message in messages)

    def _read_report(self) -> list[dict[Any, Any]]:
        return read_report(self.report).to_dict("records")

    def _expect(self, truth: bool, otherwise: str) -> None:
        if not truth:
            self.figures.problems.append(f"{self.case}: {otherwise}; see {self.home}")

    def _popen(self, arguments: Sequence[str], stdout: int | None = None) -> subprocess.Popen[bytes]:
        names = ("TURBOSMTP_AUTHUSER", "TURBOSMTP_AUTHPASS", "TURBOSMTP_CONSUMER_KEY", "TURBOSMTP_CONSUMER_SECRET")
        variables = dict.fromkeys(names, "sandbox") | {"TURBOSMTP_BASE_URL": self.vendor.base_url(self.case.api)}
        return launch(arguments, self.log, stdout, **variables)


def launch(arguments: Sequence[str], log: Path, stdout: int | None = None, **variables: str) -> subprocess.Popen[bytes]:
    """Start Python in the log's folder; of our environment it gets PYTHONPATH, by which another copy can be tried."""
    kept = {name: os.environ[name] for name in ("PATH", "PYTHONPATH") if name in os.environ}
    with log.open("ab") as file:
        return forks.start(
            [sys.executable, *arguments], cwd=log.parent, env=kept | variables, stdout=stdout or file, stderr=file
        )


def run_trials(cases: Iterable[Case], folder: Path, *, workers: int = WORKERS) -> Iterator[Figures]:
    """Run trials, some at a time, and tell each one's figures as it ends. What has no problem leaves no files."""

    def run(case: Case) -> Figures:
        home = Path(tempfile.mkdtemp(prefix=f"{case.seed}-", dir=folder))
        trial = Trial(case, home)
        try:
            figures = trial.run()
        except Exception as error:  # noqa: BLE001 - a problem of this case; the others go on
            figures = trial.figures
            figures.problems.append(f"{case}: {error!r}; see {home}")
        if not figures.problems:
            shutil.rmtree(home)
        return figures

    running: set[Future[Figures]] = set()
    coming = iter(cases)
    with ThreadPoolExecutor(workers) as pool:
        while True:
            # Only as many as there are workers: whoever asks for the next figures may have had enough.
            running |= {pool.submit(run, case) for _, case in zip(range(workers - len(running)), coming, strict=False)}
            if not running:
                return
            ended, running = wait(running, return_when=FIRST_COMPLETED)
            for future in ended:
                yield future.result()


def torture(kills: int, seed: int, folder: Path, workers: int) -> Figures:
    """Draw and run cases until there were that many kills."""
    dice = random.Random(seed)  # noqa: S311 - repeatable
    total = Figures()
    began = last = time.monotonic()

    def cases() -> Iterator[Case]:
        while total.kills.total() < kills:
            yield Case.drawn(dice.randrange(10**9))

    for figures in run_trials(cases(), folder, workers=workers):
        total.add(figures)
        for problem in figures.problems:
            say(problem)
        if time.monotonic() > last + 30:
            last = time.monotonic()
            say(f"{total.kills.total()} kills, {len(total.problems)} problems, {last - began:.0f} s")
    total.seconds = time.monotonic() - began
    return total


def say(line: object) -> None:
    """Tell who waits."""
    print(line, flush=True)  # noqa: T201 - a program of its own


def main() -> int:
    """Take the arguments, torture, print the figures; 1 if there was any problem."""
    parser = argparse.ArgumentParser(description="Kill turbobatch again and again, and check that its promises hold.")
    parser.add_argument("--kills", type=int, default=300, help="how many; it ends soon after")
    parser.add_argument("--seed", type=int, default=None, help="of the draw of cases; else one is drawn")
    parser.add_argument("--workers", type=int, default=WORKERS, help="campaigns at a time")
    parser.add_argument("--case", type=int, default=None, help="run the one campaign of this seed")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(10**6)
    folder = Path(tempfile.mkdtemp(prefix="torture-"))
    if options.case is not None:
        say(Case.drawn(options.case))
        total = next(run_trials([Case.drawn(options.case)], folder))
    else:
        say(f"seed {seed}")
        total = torture(options.kills, seed, folder, options.workers)
    say(total)
    with contextlib.suppress(OSError):
        folder.rmdir()  # what had a problem stays
    return 1 if total.problems else 0


if __name__ == "__main__":
    sys.exit(main())
