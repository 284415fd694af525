"""Ctrl-C ends `turbobatch send` whatever it waits for: a report, exit 3, and the rest is pending."""

from __future__ import annotations

import signal
from collections import Counter
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from turbobatch.report import read_report
from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Letters = Callable[..., Path]
    from conftest import Command

    from tests.conftest import Until

ROWS = 12
PROMPT = 15.0  # seconds for the process to write its report and leave; each wait here is longer, or goes on and on


@contextmanager
def running(turbobatch: Command, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A run, which doesn't outlive its test."""
    with turbobatch.start("send", "letters", "-o", "report.csv", "--yes", *arguments) as process:
        try:
            yield process
        finally:
            process.kill()


@contextmanager
def waiting(turbobatch: Command, *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """A run, once it says that it waits."""
    with running(turbobatch, *arguments) as process:
        await_text(process, "rows: waiting for ", "; waiting for ")
        yield process


def await_text(process: subprocess.Popen[str], *texts: str) -> None:
    """Read what it says up to a line with one of these texts."""
    assert process.stderr is not None
    assert any(text in line for line in process.stderr for text in texts)


def interrupted(process: subprocess.Popen[str]) -> None:
    """Press Ctrl-C once; it must be enough."""
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PROMPT)
    assert process.returncode == 3, err
    assert err.splitlines()[-1].startswith("error: stopped by the user: the rest is pending; ")


def statuses(turbobatch: Command) -> Counter[str]:
    return Counter(read_report(turbobatch.folder / "report.csv")["send_status"])


@pytest.mark.usefixtures("signals")
def test_ctrl_c_ends_the_wait_for_a_quota(letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """3 are sent, the fourth would be in an hour; without the quota the same command sends the rest."""
    folder = letters(ROWS)
    with waiting(turbobatch, "--rate", "3/hour") as process:
        interrupted(process)
    assert statuses(turbobatch) == {"sent": 3, "pending": ROWS - 3}
    assert len(sandbox.inbox()) == 3
    with waiting(turbobatch, "--rate", "3/hour") as process:  # the journal remembers the hour
        interrupted(process)
    assert len(sandbox.inbox()) == 3
    assert turbobatch("send", folder, "-o", "report.csv", "--yes").returncode == 0
    assert sorted(sandbox.inbox()["subject"]) == [f"Letter {number:03}" for number in range(ROWS)]


@pytest.mark.usefixtures("signals")
def test_ctrl_c_ends_the_wait_for_a_window(letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """Nothing has been sent, and all of it is in the report."""
    opens = datetime.now(UTC) + timedelta(hours=6)
    hours = f"{opens:%H:%M}-{opens + timedelta(hours=1):%H:%M} UTC"
    toml = letters().joinpath("campaign.toml").read_text(encoding="utf-8")
    letters(ROWS, toml=f'{toml}window = "{hours}"\n')
    with waiting(turbobatch) as process:
        interrupted(process)
    assert statuses(turbobatch) == {"pending": ROWS}
    assert sandbox.requests_seen() == 0


@pytest.mark.usefixtures("signals")
@pytest.mark.parametrize("fault", ["429", "429-date"])
def test_ctrl_c_ends_a_pause_asked_for(fault: str, letters: Letters, turbobatch: Command) -> None:
    """The API keeps asking for a pause; nothing was accepted and nothing failed."""
    letters(ROWS)
    with Sandbox(faults={fault: 1.0}) as sandbox:
        turbobatch.use(sandbox)
        with waiting(turbobatch) as process:
            interrupted(process)
        assert statuses(turbobatch) == {"pending": ROWS}
        assert len(sandbox.inbox()) == 0


@pytest.mark.usefixtures("signals")
def test_ctrl_c_ends_the_wait_for_an_outage_to_pass(letters: Letters, turbobatch: Command, until: Until) -> None:
    """The API was there and is gone: what it accepted is sent, what was in flight may be in doubt, the rest pending."""
    letters(200)
    with Sandbox(latency=0.05) as sandbox:
        turbobatch.use(sandbox)
        with running(turbobatch, "--concurrency", 8) as process:
            until(lambda: len(sandbox.inbox()) >= 8)
            sandbox.stop()
            await_text(process, "waiting for the API, which can't be reached")
            interrupted(process)
        found = statuses(turbobatch)
        assert set(found) <= {"sent", "pending", "in_doubt"}
        assert found["in_doubt"] <= 8
        assert found.total() == 200
        assert found["sent"] <= len(sandbox.inbox()) <= found["sent"] + found["in_doubt"]
