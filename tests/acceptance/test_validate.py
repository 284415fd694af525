"""`check --validate`: asks before it costs, goes on after any stop, and never pays for an address twice."""

from __future__ import annotations

import csv
import os
import pty
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from turbobatch.sandbox import Sandbox

sys.path.insert(0, str(Path(__file__).parent))  # the modules beside this file are programs, not a package

from validate_killed import POINTS

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.conftest import Until

PROGRAM = Path(__file__).with_name("validate_killed.py")
ROWS = 5
TABLE = (
    "id,name,email\n1,Ana,ana@example.org\n2,Bea,bea@gmial.com\n3,Cleo,catch-all@example.org\n4,Dan,ANA@example.org\n"
)


class Command(Protocol):
    """What conftest's `turbobatch` can do."""

    folder: Path
    environment: dict[str, str]

    def use(self, sandbox: Sandbox) -> None: ...
    def __call__(self, *arguments: object) -> subprocess.CompletedProcess[str]: ...
    def here(self, *arguments: object) -> subprocess.CompletedProcess[str]: ...
    def start(self, *arguments: object, stdin: int = subprocess.DEVNULL) -> subprocess.Popen[str]: ...


def test_what_the_vendor_judges_is_told_and_written(
    letters: Callable[..., Path], turbobatch: Command, sandbox: Sandbox
) -> None:
    """Row by row what isn't fine, the rest as counts; the rows can be sent."""
    folder = letters(table=TABLE)
    done = turbobatch.here("check", folder, "--validate", "--yes")
    assert done.returncode == 0
    assert done.stdout == (
        "The vendor is asked to judge 3 addresses, 3 credits.\n"
        "row 1 (line 3 of people.csv): column name, email: the vendor judges bea@gmial.com invalid (possible_typo); "
        "did you mean bea@gmail.com?\n"
        "Addresses that the vendor has judged: 1 catch_all, 1 invalid, 1 valid\n"
        "Every row can be sent.\n"
    )
    assert sandbox.validations() == 3
    again = turbobatch.here("check", folder, "--validate", "-o", "problems.csv")  # nothing to pay: no question
    assert again.returncode == 0
    with (turbobatch.folder / "problems.csv").open(encoding="utf-8", newline="") as file:
        (row,) = csv.DictReader(file)
    assert (row["row"], row["status"], row["field"], row["columns"]) == ("1", "warning", "to", "name, email")
    assert sandbox.validations() == 3
    assert turbobatch.here("check", folder).stdout == "Every row can be sent.\n"


def test_without_a_terminal_it_wants_a_yes(letters: Callable[..., Path], turbobatch: Command, sandbox: Sandbox) -> None:
    """Nothing is paid."""
    done = turbobatch.here("check", letters(), "--validate")
    assert done.returncode == 2
    assert (
        done.stderr.splitlines()[-1] == "error: there is no terminal to ask on: say --yes to go on without a question"
    )
    assert sandbox.validations() == 0


@pytest.mark.parametrize(("typed", "ended"), [(b"n\n", (2, 0)), (b"\x04", (3, 0)), (b"y\n", (0, 3))])
def test_it_is_asked_what_it_may_cost(
    typed: bytes, ended: tuple[int, int], letters: Callable[..., Path], turbobatch: Command, sandbox: Sandbox
) -> None:
    """On a terminal."""
    outside, inside = pty.openpty()
    process = turbobatch.start("check", letters(), "--validate", stdin=inside)
    os.close(inside)
    with os.fdopen(outside, "wb", buffering=0) as terminal:
        terminal.write(typed)
        out, err = process.communicate(timeout=60)
    assert out.startswith("The vendor is asked to judge 3 addresses, 3 credits.\nValidate? [y/N]: ")
    assert (process.returncode, sandbox.validations()) == ended
    assert ended[0] == 0 or err.splitlines()[-1].endswith("nothing was paid")


def test_without_v2_nothing_is_checked(letters: Callable[..., Path], turbobatch: Command) -> None:
    """One line says which credentials it takes."""
    done = turbobatch.here("check", letters(), "--validate", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: no credentials: set TURBOSMTP_CONSUMER_KEY and")


def killed(turbobatch: Command, point: str, hit: int, folder: Path) -> None:
    """Check until the process is killed there."""
    arguments = [point, str(hit), "--", "check", str(folder), "--validate", "--yes"]
    done = subprocess.run(
        [sys.executable, str(PROGRAM), *arguments],
        cwd=turbobatch.folder,
        env={**turbobatch.environment, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, (point, done.stderr)


@pytest.mark.parametrize("point", list(POINTS))
def test_killed_anywhere_an_address_is_paid_for_once(
    point: str, letters: Callable[..., Path], turbobatch: Command, sandbox: Sandbox
) -> None:
    """The next check goes on, and tells what the vendor has judged."""
    is_alone = point in {"after-note", "after-post", "after-keep"}
    rows = 1 if is_alone else ROWS
    folder = letters(rows)
    killed(turbobatch, point, 2 if point == "after-look" else 1, folder)
    if point == "after-note-list":  # never started, which is known when it hasn't moved for a day
        age(folder / "letters.validated.db", 100_000)
    done = turbobatch.here("check", folder, "--validate", "--yes")
    assert done.returncode == 0, done.stderr
    told = f"{rows} {'unknown' if point in {'after-note', 'after-post'} else 'valid'}"
    assert f"Addresses that the vendor has judged: {told}\n" in done.stdout
    assert sandbox.validations() == (0 if point == "after-note" else rows)
    assert ("is asked to judge" in done.stdout) == (
        point in {"before-upload", "after-upload", "after-note-list"}
    )  # what is begun isn't asked about


def age(path: Path, seconds: float) -> None:
    """Let a list have been noted so many seconds earlier."""
    database: Any = sqlite3.connect(path)
    with database:
        database.execute("UPDATE list SET time = time - ?", (seconds,))
    database.close()


def test_ctrl_c_leaves_the_list_to_the_next_check(
    letters: Callable[..., Path], turbobatch: Command, until: Until
) -> None:
    """While the vendor works; exit 3."""
    folder = letters(ROWS)
    with Sandbox(latency=0.3) as sandbox:
        turbobatch.use(sandbox)
        process = turbobatch.start("check", folder, "--validate", "--yes")
        until(lambda: sandbox.validations() or process.poll() is not None)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 3
        assert err.splitlines()[-1].startswith("error: stopped by the user: list 1 goes on at the vendor; the same")
        assert turbobatch.here("check", folder, "--validate").returncode == 0
        assert sandbox.validations() == ROWS
