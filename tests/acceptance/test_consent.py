"""What the command line does only when it is told to: send again, settle as pending; and how it asks."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
from typing import TYPE_CHECKING, Protocol

import pytest

from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Done = subprocess.CompletedProcess[str]
    Letters = Callable[..., Path]


class Command(Protocol):
    """What conftest's `turbobatch` can do."""

    folder: Path

    def use(self, sandbox: Sandbox) -> None: ...
    def __call__(self, *arguments: object) -> Done: ...
    def here(self, *arguments: object) -> subprocess.CompletedProcess[str]: ...
    def start(self, *arguments: object, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]: ...


def answered(turbobatch: Command, typed: bytes, *arguments: object) -> Done:
    """Run a command on a terminal where this is typed."""
    outside, inside = pty.openpty()
    process = turbobatch.start(*arguments, stdin=inside)
    os.close(inside)
    with os.fdopen(outside, "wb", buffering=0) as terminal:
        terminal.write(typed)
        out, err = process.communicate(timeout=60)
    return subprocess.CompletedProcess(process.args, process.returncode, out, err)


# Emails that would leave a second time


@pytest.fixture
def changed(letters: Letters, turbobatch: Command, sandbox: Sandbox) -> Path:
    """A campaign without a key column, whose template was changed after its three emails had left."""
    folder = letters()
    toml = (folder / "campaign.toml").read_text(encoding="utf-8").replace('key = "id"\n', "")
    (folder / "campaign.toml").write_text(toml, encoding="utf-8")
    assert turbobatch.here("send", folder, "-o", "report.csv", "--yes").returncode == 0
    assert sandbox.requests_seen() == 3
    (folder / "letter.txt").write_text("Dear {{ name }}!\n", encoding="utf-8")
    return folder


@pytest.mark.measured
def test_yes_alone_sends_nothing_again(changed: Path, turbobatch: Command, sandbox: Sandbox) -> None:
    """A changed template makes new emails: `--yes` isn't enough, `--accept-changes` says it."""
    done = turbobatch("send", changed, "-o", "report.csv", "--yes")
    assert done.returncode == 2
    warning, error = done.stderr.splitlines()
    assert warning.startswith(
        "warning: 3 emails of this campaign have left under keys that this table doesn't have, and 3 "
    )
    assert error.startswith("error: nothing was sent: undo the change, or ")
    assert error.endswith("--accept-changes")
    assert sandbox.requests_seen() == 3
    done = turbobatch("send", changed, "-o", "report.csv", "--yes", "--accept-changes")
    assert (done.returncode, sandbox.requests_seen()) == (0, 6)


@pytest.mark.parametrize(("typed", "ended"), [(b"n\n", (2, 3)), (b"y\n", (0, 6))])
def test_the_question_names_what_may_happen(
    typed: bytes, ended: tuple[int, int], changed: Path, turbobatch: Command, sandbox: Sandbox
) -> None:
    """On a terminal the question itself asks for the consent."""
    done = answered(turbobatch, typed, "send", changed, "-o", "report.csv")
    assert re.search(r"Send, though they may arrive a second time\? \[y/N\]", done.stdout)
    assert (done.returncode, sandbox.requests_seen()) == ended


def test_an_input_that_ends_is_no_consent(letters: Letters, turbobatch: Command, sandbox: Sandbox) -> None:
    """Ctrl-D at the question: nothing was sent, and nothing else is said."""
    done = answered(turbobatch, b"\x04", "send", letters(), "-o", "report.csv")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1] == "error: stopped by the user: nothing was sent"
    assert sandbox.requests_seen() == 0


# Rows in doubt that would go out again


@pytest.mark.parametrize(
    ("typed", "code", "left"), [(b"n\n", 2, "in_doubt"), (b"\x04", 3, "in_doubt"), (b"y\n", 0, "pending")]
)
def test_settling_all_as_pending_is_asked(
    typed: bytes, code: int, left: str, letters: Letters, turbobatch: Command
) -> None:
    """Without a key it takes all of them, and names the risk first."""
    folder = letters(table="id,name,email\n1,Ana,reset-after@example.org\n")
    with Sandbox() as sandbox:
        turbobatch.use(sandbox)
        assert turbobatch.here("send", folder, "-o", "report.csv", "--yes").returncode == 1
    done = answered(turbobatch, typed, "resolve", folder, "--as", "pending")
    assert done.stdout.startswith("1 email may have been accepted: the next send posts it again")
    assert done.returncode == code
    if code:
        assert done.stderr.splitlines()[-1].endswith("nothing was settled")
    assert json.loads(turbobatch.here("status", folder, "--json").stdout)["statuses"] == {left: 1}


def test_without_a_journal_nothing_is_settled(letters: Letters, turbobatch: Command) -> None:
    """A wrong path isn't taken for an answer."""
    for options in ([], ["--journal", "nowhere.db"]):
        done = turbobatch.here("resolve", letters(), "--as", "sent", *options)
        assert done.returncode == 2
        assert re.fullmatch(r"error: there is no journal at .*\.db: nothing is in doubt\n", done.stderr)
