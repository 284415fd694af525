"""`suppress = "vendor"` on the command line: who is on the vendor's list gets nothing, and without it nobody does."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from turbobatch.sandbox import Sandbox

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Command


@pytest.fixture
def campaign(letters: Callable[..., Path]) -> Path:
    """Three letters, to whomever the vendor doesn't suppress."""
    folder = letters()
    with (folder / "campaign.toml").open("a", encoding="utf-8") as toml:
        toml.write('suppress = ["vendor"]\n')
    return folder


def test_check_and_send_leave_them_out(campaign: Path, turbobatch: Command, sandbox: Sandbox) -> None:
    """With the reason, and as no failure."""
    client = sandbox.client()
    client.import_suppressions(["P1@example.org"], "asked us to stop")
    client.close()
    checked = turbobatch.here("check", campaign)
    assert checked.returncode == 0
    assert "p1@example.org is suppressed (by the vendor since " in checked.stdout
    assert turbobatch("send", campaign, "-o", "report.csv", "--yes").returncode == 0
    assert sandbox.inbox()["to"].tolist() == ["Person 0 <p0@example.org>", "Person 2 <p2@example.org>"]


def test_a_check_asks_the_host_it_is_given(campaign: Path, turbobatch: Command) -> None:
    """As the other commands that ask the vendor do."""
    with Sandbox() as other, Sandbox() as sandbox:
        turbobatch.use(sandbox)
        client = other.client()
        client.import_suppressions(["p1@example.org"], "asked us to stop")
        client.close()
        assert turbobatch.here("check", campaign).stdout == "Every row can be sent.\n"
        checked = turbobatch.here("check", campaign, "--base-url", other.base_url("v2"))
        assert checked.stdout.startswith("row 1 (line 3 of people.csv): ")
        assert turbobatch.here("check", campaign, "--base-url", "nowhere").returncode == 2


def test_a_check_needs_no_account(campaign: Path, turbobatch: Command) -> None:
    """It says in one line what it didn't look at."""
    done = turbobatch.here("check", campaign)
    assert (done.returncode, done.stdout) == (0, "Every row can be sent.\n")
    (line,) = done.stderr.splitlines()
    assert line.startswith("warning: the vendor's suppression list wasn't looked at: no credentials: ")


@pytest.mark.parametrize("table", ["id,name,email\n1,Ana,ana@example.org\n"])
def test_v1_is_refused_before_anything_is_asked(
    table: str, campaign: Path, turbobatch: Command, sandbox: Sandbox
) -> None:
    """It can't have the list: one line, and nothing is sent."""
    (campaign / "people.csv").write_text(table, encoding="utf-8")
    turbobatch.use(sandbox, "v1")
    done = turbobatch("send", campaign, "-o", "report.csv", "--yes")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith('error: suppress = "vendor" needs v2 credentials')
    assert sandbox.requests_seen() == 0


def test_a_vendor_out_of_reach_sends_nothing(campaign: Path, turbobatch: Command) -> None:
    """The same command goes on when it is back."""
    with Sandbox() as sandbox:
        turbobatch.use(sandbox)
    checked = turbobatch.here("check", campaign)
    assert (checked.returncode, checked.stdout) == (0, "Every row can be sent.\n")
    (line,) = checked.stderr.splitlines()
    assert line.startswith("warning: the vendor's suppression list wasn't looked at: 127.0.0.1:")
    done = turbobatch("send", campaign, "-o", "report.csv", "--yes")
    assert done.returncode == 3
    assert done.stderr.splitlines()[-1].endswith("nothing was sent without the suppression list, so run it again")
    assert not (campaign.parent / "report.csv").exists()
    with sandbox:
        assert turbobatch("send", campaign, "-o", "report.csv", "--yes").returncode == 0
        assert sandbox.requests_seen() == 3
