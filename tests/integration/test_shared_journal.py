"""A Campaign whose journal is in PostgreSQL is used like any other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd
import pytest

import turbobatch as tb
from turbobatch.journal import Intent, open_journal
from turbobatch.policy import Status

if TYPE_CHECKING:
    from pathlib import Path

    from turbobatch.sandbox import Sandbox

PEOPLE = pd.DataFrame({"id": range(20), "email": [f"p{number}@example.org" for number in range(20)]})


def campaign(url: str) -> tb.Campaign:
    message = tb.MailMerge(from_="shop@acme.example", to="{{ email }}", subject="{{ id }}", text="Hello")
    return tb.Campaign(name="letters", message=message, recipients=PEOPLE, key="id", journal=url)


def test_sends_once_and_tells_what_came_of_it(database: str, sandbox: Sandbox) -> None:
    """Over several campaigns made alike, as by several processes."""
    client = sandbox.client()
    assert set(campaign(database).results()["send_status"]) == {"pending"}
    for _ in range(2):
        assert set(campaign(database).send(client=client, progress=False)["send_status"]) == {"sent"}
        assert sandbox.requests_seen() == 20
    assert campaign(database).plan().sent == 20
    assert campaign(database).check().empty
    client.close()


def test_what_a_process_left_in_doubt_is_settled(database: str) -> None:
    """Once nobody waits for it."""
    made = campaign(database)
    with open_journal(made.journal_place, made.name) as elsewhere:
        elsewhere.commit([Intent(key="3", digest="d", time=1.0)], [])
        assert made.in_doubt() == ["3"]
        assert made.doubts_to_settle(Status.PENDING) == []
        assert made.settle(Status.SENT) == 0
        results = made.results()
        assert results["send_message"][3] == "in flight in another process"
    assert made.settle(Status.SENT, ["3"]) == 1
    assert made.in_doubt() == []


def test_shows_its_journal_without_the_password(database: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And has no file; what it exports goes to the working directory."""
    monkeypatch.chdir(tmp_path)
    made = campaign(database.replace("://", "://ana:pa55Wx9Jd@", 1).replace("postgres@", "", 1))
    said = repr(made) + repr(tb.Console(made)) + repr(made._identity)
    assert "pa55Wx9Jd" not in said
    assert "postgresql://ana@" in said
    assert made.folder == tmp_path
    with pytest.raises(tb.CampaignError, match="is no file"):
        _ = made.journal_path
    assert not made.reads(tmp_path / "letters.journal.db")


def test_a_path_made_of_a_url_is_refused(tmp_path: Path) -> None:
    """A Path has lost a slash of it."""
    with pytest.raises(tb.CampaignError, match="the journal's URL can't be read"):
        campaign(type(tmp_path)("postgresql://ana@db.example/mail"))  # type: ignore[arg-type]  # a Path is what is refused
