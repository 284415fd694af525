"""`failpoint.py [--stall S] [--timeout S] [--patience S] NAME HIT -- ARGUMENTS`: the command line, killed at NAME.

Wraps boundaries between the loop, the journal, the wire and the report. At the HIT-th passage of the failpoint NAME the
process sends itself SIGKILL, after `--stall` seconds in which this thread stands still and the others go on: what is
done in the wrong order has the time to show. Everything else is `turbobatch ARGUMENTS` as it is, but that its warnings
show and that it says `watched` once it waits for Ctrl-C. `--timeout` is the client's (seconds), `--patience` the
policy's; the command line offers neither.
"""

from __future__ import annotations

import argparse
import functools
import http.client
import itertools
import logging
import os
import signal
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import turbobatch.campaign as campaigns
from turbobatch import cli, report, results
from turbobatch.client import TurboClient
from turbobatch.journal import SqliteJournal
from turbobatch.policy import Policy
from turbobatch.run import Run
from turbobatch.transport.curl import CurlTransport
from turbobatch.transport.requests import Poster, RequestsTransport

if TYPE_CHECKING:
    from collections.abc import Iterator

POINTS = {
    # The journal comes into being.
    "before-link": "it is written and synced, not in its place",
    "journal-made": "it is in its place, and SQLite hasn't opened it",
    "journal-ready": "opened, or made anew, for this campaign",
    # One turn of the loop.
    "before-intent-commit": "emails are claimed, nothing is written",
    "mid-commit": "a transaction's rows are written, COMMIT hasn't begun; any transaction",
    "statement": "before each SQL statement, of any kind",
    "after-intent-commit": "intents are durable, nothing is posted",
    "before-submit": "just before the transport gets them",
    "after-submit": "the transport has them",
    "before-post": "a thread has taken one",
    "before-first-byte": "connected, nothing written",
    "between-bytes": "the head is written, the body isn't",
    "after-last-byte": "all is written, no answer is read",
    "answer-read": "an answer is read, the loop doesn't know",
    "answer-collected": "the loop has it",
    "before-outcome-commit": "the outcome is known, nothing is written",
    "after-outcome-commit": "the outcome is durable",
    # The end.
    "before-close": "before each closing of the journal, with its checkpoint",
    "after-close": "after it",
    "report-begun": "its temporary file is there, empty",
    "report-chunk": "before each chunk of rows",
    "report-written": "all chunks are written and the file is closed",
    "before-rename": "synced",
    "after-rename": "in its place",
}
"""Where a run can be killed, and what is true there."""

IN_THREADS = ("before-post", "before-first-byte", "between-bytes", "after-last-byte", "answer-read")
"""Points that only the requests transport passes: libcurl does all of that inside one call."""

CHUNK = 10  # rows of a report's chunk: small, so that a small table has several

_Points = Callable[..., Iterable[str]]


class Failpoint:
    """Kills this process at the `hit`-th passage of the point `name`, `stall` seconds later."""

    def __init__(self, name: str, hit: int, stall: float) -> None:
        self._name = name
        self._hit = hit
        self._stall = stall
        self._passages = itertools.count(1)  # atomic: threads pass here too

    def passed(self, points: Iterable[str]) -> None:
        """Say that these points are passed now."""
        if self._name in points and next(self._passages) == self._hit:
            time.sleep(self._stall)
            os.kill(os.getpid(), signal.SIGKILL)

    def around(self, owner: Any, name: str, before: _Points = lambda *_: (), after: _Points = lambda *_: ()) -> None:
        """Wrap a function: `before` gets its arguments, `after` its result and them; both name points."""
        original = getattr(owner, name)

        @functools.wraps(original)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            self.passed(before(*args))
            result = original(*args, **kwargs)
            self.passed(after(result, *args))
            return result

        setattr(owner, name, wrapped)


def main() -> None:
    """Take this program's own arguments, install the failpoint, run the command line."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else "")
    parser.add_argument("--stall", type=float, default=0.0)
    parser.add_argument("--timeout", type=float)
    parser.add_argument("--patience", type=float)
    parser.add_argument("name", choices=[*POINTS, "never"])
    parser.add_argument("hit", type=int)
    parser.add_argument("arguments", nargs="+")
    options = parser.parse_args()
    if options.timeout is not None:
        TurboClient.from_env = functools.partial(TurboClient.from_env, timeout=options.timeout)  # type: ignore[method-assign]  # the point of this program
    if options.patience is not None:
        first = min(options.patience, Policy().first_patience)
        vars(campaigns)["Policy"] = functools.partial(Policy, patience=options.patience, first_patience=first)
    failpoint = Failpoint(options.name, options.hit, options.stall)
    watch_journal(failpoint)
    watch_wire(failpoint)
    watch_report(failpoint)
    speak()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job is started deaf to it
    sys.argv = ["turbobatch", *options.arguments]
    cli.main()


def watch_journal(failpoint: Failpoint) -> None:
    """Failpoints from the journal's making to its end; a journal in memory, where there is no file yet, has none."""

    def commits(when: str, intents: Iterable[Any], outcomes: Iterable[Any]) -> Iterator[str]:
        if intents:
            yield f"{when}-intent-commit"
        if any(item.posted for item in outcomes):
            yield f"{when}-outcome-commit"

    def trace(database: sqlite3.Connection, path: object) -> tuple[str, ...]:
        if isinstance(path, Path):
            database.set_trace_callback(lambda statement: failpoint.passed(points_of(statement)))
        return ()

    failpoint.around(
        sqlite3,
        "connect",
        after=trace,
    )
    failpoint.around(os, "link", lambda *_: ("before-link",), lambda *_: ("journal-made",))
    failpoint.around(campaigns, "open_journal", after=lambda *_: ("journal-ready",))
    failpoint.around(
        SqliteJournal,
        "commit",
        lambda _, intents, outcomes: tuple(commits("before", intents, outcomes)),
        lambda _, __, intents, outcomes: tuple(commits("after", intents, outcomes)),
    )
    failpoint.around(
        SqliteJournal,
        "close",
        lambda journal: ("before-close",) if journal.path else (),
        lambda _, journal: ("after-close",) if journal.path else (),
    )


def points_of(statement: str) -> tuple[str, ...]:
    """The failpoints that lie before this SQL statement."""
    match statement.split(maxsplit=2)[:2]:
        case ["COMMIT", *_]:
            return ("statement", "mid-commit")
        case _:
            return ("statement",)


def watch_wire(failpoint: Failpoint) -> None:
    """Failpoints from the loop to the socket and back."""
    post = threading.local()  # `writes`: how often this thread's POST has written; a head, then a body

    def begin(*_: object) -> tuple[str, ...]:
        post.writes = 0
        return ("before-post",)

    def write(*_: object) -> tuple[str, ...]:
        post.writes += 1
        return ("before-first-byte",) if post.writes == 1 else ("between-bytes",)

    for transport in (RequestsTransport, CurlTransport):
        failpoint.around(
            transport,
            "submit",
            lambda _, jobs: ("before-submit",) if jobs else (),
            lambda _, __, jobs: ("after-submit",) if jobs else (),
        )
        failpoint.around(transport, "poll", after=lambda found, *_: ("answer-collected",) if found else ())
    failpoint.around(Poster, "post", begin, lambda *_: ("answer-read",))
    failpoint.around(http.client.HTTPConnection, "send", write)
    failpoint.around(http.client.HTTPConnection, "getresponse", lambda *_: ("after-last-byte",))


def watch_report(failpoint: Failpoint) -> None:
    """Failpoints while the report is written, in chunks of a few rows."""
    original, original_replacing = results.Results.frames, vars(report)["replacing"]

    def frames(*args: Any) -> Iterator[Any]:
        for chunk in original(*args):
            failpoint.passed(("report-chunk",))
            yield chunk

    @contextmanager
    def replacing(path: Path) -> Iterator[Path]:
        with original_replacing(path) as temporary:
            failpoint.passed(("report-begun",))
            yield temporary
            failpoint.passed(("report-written",))

    assert isinstance(results._CHUNK, int), "the size of a report's chunk has moved"
    results._CHUNK = CHUNK
    results.Results.frames = frames  # type: ignore[method-assign,assignment]  # the point of this program
    vars(report)["replacing"] = replacing
    failpoint.around(Path, "replace", lambda *_: ("before-rename",), lambda *_: ("after-rename",))


def speak() -> None:
    """Let the run tell its warnings, and when it is watched."""
    logging.getLogger("turbobatch").setLevel(logging.WARNING)
    original, calls = Run.wait, itertools.count()

    def wait(*args: Any) -> bool:
        if next(calls) == 0:
            print("watched", file=sys.stderr, flush=True)  # noqa: T201 - for who reads along
        return original(*args)

    Run.wait = wait  # type: ignore[assignment,method-assign]  # the point of this program


if __name__ == "__main__":
    main()
