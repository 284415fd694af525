"""Whoever stops listening, a pipe's reader or a terminal that is closed, harms no run."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Protocol

import pytest

from turbobatch.report import read_report

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from turbobatch.sandbox import Sandbox

    Letters = Callable[..., Path]
    Until = Callable[[Callable[[], object]], None]

COMMAND = ("-c", "from turbobatch.cli import main; main()")
ON_A_TERMINAL = """
import fcntl, os, signal, sys, termios
signal.signal(signal.SIGHUP, signal.{disposition})
signal.signal(signal.SIGINT, signal.default_int_handler)
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
"""


class Command(Protocol):
    """What conftest's `turbobatch` has."""

    folder: Path
    environment: dict[str, str]

    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]: ...


def statuses(folder: Path) -> Counter[str]:
    return Counter(read_report(folder / "report.csv")["send_status"])


@pytest.mark.measured
@pytest.mark.parametrize("lost", [("stdout",), ("stderr",), ("stdout", "stderr")])
def test_a_pipe_that_nobody_reads_harms_nothing(
    lost: tuple[str, ...], letters: Letters, turbobatch: Command, sandbox: Sandbox
) -> None:
    """Closed at once, so that every line fails: all is sent, the report is written, and the exit code is true."""
    folder = letters(300)
    (folder / "people.csv").write_bytes((folder / "people.csv").read_bytes() + "x,Zo\u00eb,z@@\n".encode("cp1252"))
    reader, writer = os.pipe()
    os.close(reader)
    out, err = (writer if name in lost else subprocess.DEVNULL for name in ("stdout", "stderr"))
    done = subprocess.run(
        [sys.executable, *COMMAND, "send", str(folder), "-o", "report.csv", "--yes"],
        cwd=turbobatch.folder, env=turbobatch.environment, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
        timeout=60, check=False,
    )  # fmt: skip
    os.close(writer)
    assert done.returncode == 1  # for the one bad row
    assert statuses(turbobatch.folder) == {"sent": 300, "invalid": 1}
    assert sandbox.requests_seen() == 300


def test_a_reader_that_leaves_in_the_middle_harms_nothing(
    letters: Letters, turbobatch: Command, slow_sandbox: Sandbox, until: Until
) -> None:
    """Progress lines go to stderr; the pipe breaks while POSTs are in flight, and Ctrl-C is still heard."""
    folder = letters(2000)
    process = subprocess.Popen(
        [sys.executable, *COMMAND, "send", str(folder), "-o", "report.csv", "--yes"],
        cwd=turbobatch.folder, env=turbobatch.environment, stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
    )  # fmt: skip
    with process:
        assert process.stderr is not None
        until(lambda: len(slow_sandbox.inbox()) >= 3)
        process.stderr.close()
        process.send_signal(signal.SIGTERM)
        process.wait(60)
    assert process.returncode == 3
    counts = statuses(turbobatch.folder)
    assert set(counts) == {"sent", "pending"}
    assert counts["sent"] == len(slow_sandbox.inbox())


@pytest.mark.parametrize("disposition", ["SIG_DFL", "SIG_IGN"])
def test_a_terminal_that_is_closed_is_a_ctrl_c(
    disposition: str, letters: Letters, turbobatch: Command, slow_sandbox: Sandbox, until: Until
) -> None:
    """The POSTs in flight are waited for and the report is written; under nohup the run goes on to its end."""
    folder = letters(30)
    outside, inside = pty.openpty()
    launcher = ON_A_TERMINAL.format(disposition=disposition)
    command = [sys.executable, "-c", launcher, *COMMAND, "send", str(folder), "-o", "report.csv", "--yes"]
    process = subprocess.Popen(
        command, cwd=turbobatch.folder, env=turbobatch.environment, start_new_session=True,
        stdin=inside, stdout=inside, stderr=inside,
    )  # fmt: skip
    os.close(inside)
    with process:
        until(lambda: len(slow_sandbox.inbox()) >= 3)
        os.close(outside)
        if disposition == "SIG_DFL":
            process.send_signal(signal.SIGHUP)  # the shell's own, after the kernel's
        process.wait(60)
    counts = statuses(turbobatch.folder)
    if disposition == "SIG_IGN":
        assert (process.returncode, counts) == (0, {"sent": 30})
    else:
        assert process.returncode == 3
        assert set(counts) == {"sent", "pending"}
    assert counts["sent"] == len(slow_sandbox.inbox())
