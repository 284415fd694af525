"""Few file descriptors: fewer POSTs at a time, and no tale of an API that can't be reached."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Protocol

from turbobatch.report import read_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from turbobatch.sandbox import Sandbox


class Command(Protocol):
    """What conftest's `turbobatch` has."""

    folder: Path
    environment: dict[str, str]


def limited(turbobatch: Command, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python where few files may be open at a time."""
    return subprocess.run(
        ["/bin/sh", "-c", 'ulimit -n 48; exec "$0" "$@"', sys.executable, *arguments],
        cwd=turbobatch.folder, env=turbobatch.environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_a_low_limit_bounds_the_posts_in_flight(
    letters: Callable[..., Path], turbobatch: Command, slow_sandbox: Sandbox
) -> None:
    """One line says so, and every email leaves."""
    command = ["-c", "from turbobatch.cli import main; main()", "send", str(letters(150)), "-o", "report.csv", "--yes"]
    done = limited(turbobatch, *command, "--concurrency", "256")
    assert done.returncode == 0, done.stderr
    (warning,) = done.stderr.splitlines()
    assert warning.startswith("warning: this process may open too few files for 256 POSTs at a time: at most ")
    assert set(read_report(turbobatch.folder / "report.csv")["send_status"]) == {"sent"}
    assert slow_sandbox.requests_seen() == 150


EXHAUSTED = """
import contextlib
from turbobatch.sendapi import Request
from turbobatch.transport.requests import Poster

def post():
    return Poster(timeout=5.0).post(Request("http://127.0.0.1:9/mail/send", {}, b"{}"))

post()  # imports what it imports
files = []
with contextlib.suppress(OSError):
    while True:
        files.append(open("/dev/null"))
failure = post()
files.clear()
print(failure.started, failure.message)
"""


def test_a_shortage_is_called_one(turbobatch: Command) -> None:
    """It says what to do, and that no byte has left."""
    done = limited(turbobatch, "-c", EXHAUSTED)
    assert done.stdout == "False no connection (too many open files: raise ulimit -n, or lower the concurrency)\n", done
