"""The whole job, one command each: a table of receipts in, every email posted, a table of results out."""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.processes import FailedError, Responder, nginx, responder, run, smtp_sink, turbobatch
from benchmarks.section import Section, Target
from benchmarks.workload import RECEIPT, write_campaign

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.processes import Cost

TITLE = "Whole job"
NAIVE = "naive loop"

_CONTESTANTS = Path(__file__).parent / "contestants"
_LATENCIES = (0, 50)  # milliseconds
_FASTER = {0: 8, 50: 100}  # times the naive loop, by latency
_CPU = {"v1": 0.45, "v2": 0.35}  # ms a row
_METHOD = """\
Each contestant is one command that reads the same receipts from a CSV file, merges an email of about 3 KB from each,
posts it and writes a file of results; turbobatch keeps its journal too. All of them post to the same server process,
one after the other; `mailmerge` speaks SMTP alone, so it sends to aiosmtpd, and writes no results. Rows/s: rows by
seconds on the clock, from the command's start to its end. CPU: user and system time of that one process by rows,
start-up included; the server's isn't counted. Peak: its maximum resident set as the kernel counted it, in MB of 10^6
bytes."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A contestant at one latency. `lanes`: POSTs at a time."""

    name: str
    latency: int
    lanes: int
    rows: int
    api: str = "v1"


@dataclass(frozen=True, slots=True)
class Measured:
    """An entry with what it took, at `server`."""

    entry: Entry
    server: str
    cost: Cost

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.entry.rows / self.cost.seconds

    @property
    def cpu(self) -> float:
        """CPU a row, ms."""
        return self.cost.cpu / self.entry.rows * 1000


def transports() -> list[str]:
    """The transports that are there and whose library is installed."""
    there = ["requests"]
    if importlib.util.find_spec("turbobatch.transport.curl") and importlib.util.find_spec("pycurl"):
        there.append("curl")
    return there


def entries(scale: float) -> Iterator[Entry]:
    """Everyone at every latency; `scale` makes the tables longer or shorter."""
    for latency in _LATENCIES:
        slow = latency > 0

        def rows(fast: int, waiting: int, slow: bool = slow) -> int:
            return max(20, round((waiting if slow else fast) * scale))

        threads = 64 if slow else 16
        yield Entry(NAIVE, latency, 1, rows(5000, 500))
        yield Entry("mailmerge", latency, 1, rows(2000, 200))
        yield Entry("threaded requests", latency, threads, rows(5000, 5000))
        yield Entry("aiohttp", latency, 256, rows(10_000, 10_000))
        for transport in transports():
            lanes, count = (threads, 10_000) if transport == "requests" else (256, 50_000)
            for api in ("v1", "v2"):
                yield Entry(f"turbobatch {transport}", latency, lanes, rows(count, count), api)


def measure(scale: float, rounds: int) -> Section:
    """Run everyone in turn, `rounds` times."""
    found: dict[tuple[Entry, str], list[Cost]] = {}
    with ExitStack() as stack:
        bare = stack.enter_context(responder())
        other = stack.enter_context(nginx())
        for _ in range(rounds):
            for entry in entries(scale):
                server = "aiosmtpd" if entry.name == "mailmerge" else "asyncio"
                _note(found, entry, server, _run(entry, bare))
            for entry in entries(scale):
                if other is not None and entry.latency == 0 and entry.name.startswith((NAIVE, "turbobatch")):
                    _note(found, entry, "nginx", _run(entry, other))
    measured = [Measured(*key, sorted(costs, key=_seconds)[len(costs) // 2]) for key, costs in found.items()]
    method = f"{_METHOD} Runs of each: {rounds}; the figures are those of the one in the middle, by time."
    return Section(
        title=TITLE,
        method=method if other else f"{method} nginx isn't installed.",
        head=(
            "Contestant",
            "Server",
            "Latency ms",
            "POSTs at a time",
            "Rows",
            "Rows/s",
            "CPU ms/row",
            "Peak MB",
            "Times naive",
        ),
        rows=tuple(_row(item, measured) for item in measured),
        targets=tuple(_targets(measured)),
    )


def _note(found: dict[tuple[Entry, str], list[Cost]], entry: Entry, server: str, cost: Cost) -> None:
    found.setdefault((entry, server), []).append(cost)
    rate = f"{entry.rows / cost.seconds:.0f} rows/s"
    print(f"{entry.name} {entry.api}, {entry.latency} ms, {server}: {rate}", flush=True)


def _seconds(cost: Cost) -> float:
    return cost.seconds


def _run(entry: Entry, server: Responder | str) -> Cost:
    with tempfile.TemporaryDirectory() as name:
        folder = write_campaign(Path(name) / "campaign", entry.rows)
        if entry.name == "mailmerge":
            return _run_mailmerge(entry, folder)
        if isinstance(server, str):
            return run(contestant(entry, folder, server))
        server.reset(entry.latency)
        cost = run(contestant(entry, folder, server.url))
        if (came := server.count()) != entry.rows:
            raise FailedError(f"{entry.name}: {came} POSTs came for {entry.rows} rows")
        return cost


def contestant(entry: Entry, folder: Path, url: str) -> list[str | Path]:
    """The command line of a contestant over HTTP, for a campaign's folder and the base URL of v1."""
    if entry.name.startswith("turbobatch"):
        transport = ["--transport", entry.name.split()[1], "--concurrency", str(entry.lanes)]
        there = url if entry.api == "v1" else f"{url}/v2"
        report = folder / "report.csv"
        return turbobatch("send", folder, "-o", report, "--base-url", there, "--api", entry.api, "--yes", *transport)
    script = {NAIVE: "naive.py", "threaded requests": "threaded.py", "aiohttp": "aiohttp_loop.py"}[entry.name]
    lanes = [str(entry.lanes)] if entry.lanes > 1 else []
    return [sys.executable, _CONTESTANTS / script, folder, url, *lanes]


def _run_mailmerge(entry: Entry, folder: Path) -> Cost:
    template = folder / "mailmerge_template.txt"
    template.write_text(_mailmerge_template(), encoding="utf-8")
    with smtp_sink(entry.latency, entry.rows) as port:
        server = folder / "mailmerge_server.conf"
        server.write_text(f"[smtp_server]\nhost = 127.0.0.1\nport = {port}\nratelimit = 0\n", encoding="utf-8")
        files = ("--template", template, "--database", folder / "recipients.csv", "--config", server)
        plain = ("--no-dry-run", "--no-limit", "--output-format", "raw")
        program = Path(sys.executable).with_name("mailmerge")  # its `python -m` doesn't start
        return run([program, *files, *plain])


def _mailmerge_template() -> str:
    text, html = ((RECEIPT / name).read_text(encoding="utf-8") for name in ("receipt.txt", "receipt.html"))
    return (
        "TO: {{ name }} <{{ email }}>\nFROM: Acme Receipts <receipts@acme.example>\n"
        "SUBJECT: Your Acme receipt {{ order_id }}\nMIME-Version: 1.0\n"
        'Content-Type: multipart/alternative; boundary="parts"\n\n'
        f"--parts\nContent-Type: text/plain; charset=utf-8\n\n{text}\n"
        f"--parts\nContent-Type: text/html; charset=utf-8\n\n{html}\n--parts--\n"
    )


def _naive(item: Measured, found: list[Measured]) -> Measured:
    """The naive loop at the same latency and server; for SMTP, the one over HTTP."""
    server = "asyncio" if item.server == "aiosmtpd" else item.server
    same = (other for other in found if other.entry.latency == item.entry.latency and other.server == server)
    return next(other for other in same if other.entry.name == NAIVE)


def _row(item: Measured, found: list[Measured]) -> tuple[str, ...]:
    entry = item.entry
    return (
        f"{entry.name}, {entry.api}" if entry.name.startswith("turbobatch") else entry.name,
        item.server,
        str(entry.latency),
        str(entry.lanes),
        f"{entry.rows:,}",
        f"{item.rate:,.0f}",
        f"{item.cpu:.2f}",
        f"{item.cost.peak:.0f}",
        f"{item.rate / _naive(item, found).rate:.1f}",
    )


def _targets(found: list[Measured]) -> Iterator[Target]:
    # With the faster transport, and like with like: the naive loop speaks v1.
    name = f"turbobatch {transports()[-1]}"
    ours = [item for item in found if item.entry.name == name and item.server == "asyncio"]
    for latency, times in _FASTER.items():
        for item in (item for item in ours if item.entry.latency == latency):
            ratio = item.rate / _naive(item, found).rate
            what = f"at least {times} times the naive loop at {latency} ms ({name}, {item.entry.api})"
            yield Target(what, f"{ratio:.1f} times", ratio >= times)
    for api, limit in _CPU.items():
        costs = {item.entry.latency: item.cpu for item in ours if item.entry.api == api}
        said = ", ".join(f"{cpu:.2f} ms at {latency} ms" for latency, cpu in costs.items())
        yield Target(f"at most {limit} ms of CPU a row on {api} ({name})", said, max(costs.values()) <= limit)
